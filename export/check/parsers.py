"""What TensorRT's ONNX parsers take, by version: facts for `rules.py`, each with how it is known.

Sources: the parser's own operators.md (10.1: "opset 9 to opset 20"; 10.15: "opset 9 to opset 24") and its change log
up to 10.15; NVIDIA's ONNX opset guide for 11.x ("maximum opset 25"). No parser of 10.x or 11.x was run here; NVIDIA's
TensorRT-RTX 1.7.1, which was, is of the same family (`tensorrt_rtx.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from worldmodel.errors import InputError

# All that operators.md of 10.1 marks as supported. 10.3 has the same: the change log adds none before 10.4.
IN_10_1 = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv DepthToSpace DequantizeLinear Div
    Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization GRU HardSigmoid
    HardSwish Hardmax Identity If ImageScaler InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization
    Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow QuantizeLinear RNN
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RoiAlign Round ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin
    Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()
)
SINCE = {  # change log of the parser
    (10, 4): {"BlackmanWindow", "HammingWindow", "HannWindow"},
    (10, 5): {"STFT"},
    (10, 14): {"Attention"},
    (10, 15): {"RotaryEmbedding", "RMSNormalization", "TensorScatter"},
}


@dataclass(frozen=True)
class Parser:
    """The ONNX parser of one TensorRT version.

    Attributes:
        version: as people write it.
        lowest_opset, highest_opset: that it takes.
        how_known: where the highest opset is from.
    """

    version: str
    highest_opset: int
    how_known: str
    lowest_opset: int = 9

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def operators(self) -> frozenset[str]:
        """Operators of the default ONNX domain that it takes."""
        later = (names for since, names in SINCE.items() if since <= self.numbers)
        return IN_10_1.union(*later)


PARSERS: Mapping[str, Parser] = {
    parser.version: parser
    for parser in (
        Parser("10.3", 20, "operators.md of 10.1; nothing about opsets in the change log up to 10.3"),
        Parser("10.13", 20, "not found; 20 is what 10.1 says, 10.15 says 24"),
        Parser("10.16", 24, "operators.md of 10.15"),
        Parser("11.4", 25, "NVIDIA's ONNX opset guide for 11.x; operators taken to be those of 10.15"),
    )
}


def parser_of(version: str) -> Parser:
    """The newest known parser that is not newer than this TensorRT; `InputError` for versions before 10.3."""
    wanted = Parser(version, 0, "").numbers
    older = [parser for parser in PARSERS.values() if parser.numbers <= wanted]
    if not older:
        raise InputError(f"TensorRT {version}: artifacts need 10.3 or newer (JetPack 6.1); update the system")
    return max(older, key=lambda parser: parser.numbers)
