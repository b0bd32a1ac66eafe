"""What authors of backends test against: the contract, and the public ONNX tests."""
