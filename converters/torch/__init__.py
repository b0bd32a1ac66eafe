"""Reading exported programs of PyTorch, naming their parts, and what decides their numbers."""
