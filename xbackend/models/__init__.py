"""Built-in models, their samples, and the scripts that made them."""
