"""What ONNX's attributes say of shapes and places, whichever framework then computes."""
