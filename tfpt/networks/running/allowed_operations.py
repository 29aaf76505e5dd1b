"""Which operations a graph may run without `trust`: those that compute in memory and have no other effect.

The list is derived from all 1,910 operation types that TensorFlow 2.21 registers. Left out are those that read or write
files (ReadFile, the readers, datasets, summary writers, RestoreV2, and ImmutableConst, which maps a file), run Python
(PyFunc), communicate with other processes or machines (RpcCall, Send, collectives, TPUs), call code registered with XLA
(XlaCallModule), may block forever (queues, barriers, stages), or end the process (Abort). An operation type that a
later TensorFlow adds is not allowed until it is added here.

TensorFlow runs only what a requested value needs, so a graph may contain forbidden operations (a saver, an image
pipeline for training); it is refused only if they would run. There is one exception: while TensorFlow imports a graph
it infers shapes, and for that evaluates operations that depend on constants only, `ReadFile` among them. Those are
replaced by placeholders before the import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfpt.errors import SourceError
from tfpt.networks.running.importing import import_tensorflow

# Control flow: function calls, and operations that decide the order or whether something is computed.
_CONTROL = """
    Case ControlTrigger DeviceIndex Enter Exit FakeParam For If LoopCond MapDefun Merge NextIteration NoOp
    PartitionedCall RefEnter RefExit RefMerge RefNextIteration RefSelect RefSwitch StatefulPartitionedCall
    StatelessCase StatelessIf StatelessWhile Switch SymbolicGradient While _Arg _ArrayToList _If _ListToArray
    _Retval _SwitchN _While
