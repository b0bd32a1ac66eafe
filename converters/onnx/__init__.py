"""Reading ONNX graphs that may be broken or hostile, and bringing them into one form."""
