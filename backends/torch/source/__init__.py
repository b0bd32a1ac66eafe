"""The model's own PyTorch: an exported program's operations, or a module of the user's Python."""
