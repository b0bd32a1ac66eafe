"""The operators of the hub: those that every float backend must have."""

from __future__ import annotations

_NAMES = """
    Abs Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv
    ConvTranspose DequantizeLinear Div Dropout Elu Equal Erf Exp Expand Flatten Gather Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater HardSigmoid HardSwish Identity InstanceNormalization
    LRN LayerNormalization LeakyRelu Less Log LogSoftmax MatMul Max MaxPool Mean Min Mul Neg PRelu
    Pad Pow QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape Resize Selu Shape
    Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where
"""

HUB_OPERATORS = frozenset(_NAMES.split())
"""Names of ONNX operators; the public tests of each, in float32, pass or are expected to fail."""
