"""Reading, writing and running flat graphs, and pairing their tensors with those of ONNX."""