"""

# State in the session's memory: variables, hash tables, lists, random number generators.
_STATE = """
    AddManySparseToTensorsMap AddSparseToTensorsMap AllCandidateSampler AnonymousHashTable
    AnonymousMutableDenseHashTable AnonymousMutableHashTable AnonymousMutableHashTableOfTensors
    AnonymousRandomSeedGenerator AnonymousSeedGenerator ApplyAdaMax ApplyAdadelta ApplyAdagrad ApplyAdagradDA
    ApplyAdagradV2 ApplyAdam ApplyAddSign ApplyCenteredRMSProp ApplyFtrl ApplyFtrlV2 ApplyGradientDescent
    ApplyMomentum ApplyPowerSign ApplyProximalAdagrad ApplyProximalGradientDescent ApplyRMSProp Assert Assign
    AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp BoostedTreesCreateEnsemble
    BoostedTreesDeserializeEnsemble BoostedTreesEnsembleResourceHandleOp BoostedTreesPredict
    BoostedTreesQuantileStreamResourceAddSummaries BoostedTreesQuantileStreamResourceDeserialize
    BoostedTreesQuantileStreamResourceFlush BoostedTreesQuantileStreamResourceGetBucketBoundaries
    BoostedTreesQuantileStreamResourceHandleOp CheckNumerics CheckNumericsV2 CountUpTo CudnnRNN
    CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3 CudnnRNNV2 CudnnRNNV3 DeepCopy
    DeleteRandomSeedGenerator DeleteSeedGenerator DestroyTemporaryVariable DisableCopyOnRead
    DummySeedGenerator Empty FixedUnigramCandidateSampler GuaranteeConst HashTable HashTableV2 InitializeTable
    InitializeTableV2 IsBoostedTreesQuantileStreamResourceInitialized IsVariableInitialized
    LearnedUnigramCandidateSampler LogUniformCandidateSampler LookupTableExport LookupTableExportV2
    LookupTableFind LookupTableFindV2 LookupTableImport LookupTableImportV2 LookupTableInsert
    LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize LookupTableSizeV2 Multinomial
    MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable MutableHashTableOfTensors
    MutableHashTableOfTensorsV2 MutableHashTableV2 NonDeterministicInts ParameterizedTruncatedNormal Print
    PrintV2 RandomCrop RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal
    RandomUniform RandomUniformInt ReadVariableOp RefIdentity ResourceApplyAdaMax ResourceApplyAdadelta
    ResourceApplyAdagrad ResourceApplyAdagradDA ResourceApplyAdagradV2 ResourceApplyAdam
    ResourceApplyAdamWithAmsgrad ResourceApplyAddSign ResourceApplyCenteredRMSProp ResourceApplyFtrl
    ResourceApplyFtrlV2 ResourceApplyGradientDescent ResourceApplyKerasMomentum ResourceApplyMomentum
    ResourceApplyPowerSign ResourceApplyProximalAdagrad ResourceApplyProximalGradientDescent
    ResourceApplyRMSProp ResourceCountUpTo ResourceGather ResourceGatherNd ResourceScatterAdd
    ResourceScatterDiv ResourceScatterMax ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd
    ResourceScatterNdMax ResourceScatterNdMin ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub
    ResourceScatterUpdate ResourceSparseApplyAdadelta ResourceSparseApplyAdagrad ResourceSparseApplyAdagradDA
    ResourceSparseApplyAdagradV2 ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrl
    ResourceSparseApplyFtrlV2 ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum
    ResourceSparseApplyProximalAdagrad ResourceSparseApplyProximalGradientDescent ResourceSparseApplyRMSProp
    ResourceStridedSliceAssign RngReadAndSkip RngSkip SampleDistortedBoundingBox SampleDistortedBoundingBoxV2
    ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNdAdd ScatterNdMax ScatterNdMin ScatterNdSub
    ScatterNdUpdate ScatterSub ScatterUpdate SparseApplyAdadelta SparseApplyAdagrad SparseApplyAdagradDA
    SparseApplyAdagradV2 SparseApplyCenteredRMSProp SparseApplyFtrl SparseApplyFtrlV2 SparseApplyMomentum
    SparseApplyProximalAdagrad SparseApplyProximalGradientDescent SparseApplyRMSProp Stack StackClose
    StackCloseV2 StackPop StackPopV2 StackPush StackPushV2 StackV2 StatefulRandomBinomial
    StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
    StatefulUniformFullInt StatefulUniformInt StatelessRandomGetAlg StridedSliceAssign
    TakeManySparseFromTensorsMap TemporaryVariable TensorArray TensorArrayClose TensorArrayCloseV3
    TensorArrayConcat TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV3 TensorArrayGrad
    TensorArrayGradV2 TensorArrayGradV3 TensorArrayGradWithShape TensorArrayPack TensorArrayRead
    TensorArrayReadV3 TensorArrayScatter TensorArrayScatterV3 TensorArraySize TensorArraySizeV3
    TensorArraySplit TensorArraySplitV3 TensorArrayUnpack TensorArrayV2 TensorArrayV3 TensorArrayWrite
    TensorArrayWriteV3 ThreadUnsafeUnigramCandidateSampler Timestamp TruncatedNormal UniformCandidateSampler
    VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2 _ReadVariablesOp _VarHandlesOp
