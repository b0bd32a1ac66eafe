"""ONNX Runtime: runs the ONNX file itself."""
