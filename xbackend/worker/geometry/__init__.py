"""What ONNX's attributes say of shapes and places, whichever framework then computes.

Others use `boxes`, `conv_transpose`, `resize`, `shapes`, `slices`, `sliding_window`.
"""
