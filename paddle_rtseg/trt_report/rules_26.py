"""Rules of Paddle 2.6 for running each operator in TensorRT, with dynamic shapes.

Paddle asks two "tellers": whether it has a converter for the operator, and if not, whether the operator can run inside
the engine through Paddle's own kernel (a generic plugin). Before that, it renames, folds and fuses operators. Only what
changes a verdict is repeated here: the three kinds of matrix product become one, operators on constants are computed,
and layouts with the channels last are transposed.

The table was checked against the tellers themselves (the GPU build of Paddle 2.6.2, TensorRT 8.5.3), whose answers are
in tests/fixtures/trt_verdicts.json. Conditions on the TensorRT version were read in the source, not run.
"""

from typing import Callable, Dict, Optional, Tuple

from .program import Operator, TensorAttribute
from .verdict import ACCEPTED, PLUGIN, REJECTED, TOPK_LIMIT, Verdict, names

TENSORRT = ((8, 5), (8, 6))  #: versions that Paddle 2.6 was released with
NEVER_FOLDED = {"matmul", "matmul_v2", "mul", "quantize_linear", "dequantize_linear", "while", "conditional_block"}

# Operators that have a converter, without conditions.
_ALWAYS = names(
    """abs acos acosh asin asinh assign atan atanh batch_norm bmm cast ceil celu cos cosh cumsum dropout elu equal
    erf exp expand_as_v2 expand_v2 flatten_contiguous_range flip floor gather_nd gelu hard_sigmoid hard_swish
    index_select leaky_relu log logical_not logsigmoid lookup_table_v2 matmul matmul_v2 matrix_multiply mish mul
    not_equal one_hot_v2 prelu range reciprocal reduce_all reduce_any relu relu6 reshape2 roll round rsqrt selu
    shape share_data sigmoid sign silu sin sinh size slice softmax softplus softsign sqrt square stack stanh
    strided_slice sum swish take_along_axis tan tanh tanh_shrink thresholded_relu tile transpose transpose2 unbind
    where"""
)

# Operators that have a generic plugin, whatever their attributes.
_PLUGINS = names(
    """argsort conv2d conv2d_transpose gather_nd grid_sampler instance_norm inverse p_norm pad pad3d scatter
    scatter_nd_add unfold"""
)

_FLOAT = ("float16", "float32", "float64")
_NO_SCALARS_BEFORE_86 = names(
    """exp log sqrt abs sin cos tan tanh sinh cosh asin acos atan asinh acosh atanh ceil celu floor round sign
    logical_not reciprocal tanh_shrink logsigmoid erf rsqrt"""
)


def judge(op: Operator, tensorrt: Tuple[int, int]) -> Verdict:
    """The verdict on one operator.

    Args:
        op: an operator of a pdmodel, with the constants that Paddle would compute marked as such.
        tensorrt: version, one of ``TENSORRT``.
    """
    reason = _why_not(op, tensorrt)
    if reason is None:
        return Verdict(ACCEPTED, _warning(op))
    return Verdict(PLUGIN if op.type in _PLUGINS else REJECTED, reason)


def _why_not(op: Operator, tensorrt: Tuple[int, int]) -> Optional[str]:
    """Why the converters do not take an operator, or None."""
    if op.type in _NO_SCALARS_BEFORE_86 and tensorrt < (8, 6) and op.input("X").rank == 0:
        return "its input is a scalar, which TensorRT before 8.6 does not take"
    if op.type in _CONDITIONS:
        return _CONDITIONS[op.type](op, tensorrt)
    return None if op.type in _ALWAYS else "this table knows no converter for it"


def _warning(op: Operator) -> str:
    if op.type == "top_k_v2" and op.attrs.get("k", 1) > TOPK_LIMIT:
        return f"k is {op.attrs['k']}, but TensorRT takes at most {TOPK_LIMIT}: the engine will not be built"
    return ""


Condition = Callable[[Operator, Tuple[int, int]], Optional[str]]
_CONDITIONS: Dict[str, Condition] = {}


def _condition(*types: str) -> Callable[[Condition], Condition]:
    """Register the condition of operators of these types: a function that returns why not, or None."""

    def register(function: Condition) -> Condition:
        _CONDITIONS.update(dict.fromkeys(types, function))
        return function

    return register


