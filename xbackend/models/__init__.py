"""Built-in models and their samples.

Others use `catalogue`, `dataset`, `digits`, `generated`, `keras_file`, `variant`.
"""