"""

# Mathematics, layers, arrays, strings, and decoding of file contents passed as strings.
_MATH = """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation All
    Angle Any ApproxTopK ApproximateEqual ArgMax ArgMin AsString Asin Asinh Atan Atan2 Atanh
    AudioMicrofrontend AudioSpectrogram AudioSummary AudioSummaryV2 AvgPool AvgPool3D AvgPool3DGrad
    AvgPoolGrad BandedTriangularSolve BatchCholesky BatchCholeskyGrad BatchFFT BatchFFT2D BatchFFT3D BatchIFFT
    BatchIFFT2D BatchIFFT3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchMatrixBandPart BatchMatrixDeterminant
    BatchMatrixDiag BatchMatrixDiagPart BatchMatrixInverse BatchMatrixSetDiag BatchMatrixSolve
    BatchMatrixSolveLs BatchMatrixTriangularSolve BatchNormWithGlobalNormalization
    BatchNormWithGlobalNormalizationGrad BatchSelfAdjointEig BatchSelfAdjointEigV2 BatchSvd BatchToSpace
    BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1
    BesselK1e BesselY0 BesselY1 Betainc BiasAdd BiasAddGrad BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr
    BitwiseXor BlockLSTM BlockLSTMGrad BlockLSTMGradV2 BlockLSTMV2 BoostedTreesBucketize BroadcastArgs
    BroadcastGradientArgs BroadcastTo Bucketize CSRSparseMatrixComponents CSRSparseMatrixToDense
    CSRSparseMatrixToSparseTensor CTCBeamSearchDecoder CTCGreedyDecoder CTCLoss CTCLossV2 Cast Ceil Cholesky
    CholeskyGrad ClipByValue CombinedNonMaxSuppression Complex ComplexAbs ComputeAccidentalHits
    ComputeBatchSize Concat ConcatOffset ConcatV2 Conj ConjugateTranspose Const Conv Conv2D
    Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D
    Conv3DBackpropFilter Conv3DBackpropFilterV2 Conv3DBackpropInput Conv3DBackpropInputV2 Cos Cosh
    CropAndResize CropAndResizeGradBoxes CropAndResizeGradImage Cross CudnnRNNCanonicalToParams
    CudnnRNNCanonicalToParamsV2 CudnnRNNParamsSize CudnnRNNParamsToCanonical CudnnRNNParamsToCanonicalV2
    Cumprod Cumsum CumulativeLogsumexp DataFormatDimMap DataFormatVecPermute Dawsn DecodeAndCropJpeg
    DecodeBase64 DecodeBmp DecodeCSV DecodeGif DecodeImage DecodeJSONExample DecodeJpeg DecodePaddedRaw
    DecodePng DecodeRaw DecodeWav DecodeWebP DenseBincount DenseCountSparseOutput DenseToCSRSparseMatrix
    DenseToDenseSetOperation DenseToSparseSetOperation DepthToSpace DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dequantize DeserializeManySparse
    DeserializeSparse Diag DiagPart Digamma Dilation2D Dilation2DBackpropFilter Dilation2DBackpropInput Div
    DivNoNan DrawBoundingBoxes DrawBoundingBoxesV2 DynamicPartition DynamicStitch EditDistance Eig Einsum Elu
    EluGrad EmptyTensorList EmptyTensorMap EncodeBase64 EncodeJpeg EncodeJpegVariableQuality EncodePng
    EncodeWav EnsureShape Equal Erf Erfc Erfinv EuclideanNorm Exp ExpandDims Expint Expm1 ExtractGlimpse
    ExtractGlimpseV2 ExtractImagePatches ExtractJpegShape ExtractVolumePatches FFT FFT2D FFT3D FFTND Fact
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannel
    FakeQuantWithMinMaxVarsPerChannelGradient Fill Fingerprint Floor FloorDiv FloorMod FractionalAvgPool
    FractionalAvgPoolGrad FractionalMaxPool FractionalMaxPoolGrad FresnelCos FresnelSin FusedBatchNorm
    FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3
    FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell GRUBlockCellGrad Gather GatherNd GatherV2
    GenerateBoundingBoxProposals Greater GreaterEqual HSVToRGB HistogramFixedWidth HistogramSummary HostConst
    IFFT IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Identity IdentityN Igamma IgammaGradA Igammac Imag
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 ImageSummary InTopK InTopKV2 InplaceAdd InplaceSub
    InplaceUpdate Inv InvGrad Invert InvertPermutation IsFinite IsInf IsNan IsotonicRegression
    KMC2ChainInitialization KmeansPlusPlusInitialization KthOrderStatistic L2Loss LRN LRNGrad LSTMBlockCell
    LSTMBlockCellGrad LeakyRelu LeakyReluGrad LeftShift Less LessEqual Lgamma LinSpace ListDiff Log Log1p
    LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot LogicalOr LowerBound Lu MakeUnique MatMul
    MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2
    MatrixDiagV3 MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3
    MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max MaxPool MaxPool3D MaxPool3DGrad
    MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradGradV2 MaxPoolGradGradWithArgmax MaxPoolGradV2
    MaxPoolGradWithArgmax MaxPoolV2 MaxPoolWithArgmax Maximum Mean MergeSummary Mfcc Min Minimum MirrorPad
    MirrorPadGrad Mod Mul MulNoNan Ndtri NearestNeighbors Neg NextAfter NonMaxSuppression NonMaxSuppressionV2
    NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps NotEqual
    NthElement OneHot OnesLike OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone Pack Pad PadV2
    ParallelConcat ParallelDynamicStitch ParseExample ParseExampleV2 ParseSequenceExample
    ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample ParseTensor Placeholder PlaceholderV2
    PlaceholderWithDefault Polygamma PopulationCount Pow PreventGradient Prod Qr QuantizeAndDequantize
    QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeAndDequantizeV4Grad
    QuantizeDownAndShrinkRange QuantizeV2 QuantizedAdd QuantizedAvgPool
    QuantizedBatchNormWithGlobalNormalization QuantizedBiasAdd QuantizedConcat QuantizedConcatV2
    QuantizedConv2D QuantizedConv2DAndRelu QuantizedConv2DAndReluAndRequantize QuantizedConv2DAndRequantize
    QuantizedConv2DPerChannel QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu
    QuantizedConv2DWithBiasAndReluAndRequantize QuantizedConv2DWithBiasAndRequantize
    QuantizedConv2DWithBiasSignedSumAndReluAndRequantize QuantizedConv2DWithBiasSumAndRelu
    QuantizedConv2DWithBiasSumAndReluAndRequantize QuantizedDepthwiseConv2D QuantizedDepthwiseConv2DWithBias
    QuantizedDepthwiseConv2DWithBiasAndRelu QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize
    QuantizedInstanceNorm QuantizedMatMul QuantizedMatMulWithBias QuantizedMatMulWithBiasAndDequantize
    QuantizedMatMulWithBiasAndRelu QuantizedMatMulWithBiasAndReluAndRequantize
    QuantizedMatMulWithBiasAndRequantize QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6
    QuantizedReluX QuantizedReshape QuantizedResizeBilinear RFFT RFFT2D RFFT3D RFFTND RGBToHSV RaggedBincount
    RaggedCountSparseOutput RaggedCross RaggedFillEmptyRows RaggedFillEmptyRowsGrad RaggedGather RaggedRange
    RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant
    RaggedTensorToVariantGradient RandomGammaGrad RandomIndexShuffle Range Rank Real RealDiv Reciprocal
    ReciprocalGrad ReduceJoin RegexFullMatch RegexReplace Relu Relu6 Relu6Grad ReluGrad RequantizationRange
    RequantizationRangePerChannel Requantize RequantizePerChannel Reshape ResizeArea ResizeBicubic
    ResizeBicubicGrad ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor ResizeNearestNeighborGrad
    Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt RsqrtGrad ScalarSummary
    ScaleAndTranslate ScaleAndTranslateGrad ScatterNd ScatterNdNonAliasingAdd SegmentMax SegmentMaxV2
    SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2
    SelfAdjointEig SelfAdjointEigV2 Selu SeluGrad SerializeManySparse SerializeSparse SerializeTensor SetSize
    Shape ShapeN Sigmoid SigmoidGrad Sign Sin Sinh Size Slice Snapshot SobolSample Softmax
    SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad Softsign SoftsignGrad SpaceToBatch SpaceToBatchND
    SpaceToDepth SparseAdd SparseAddGrad SparseBincount SparseConcat SparseCountSparseOutput SparseCross
    SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul
    SparseFillEmptyRows SparseFillEmptyRowsGrad SparseMatMul SparseMatrixAdd SparseMatrixMatMul
    SparseMatrixMul SparseMatrixNNZ SparseMatrixOrderingAMD SparseMatrixSoftmax SparseMatrixSoftmaxGrad
    SparseMatrixSparseCholesky SparseMatrixSparseMatMul SparseMatrixTranspose SparseMatrixZeros
    SparseReduceMax SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse SparseReorder SparseReshape
    SparseSegmentMean SparseSegmentMeanGrad SparseSegmentMeanGradV2 SparseSegmentMeanWithNumSegments
    SparseSegmentSqrtN SparseSegmentSqrtNGrad SparseSegmentSqrtNGradV2 SparseSegmentSqrtNWithNumSegments
    SparseSegmentSum SparseSegmentSumGrad SparseSegmentSumGradV2 SparseSegmentSumWithNumSegments SparseSlice
    SparseSliceGrad SparseSoftmax SparseSoftmaxCrossEntropyWithLogits SparseSparseMaximum SparseSparseMinimum
    SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul SparseTensorToCSRSparseMatrix SparseToDense
    SparseToSparseSetOperation Spence Split SplitV Sqrt SqrtGrad Square SquaredDifference Squeeze
    StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2
    StatelessRandomGammaV3 StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessSampleDistortedBoundingBox StatelessShuffle StatelessTruncatedNormal
    StatelessTruncatedNormalV2 StaticRegexFullMatch StaticRegexReplace StopGradient StridedSlice
    StridedSliceGrad StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2
    StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper
    Sub Substr Sum Svd Tan Tanh TanhGrad TensorArrayCloseV2 TensorArrayConcatV2 TensorArrayGatherV2
    TensorArrayReadV2 TensorArrayScatterV2 TensorArraySizeV2 TensorArraySplitV2 TensorArrayWriteV2
    TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
    TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
    TensorMapErase TensorMapHasKey TensorMapInsert TensorMapLookup TensorMapSize TensorMapStackKeys
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
    TensorStridedSliceUpdate TensorSummary TensorSummaryV2 Tile TileGrad ToBool TopK TopKUnique TopKV2
    TopKWithUnique Transpose TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod UnicodeDecode
    UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode UniformDequantize UniformQuantize
    UniformQuantizedAdd UniformQuantizedClipByValue UniformQuantizedConvolution
    UniformQuantizedConvolutionHybrid UniformQuantizedDot UniformQuantizedDotHybrid UniformRequantize Unique
    UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UnsortedSegmentJoin UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound Where Xdivy Xlog1py Xlogy ZerosLike
    Zeta _FusedBatchNormEx _FusedBatchNormGradEx _FusedConv2D _FusedConv3D _FusedDepthwiseConv2dNative
    _FusedMatMul _FusedQuantizedConv2D _FusedQuantizedDepthwiseConv2D _QuantizedMatMul _QuantizedMaxPool3D
    _TensorToHashBucketFast _UnaryOpsComposition