def _given(op: Operator, *slots: str) -> Optional[str]:
    """Why not, if one of these inputs is connected."""
    given = [slot for slot in slots if op.inputs.get(slot)]
    return f"it takes {given[0]} from a tensor" if given else None


def _run_time(op: Operator, name: str) -> Optional[str]:
    """Why not, if an attribute is known at run time only."""
    return f"its {name} is a tensor" if isinstance(op.attrs.get(name), TensorAttribute) else None


@_condition("conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose")
def _convolution(op, tensorrt):
    if "transpose" in op.type and list(op.attrs["dilations"][:2]) != [1, 1]:
        return "it is transposed and dilated"
    if not op.input("Filter").constant and tensorrt < (8, 6):
        return "its filter is computed at run time, which needs TensorRT 8.6"
    return None


@_condition("pool2d")
def _pooling(op, tensorrt):
    if _run_time(op, "ksize"):
        return _run_time(op, "ksize")
    attrs = op.attrs
    if len(attrs["paddings"]) > 2:
        return "its padding is not symmetric"
    excludes_padding = attrs["pooling_type"] == "avg" and attrs.get("exclusive") and not attrs.get("global_pooling")
    if excludes_padding and any(k <= p for k, p in zip(attrs["ksize"], attrs["paddings"])):
        return "its window is not larger than its padding"
    return None


@_condition("layer_norm")
def _layer_norm(op, tensorrt):
    return None if op.input("Scale") and op.input("Bias") else "it has no weight or no bias"


@_condition("instance_norm")
def _instance_norm(op, tensorrt):
    if not (op.input("Scale") and op.input("Bias")):
        return "it has no weight or no bias"
    return None if op.input("X").rank == 4 else "its input is not of rank 4"


@_condition("group_norm")  # read in the source: the teller aborts unless TensorRT is installed
def _group_norm(op, tensorrt):
    return None if op.attrs["data_layout"] == "NCHW" else "its channels come last"


@_condition("bilinear_interp_v2")
def _bilinear(op, tensorrt):
    if op.inputs.get("SizeTensor"):
        return "its size is a list of tensors; give one tensor, or numbers"
    if op.input("Scale"):
        return None
    scale, size = op.attrs["scale"], (op.attrs["out_h"], op.attrs["out_w"])
    if len(scale) > 1:
        return "a scale is not positive" if min(scale) <= 0 else None
    return "only one of its height and width is given" if (size[0] > 0) != (size[1] > 0) else None


@_condition("nearest_interp_v2")
def _nearest(op, tensorrt):
    scale = op.attrs["scale"]
    if len(op.inputs.get("SizeTensor", ())) == 2 or (op.attrs["out_h"] > 0 and op.attrs["out_w"] > 0):
        return None
    return None if len(scale) > 1 and min(scale[:2]) > 0 else "neither its size nor its scale is a number"


@_condition("grid_sampler")
def _grid_sample(op, tensorrt):
    return None if op.input("X").rank == op.input("Grid").rank == 4 else "its inputs are not of rank 4"


@_condition("top_k_v2")
def _topk(op, tensorrt):
    return None if op.attrs.get("sorted", True) else "its result is not sorted"


@_condition("arg_max", "arg_min")
def _argmax(op, tensorrt):
    if _run_time(op, "axis"):
        return _run_time(op, "axis")
    if op.input("X").dtype not in _FLOAT:
        return "its input is not of floating point"
    if op.attrs.get("flatten") or op.attrs.get("axis", -1) == 0:
        return "it goes over the batch"
    return None if op.attrs.get("dtype", 3) in (-1, 2, 3) else "its result is neither int32 nor int64"


@_condition("gather")
def _gather(op, tensorrt):
    return _given(op, "Axis")


@_condition("concat")
def _concat(op, tensorrt):
    return _given(op, "AxisTensor")


