"""The operations of TensorFlow that a SavedModel may hold: what computes, and nothing that acts."""

from __future__ import annotations

CONVERTED = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Any ArgMax
    ArgMin AsString Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2
    BatchMatMulV3 BatchToSpaceND BiasAdd BiasAddV1 Bincount BitwiseAnd BitwiseOr BitwiseXor
    BroadcastTo CTCGreedyDecoder Cast Ceil CheckNumerics ClipByValue CombinedNonMaxSuppression
    ComplexAbs Concat ConcatV2 Const Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos
    Cosh CropAndResize CudnnRNN Cumprod Cumsum DenseBincount DenseToDenseSetOperation
    DepthToSpace DepthwiseConv2dNative Div DivNoNan DynamicPartition DynamicStitch Einsum Elu
    EnsureShape Equal Erf Exp ExpandDims ExtractImagePatches FFT FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HashTableV2 Identity
    IdentityN If Invert InvertPermutation IsFinite IsInf IsNan LRN LSTMBlockCell LeakyRelu
    LeftShift Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableFindV2
    LookupTableSizeV2 MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiagV3
    Max MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mul
    Multinomial Neg NoOp NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
    NonMaxSuppressionV5 NotEqual OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch
    Placeholder PlaceholderV2 PlaceholderWithDefault Pow Prod RFFT RFFT2D RaggedGather
    RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
    RaggedTensorToVariant RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
    Range RealDiv Reciprocal ReduceJoin Relu Relu6 Reshape ResizeArea ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor ReverseSequence ReverseV2 RightShift Rint Roll Round
    Rsqrt SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 ScatterNd SegmentMax
    SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape Sigmoid Sign Sin
    Sinh Size Slice Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatchND
    SpaceToDepth SparseFillEmptyRows SparseReshape SparseSegmentMean
    SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
    SparseSegmentSum SparseSegmentSumWithNumSegments SparseSoftmaxCrossEntropyWithLogits
    SparseToDense Split SplitV Sqrt Square SquaredDifference Squeeze StatelessIf StatelessWhile
    StaticRegexReplace StopGradient StridedSlice StringJoin StringLower StringSplit
    StringSplitV2 StringToHashBucketFast StringToNumber StringUpper Sub Sum Tan Tanh
    TensorListFromTensor TensorListGetItem TensorListLength TensorListReserve TensorListResize
    TensorListSetItem TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin
    TensorScatterSub TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv Unique
    UniqueWithCounts Unpack UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum Where While ZerosLike
    """.split()
)
"""Those that tf2onnx 1.17 takes, less queues and iterators over files."""

COMPUTING = frozenset(
    """
    AdjustContrast ApproximateEqual Assert Assign AssignAddVariableOp AssignSubVariableOp
    AssignVariableOp AudioSpectrogram AvgPoolGrad Batch BesselI0e BesselI1e Betainc Bitcast
    BroadcastArgs BroadcastGradientArgs Bucketize Case Cholesky Complex Conj ControlTrigger
    Cross CudnnRNNV2 CudnnRNNV3 CumulativeLogsumexp DepthwiseConv2dNativeBackpropInput
    Dequantize Diag DiagPart Digamma Dilation2D DisableCopyOnRead DrawBoundingBoxesV2 Eig Empty
    EmptyTensorList Enter Erfc Erfinv EuclideanNorm Exit Expm1 ExtractVolumePatches FFT2D FFT3D
    FakeQuantWithMinMaxVarsPerChannel Fingerprint GuaranteeConst HSVToRGB HashTable IFFT IFFT2D
    IFFT3D IRFFT IRFFT2D Igamma Igammac Imag ImageProjectiveTransformV2
    ImageProjectiveTransformV3 Inv IsVariableInitialized Lgamma LinSpace Log1p
    LogMatrixDeterminant LookupTableExportV2 LookupTableFind LookupTableImportV2 LookupTableSize
    LoopCond LowerBound MatrixSetDiag MatrixSetDiagV2 MatrixSolve MatrixTriangularSolve
    MaxPool3DGrad Merge Mfcc Mod MutableHashTableV2 Ndtri NextAfter NextIteration
    NonMaxSuppression ParallelConcat PartitionedCall Polygamma PopulationCount PreventGradient
    Qr QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 RFFT3D
    RGBToHSV RaggedBincount RaggedCountSparseOutput RaggedCross Rank ReadVariableOp Real
    RegexFullMatch RegexReplace ResizeNearestNeighborGrad ResourceGather ResourceGatherNd
    ScaleAndTranslate SegmentMinV2 SelfAdjointEigV2 Snapshot SparseAdd SparseBincount
    SparseConcat SparseCountSparseOutput SparseCross SparseCrossHashed SparseCrossV2
    SparseReduceSum SparseReorder SparseSlice SparseTensorDenseMatMul StatefulPartitionedCall
    StaticRegexFullMatch
    StatelessCase StatelessRandomGammaV2 StatelessRandomGetAlg StatelessRandomGetKeyCounter
    StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
    StatelessRandomUniform StatelessRandomUniformV2 StatelessTruncatedNormalV2 StridedSliceGrad
    StringFormat StringLength StringStrip StringToHashBucketStrong Svd Switch SymbolicGradient
    TensorArrayCloseV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
    TensorArraySizeV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcatV2 TensorListElementShape
    TensorListGather TensorListPopBack TensorListPushBack TensorListSplit TopK TruncateMod
    TruncatedNormal UnicodeDecode UnicodeDecodeWithOffsets UnicodeTranscode UniqueV2
    UnravelIndex UpperBound VarHandleOp VarIsInitializedOp Variable VariableV2 Xdivy XlaSharding
    Xlog1py Xlogy Zeta
    """.split()
)
"""What else occurs in the graphs of layers and is turned into these, or by TensorFlow Lite into its
own; variables, functions, branches and tables among them, which nothing outside is part of."""

RESTORING = frozenset({"RestoreV2"})
"""What reads the weights; only the part that restores them may hold it."""

SAVING = frozenset({"SaveV2", "MergeV2Checkpoints", "ShardedFilename"})
"""What writes them; it comes with every model, and nothing that is run may hold it."""