"""

ALLOWED = frozenset(f"{_CONTROL}{_STATE}{_MATH}".split())

# Allowed operations that still access a file if this attribute begins like this.
_FILES = {"PrintV2": ("output_stream", b"file:"), "FixedUnigramCandidateSampler": ("vocab_file", b"")}
_LISTED = 6
# Operations that initialize a graph from a file, and the index of the input that is the file's name.
_FILE_NAME_INPUT = {
    "RestoreV2": 0,
    "Restore": 0,
    "RestoreSlice": 0,
    "InitializeTableFromTextFileV2": 1,
    "InitializeTableFromTextFile": 1,
}


def computes_in_memory(node: Any) -> bool:
    """Whether a node (a ``NodeDef``) only computes, apart from the functions it calls."""
    if node.op not in ALLOWED:
        return False
    if node.op not in _FILES:
        return True
    attribute, prefix = _FILES[node.op]
    text = node.attr[attribute].s
    return not (text and text.startswith(prefix))


class SideEffects:
    """The operations of a graph that do more than compute.

    Args:
        graph_def: A GraphDef with its function calls inlined.
        where: The file, for error messages.
    """

    def __init__(self, graph_def: Any, where: str) -> None:
        self._where = where
        self._functions = {each.signature.name: each for each in graph_def.library.function}
        self._in_functions: dict[str, str | None] = {}
        self._found = {node.name: kind for node in graph_def.node if (kind := self._kind(node)) is not None}

    def __contains__(self, name: str) -> bool:
        """Whether the operation with this name does more than compute."""
        return name in self._found

    def refuse(self, names: Iterable[str], what: str) -> None:
        """Refuse to run these operations if one of them does more than compute.

        Raises:
            SourceError: One of them does.
        """
        found = sorted((name, self._found[name]) for name in names if name in self._found)
        if found:
            listed = ", ".join(f"{kind} (at {name})" for name, kind in found[:_LISTED])
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            raise SourceError(
                f"{what} would do more than compute: it accesses files, runs code, or contacts other machines",
                where=self._where,
                expected="operations that compute in memory",
                got=listed + more,
                hint=f"--feed {found[0][0]}=… to supply its value; or --trust, if you trust the source of the graph",
            )

    def file_names(self, ops: Iterable[Any]) -> list[Any] | None:
        """The tensors with the names of the files that these operations read; ``None`` if they have other side effects.

        Args:
            ops: All operations of the imported graph that would run.
        """
        found = [op for op in ops if op.name in self]
        if any(op.type not in _FILE_NAME_INPUT for op in found):
            return None
        return [op.inputs[_FILE_NAME_INPUT[op.type]] for op in found]

    def without_early_evaluation(self, graph_def: Any) -> Any:
        """The graph with placeholders in place of the forbidden operations that TensorFlow would run during import."""
        from tensorflow.python.framework import op_def_registry

        tf = import_tensorflow()
        result = tf.compat.v1.GraphDef()
        result.CopyFrom(graph_def)
        bodies = [result.node, *(function.node_def for function in result.library.function)]
        for node in (node for body in bodies for node in body):
            definition = None if computes_in_memory(node) else op_def_registry.get(node.op)
            # Stateful operations, and those that depend on them, are never evaluated during import.
            if (
                definition is None
                or definition.is_stateful
                or any(arg.is_ref for arg in definition.input_arg)
            ):
                continue
            dtypes = list(_output_dtypes(node, definition))
            control = [each for each in node.input if each.startswith("^")]
            name = node.name
            node.Clear()
            node.name = name
            node.input.extend(control)
            if not dtypes:
                node.op = "NoOp"
            elif len(dtypes) == 1:
                node.op = "Placeholder"
                node.attr["dtype"].type = dtypes[0]
            else:
                # Any number of outputs and no inputs; nothing executes it.
                node.op = "InfeedDequeueTuple"
                node.attr["dtypes"].list.type.extend(dtypes)
                node.attr["shapes"].list.shape.extend([tf.TensorShape(None).as_proto() for _ in dtypes])
        return result

    def _kind(self, node: Any) -> str | None:
        """The forbidden operation type of a node, or of a node in a function it calls; ``None`` if there is none."""
        if node.op not in self._functions and not computes_in_memory(node):
            return str(node.op)
        for name in _called(node, self._functions):
            if name not in self._in_functions:
                self._in_functions[name] = None  # ends the recursion for a function that calls itself
                body = self._functions[name].node_def
                kinds = (kind for each in body if (kind := self._kind(each)) is not None)
                self._in_functions[name] = next(kinds, None)
            if self._in_functions[name] is not None:
                return self._in_functions[name]
        return None


def _called(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    if not functions:
        return
    if node.op in functions:
        yield node.op
    for value in node.attr.values():
        for function in [value.func, *value.list.func]:
            if function.name in functions:
                yield function.name


def _output_dtypes(node: Any, definition: Any) -> Iterator[int]:
    """The dtypes of a node's outputs."""
    for arg in definition.output_arg:
        if arg.type_list_attr:
            yield from node.attr[arg.type_list_attr].list.type
            continue
        kind = node.attr[arg.type_attr].type if arg.type_attr else arg.type
        yield from [kind] * (node.attr[arg.number_attr].i if arg.number_attr else 1)
