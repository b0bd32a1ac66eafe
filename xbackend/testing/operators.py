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

_FURTHER = """
    Acos Acosh AffineGrid ArgMin Asin Asinh Atan Atanh Attention CausalConvWithState Ceil Celu
    CenterCropPad Compress Cos Cosh DepthToSpace DynamicQuantizeLinear EyeLike Floor GRU
    GatherElements GatherND GreaterOrEqual GridSample GroupNormalization HannWindow Hardmax If IsInf
    IsNaN LSTM LessOrEqual LinearAttention Loop LpNormalization LpPool MeanVarianceNormalization
    Mish Mod
    NegativeLogLikelihoodLoss NonMaxSuppression OneHot QLinearConv QLinearMatMul RMSNormalization
    RNN Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMin ReduceProd ReduceSumSquare
    ReverseSequence RoiAlign RotaryEmbedding Round Scan Scatter ScatterElements ScatterND Shrink
    Sign Sin Sinh Size SoftmaxCrossEntropyLoss Softsign SpaceToDepth SwiGLU Swish Tan
    ThresholdedRelu TopK Upsample
"""

HUB_OPERATORS = frozenset(_NAMES.split())
"""Names of ONNX operators; the public tests of each, in float32, pass or are expected to fail."""

FURTHER_OPERATORS = frozenset(_FURTHER.split())
"""What executors of the ONNX graph have beyond; their public tests in float32, likewise."""