@_condition("split")
def _split(op, tensorrt):
    if _given(op, "AxisTensor"):
        return _given(op, "AxisTensor")
    x, sections, parts = op.input("X"), op.attrs.get("sections", []), op.attrs.get("num", 0)
    length = x.shape[op.attrs["axis"]]
    if length == -1:
        return "the length of the axis is known at run time only"
    if not sections and not parts:
        return "neither the number nor the lengths of its parts are given"
    if not sections and length % parts:
        return "its parts are not equal"
    return None if len(sections or range(parts)) == len(op.outputs["Out"]) else "its lengths do not fit its outputs"


@_condition("squeeze2")
def _squeeze(op, tensorrt):
    if _run_time(op, "axes") or op.attrs.get("axes"):
        return _run_time(op, "axes")
    if -1 in op.input("X").shape:
        return "no axis is given and a length is known at run time only"
    return None if 1 in op.input("X").shape else "no axis is given and none has the length 1"


@_condition("unsqueeze2")
def _unsqueeze(op, tensorrt):
    return None if op.attrs.get("axes") else "its axes are a tensor"


@_condition("pad")
def _pad(op, tensorrt):
    paddings = op.attrs["paddings"]
    if op.attrs["pad_value"] != 0:
        return "it does not pad with zeros"
    if len(paddings) != 2 * op.input("X").rank or len(paddings) < 4 or any(paddings[:-4]):
        return "it pads other axes than the last two"
    return None


@_condition("pad3d")
def _pad3d(op, tensorrt):
    if op.attrs.get("mode", "constant") not in ("constant", "reflect", "replicate"):
        return f"its mode is {op.attrs['mode']}"
    return None if op.attrs.get("data_format", "NCDHW") == "NCDHW" else "its channels come last"


@_condition("set_value")
def _set_value(op, tensorrt):
    return _given(op, "StartsTensorList", "EndsTensorList", "StepsTensorList")


@_condition("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod")
def _reduction(op, tensorrt):
    if _run_time(op, "dim"):
        return _run_time(op, "dim")
    dtype = op.input("X").dtype  # Paddle removes casts to float16 before
    return None if dtype in (*_FLOAT, "int32", "int64") else f"its input is of {dtype}"


@_condition("einsum")
def _einsum(op, tensorrt):
    if len(op.inputs["Operands"]) > 2:
        return "it has more than two operands"
    return "its equation has an ellipsis" if "..." in op.attrs["equation"] else None


@_condition("scale")
def _scale(op, tensorrt):
    dtype = op.input("X").dtype
    allowed = dtype in (*_FLOAT, "int32", "int64")
    return _given(op, "ScaleTensor") or (None if allowed else f"its input is of {dtype}")


@_condition("clip")
def _clip(op, tensorrt):
    return _given(op, "Min", "Max")


@_condition(*(f"elementwise_{name}" for name in names("add sub mul div min max floordiv mod")))
def _arithmetic(op, tensorrt):
    return "its input is of bool" if op.input("X").dtype == "bool" else None


@_condition("elementwise_pow", "pow")
def _power(op, tensorrt):
    dtype = op.input("X").dtype
    refused = ("int32",) if op.type == "pow" else ("bool", "int32")
    return f"its input is of {dtype}" if dtype in refused else None


@_condition("less_than", "greater_than", "less_equal", "greater_equal")
def _comparison(op, tensorrt):
    return "an input is of bool" if "bool" in (op.input("X").dtype, op.input("Y").dtype) else None


@_condition("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or")
def _logic(op, tensorrt):
    return None if op.input("X").dtype == op.input("Y").dtype == "bool" else "an input is not of bool"


@_condition("bitwise_not")
def _bitwise_not(op, tensorrt):
    dtype = op.input("X").dtype
    return f"its input is of {dtype}" if dtype in ("int8", "uint8") else None


@_condition("fill_constant")
def _constant(op, tensorrt):
    if _given(op, "ValueTensor", "ShapeTensor", "ShapeTensorList"):
        return "its shape or value is a tensor"
    return None if op.attrs.get("dtype", 5) in (2, 3, 5) else "it is neither int32, int64 nor float32"


@_condition("fill_any_like")
def _constant_like(op, tensorrt):
    dtype, own = op.attrs.get("dtype", -1), op.input("X").dtype
    if dtype in (0, 2, 3, 5, 6) or (dtype == -1 and own in ("bool", "int32", "int64", "float32", "float64")):
        return None
    return "its result has a type that TensorRT does not fill"
