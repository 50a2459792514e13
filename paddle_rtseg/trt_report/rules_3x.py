"""Rules of Paddle 3 (``paddle.tensorrt.convert``) for running each operator in TensorRT.

An operator goes into TensorRT if Paddle's marker pass marks it and a converter is registered for it and for the
TensorRT version. Both were read in Paddle's source (``trt_op_marker_pass.cc`` and ``python/paddle/tensorrt/impls`` of
2025) and never run, because the CPU wheels have neither. Operators missing here may have been added since.

TensorRT "10.8" stands for 10.8 and later under Paddle 3.3, whose converters all take TensorRT 10 (Paddle pull request
75826); what fails there was read in Paddle issue 79319.
"""

from typing import Callable, Dict, List, Optional, Tuple

from .program import Operator, Tensor
from .verdict import ACCEPTED, PLUGIN, REJECTED, TOPK_LIMIT, Verdict, names

TENSORRT = ((8, 5), (8, 6), (10, 5), (10, 8))  #: versions that Paddle 3 was released with or accepts
NEVER_FOLDED = {"pd_op.if", "pd_op.while"}

# Operators that are marked and have a converter, by the TensorRT versions that it is registered for.
_FOR_8_AND_LATER = names(
    """abs abs_ acos acosh add argmax asin asinh atan atanh batch_norm batch_norm_ bilinear_interp ceil concat conv2d
    cos cosh divide embedding erf exp expand expand_as flatten floor full full_int_array gelu hardsigmoid hardswish
    instance_norm linear_interp logsigmoid matmul max multiply nearest_interp pool2d pow reciprocal relu relu6 reshape
    rsqrt scale shape shape64 sigmoid sin sinh slice softmax sqrt squeeze subtract tan tanh transpose unbind unsqueeze
    unsqueeze_"""
)
_FROM = {"round": (8, 2), "sign": (8, 2), "take_along_axis": (8, 2), "deformable_conv": (8, 5), "one_hot": (8, 5)}
_FROM.update({"layer_norm": (8, 6), "group_norm": (8, 6)})
_FOR_8_ONLY = names(
    """all any arange argmin argsort assign assign_out_ assign_value assign_value_ bitwise_and bitwise_not bitwise_or
    bmm cast celu clip conv2d_transpose cumsum depthwise_conv2d depthwise_conv2d_transpose dropout einsum
    elementwise_pow elu equal flip floor_divide full_like full_with_tensor gather gather_nd greater_equal greater_equal_
    greater_than index_select isnan leaky_relu leaky_relu_ less_equal less_equal_ less_than log logical_and logical_not
    logical_not_ logical_or logical_or_ logical_xor maximum mean min minimum mish nonzero not_equal numel p_norm pad
    pad3d pool3d prelu remainder roll selu set_value set_value_ share_data share_data_ silu softplus split
    split_with_num stack stanh strided_slice sum swish tanh_shrink temporal_shift thresholded_relu tile topk where"""
)

_ALL_FOR_10 = (10, 8)  # from here on the converters of _FOR_8_ONLY are registered too

# Paddle marks some operators that its converters then reject.
_STOPS = "the conversion stops unless disable_ops names it"

_FLOAT = ("float16", "float32", "float64")
_NUMBERS = (*_FLOAT, "int32", "int64")


def judge(op: Operator, tensorrt: Tuple[int, int]) -> Verdict:
    """The verdict on one operator.

    Args:
        op: an operator of a json program, with the constants that Paddle would compute marked as such.
        tensorrt: version, one of ``TENSORRT``.
    """
    name = op.type.partition("pd_op.")[2]
    reason = _range(name, tensorrt) or _mixed_integers(name, op, tensorrt)
    reason = reason or (_CONDITIONS[name](op) if name in _CONDITIONS else None)
    if reason:
        return Verdict(REJECTED, reason)
    if name == "pool2d" and op.attrs["adaptive"]:
        return _adaptive_pooling(op)
    return Verdict(ACCEPTED, _warning(name, op))


def _range(name: str, tensorrt: Tuple[int, int]) -> Optional[str]:
    """Why not, if no converter is registered for this TensorRT."""
    if name in _FOR_8_ONLY:
        registered = tensorrt[0] == 8 or tensorrt >= _ALL_FOR_10
        return None if registered else f"its converter supports TensorRT 8 only; {_STOPS}"
    if name in _FROM:
        least = _FROM[name]
        return None if tensorrt >= least else f"its converter needs TensorRT {least[0]}.{least[1]}"
    return None if name in _FOR_8_AND_LATER else "it has no converter"


def _mixed_integers(name: str, op: Operator, tensorrt: Tuple[int, int]) -> Optional[str]:
    """Why not, if the converter joins int32 with a shape, which is int64 in later TensorRT."""
    if tensorrt < (10, 8) or not (name == "stack" or (name == "arange" and op.input("0").dtype.startswith("int"))):
        return None
    return f"its converter mixes int32 with int64, which TensorRT 10.8 and later refuse (Paddle issue 79319); {_STOPS}"


def _adaptive_pooling(op: Operator) -> Verdict:
    size, out = op.input("0").shape[-2:], _constant(op.input("1"))
    if out == [1, 1]:
        return Verdict(ACCEPTED)
    if op.attrs["pooling_type"] != "avg" or -1 in size:
        return Verdict(PLUGIN, "it pools adaptively from a free size" if -1 in size else "it pools adaptively")
    if any(n % m for n, m in zip(size, out)):
        return Verdict(
            ACCEPTED, f"Paddle's converter is exact only where sizes divide, and {size} is not a multiple of {out}"
        )
    return Verdict(ACCEPTED)


def _warning(name: str, op: Operator) -> str:
    if name == "topk" and _constant(op.input("1"))[0] > TOPK_LIMIT:
        k = _constant(op.input("1"))[0]
        return f"k is {k:g}, but TensorRT takes at most {TOPK_LIMIT}: the engine will not be built"
    if name == "argsort" and op.input("0").shape[op.attrs["axis"]] > TOPK_LIMIT:
        return f"it sorts more than {TOPK_LIMIT} elements: the engine will not be built"
    return ""


def _constant(tensor: Optional[Tensor]) -> Optional[List[float]]:
    """The value of a tensor that ``full`` or ``full_int_array`` produces; None for other tensors."""
    made_by = tensor.producer if tensor else None
    if made_by is None or made_by.type not in ("pd_op.full", "pd_op.full_int_array"):
        return None
    value = made_by.attrs["value"]
    return value if isinstance(value, list) else [value]


Condition = Callable[[Operator], Optional[str]]
_CONDITIONS: Dict[str, Condition] = {}


def _condition(*names: str) -> Callable[[Condition], Condition]:
    """Register the condition of operators of these names: a function that returns why not, or None."""

    def register(function: Condition) -> Condition:
        _CONDITIONS.update(dict.fromkeys(names, function))
        return function

    return register


@_condition("conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose")
def _convolution(op):
    if "transpose" in op.type and list(op.attrs["dilations"][:2]) != [1, 1]:
        return "it is transposed and dilated"
    return None if op.input("1").constant else f"its filter is computed at run time; {_STOPS}"


@_condition("pool2d")
def _pooling(op):
    kernel, paddings, attrs = _constant(op.input("1")), op.attrs["paddings"], op.attrs
    if kernel is None:
        return "its window is a tensor"
    if attrs["data_format"] != "NCHW":
        return "its channels come last"
    if len(paddings) > 2:
        return "its padding is not symmetric"
    average = attrs["pooling_type"] == "avg" and not attrs["global_pooling"]
    if average and attrs["exclusive"] and any(k <= p for k, p in zip(kernel, paddings)):
        return "its window is not larger than its padding"
    plain = not (
        attrs["adaptive"] or attrs["global_pooling"] or attrs["ceil_mode"] or attrs["padding_algorithm"] == "SAME"
    )
    too_large = [
        0 < n < k - 2 * p and s > 1 for n, k, p, s in zip(op.input("0").shape[-2:], kernel, paddings, attrs["strides"])
    ]
    return "its window is larger than its input" if plain and any(too_large) else None


@_condition("layer_norm")
def _layer_norm(op):
    return None if op.input("1") and op.input("2") else "it has no weight or no bias"


@_condition("instance_norm")
def _instance_norm(op):
    if not (op.input("1") and op.input("2")):
        return "it has no weight or no bias"
    return None if op.input("0").rank == 4 else "its input is not of rank 4"


@_condition("group_norm")
def _group_norm(op):
    return None if op.attrs["data_format"] == "NCHW" else "its channels come last"


@_condition("bilinear_interp")
def _bilinear(op):
    size = op.inputs.get("2")
    if size:
        # Paddle looks for a shape three operators back; the list itself is one of them.
        before = _producers(size[0], 2) if len(size) > 1 else _producers(size[0], 3)
        if not any("shape64" in producer.type for producer in before):
            return "its size is not computed from a shape within three operators"
        if len(size) == 2:
            return None
    return "its scale is a tensor" if op.input("3") else _size_or_scale(op, needed=False)


@_condition("nearest_interp")
def _nearest(op):
    return None if len(op.inputs.get("2", ())) == 2 else _size_or_scale(op, needed=True)


@_condition("linear_interp")
def _linear(op):
    if len(op.inputs.get("2", ())) == 1:
        return None
    return "its scale is a tensor" if op.input("3") else None


def _size_or_scale(op: Operator, needed: bool) -> Optional[str]:
    size, scale = (op.attrs["out_h"], op.attrs["out_w"]), op.attrs["scale"]
    if len(scale) > 1:
        return None if min(scale) > 0 else "a scale is not positive"
    if min(size) > 0 or (max(size) <= 0 and not needed):
        return None
    return "its height and width are not both given"


def _producers(tensor: Tensor, levels: int) -> List[Operator]:
    """The operator that produced a tensor, the one that produced its first input, and so on."""
    found: List[Operator] = []
    while tensor is not None and tensor.producer is not None and len(found) < levels:
        found.append(tensor.producer)
        tensor = tensor.producer.input("0")
    return found


@_condition("topk")
def _topk(op):
    if _constant(op.input("1")) is None:
        return "its k is a tensor"
    return None if op.attrs.get("sorted", True) else "its result is not sorted"


@_condition("argmax", "argmin")
def _argmax(op):
    axis = _constant(op.input("1"))
    if axis is None:
        return "its axis is a tensor"
    if op.input("0").dtype not in _FLOAT:
        return "its input is not of floating point"
    if op.attrs["flatten"] or axis[0] == 0:
        return "it goes over the batch"
    return None if op.attrs["dtype"] in ("int32", "int64") else "its result is neither int32 nor int64"


@_condition("gather")
def _gather(op):
    return None if _constant(op.input("2")) else "its axis is a tensor"


@_condition("cumsum")
def _cumsum(op):
    return None if _constant(op.input("1")) else "its axis is a tensor"


@_condition("index_select")
def _index_select(op):
    return None if op.input("1").dtype in ("int32", "int64") else "its index is neither int32 nor int64"


@_condition("take_along_axis")
def _take_along_axis(op):
    return None if op.input("0").rank == op.input("1").rank else "its input and its index differ in rank"


@_condition("split")
def _split(op):
    axis = _constant(op.input("2"))
    if axis and op.input("0").shape[int(axis[0])] == -1:
        return "the length of the axis is known at run time only"
    return None


@_condition("squeeze")
def _squeeze(op):
    axes, shape = _constant(op.input("1")), op.input("0").shape
    if axes is None:
        return "its axes are a tensor"
    if not axes:
        return "no axis is given" if -1 in shape or 1 not in shape else None
    return None if all(shape[axis] == 1 for axis in axes) else "an axis is not known to have the length 1"


@_condition("unsqueeze", "unsqueeze_")
def _unsqueeze(op):
    axes = _constant(op.input("1"))
    if axes is None:
        return "its axes are a tensor"
    return "it adds a batch to a tensor of fixed size" if 0 in axes and -1 not in op.input("0").shape else None


@_condition("strided_slice")
def _strided_slice(op):
    return None if all(_constant(op.input(i)) is not None for i in "123") else "its bounds are tensors"


@_condition("set_value", "set_value_")
def _set_value(op):
    bounds = [_constant(op.input(i)) for i in "123"]
    single = all(bound is not None and len(bound) == 1 for bound in bounds) and len(op.attrs["axes"]) == 1
    return None if single else "it sets along more than one axis, or to tensors"


@_condition("pad")
def _pad(op):
    value, paddings = _constant(op.input("1")), op.attrs["paddings"]
    if value and value[0] != 0:
        return "it does not pad with zeros"
    if len(paddings) != 2 * op.input("0").rank or len(paddings) < 4 or any(paddings[:-4]):
        return "it pads other axes than the last two"
    return None


@_condition("pad3d")
def _pad3d(op):
    if op.attrs["mode"] not in ("constant", "reflect", "replicate", "circular"):
        return f"its mode is {op.attrs['mode']}"
    return None


@_condition("cast")
def _cast(op):
    dtype = op.attrs["dtype"]
    return None if dtype in (*_NUMBERS, "bool") else f"its result is of {dtype}"


@_condition("scale")
def _scale(op):
    dtype = op.input("0").dtype
    return None if dtype in _NUMBERS else f"its input is of {dtype}"


@_condition("sum", "mean", "max", "min")
def _reduction(op):
    dtype = op.input("0").dtype
    return None if dtype in _NUMBERS and dtype != "float16" else f"its input is of {dtype}"


@_condition("any", "all", "logical_not", "logical_not_")
def _truth(op):
    return None if op.input("0").dtype == "bool" else "its input is not of bool"


@_condition("logical_and", "logical_or", "logical_or_", "logical_xor")
def _logic(op):
    return None if op.input("0").dtype == op.input("1").dtype == "bool" else "an input is not of bool"


@_condition("bitwise_and", "bitwise_or")
def _bitwise(op):
    return None if op.input("0").dtype == "bool" else "its input is not of bool"


@_condition("bitwise_not")
def _bitwise_not(op):
    dtype = op.input("0").dtype
    return f"its input is of {dtype}" if dtype in ("int8", "uint8") else None


@_condition(
    *names("multiply subtract divide minimum maximum floor_divide remainder"),
    *names("less_than less_equal less_equal_ greater_than greater_equal greater_equal_"),
)
def _arithmetic(op):
    return "an input is of bool" if "bool" in (op.input("0").dtype, op.input("1").dtype) else None


@_condition("elementwise_pow", "pow")
def _power(op):
    refused = {"int32"} if op.type == "pd_op.pow" else {"int32", "bool"}
    return "an input is of int32 or bool" if refused & {tensor.dtype for tensor in op.reads} else None


@_condition("clip")
def _clip(op):
    return None if op.input("0").rank else "its input is a scalar"


@_condition("einsum")
def _einsum(op):
    if len(op.inputs["0"]) > 2:
        return "it has more than two operands"
    return "its equation has an ellipsis" if "..." in op.attrs["equation"] else None


@_condition("p_norm")
def _norm(op):
    plain = not op.attrs["asvector"] and op.attrs["porder"] == 2 and op.attrs["axis"] == -1
    return None if plain else "it is not the Euclidean norm along the last axis"


@_condition("full_with_tensor")
def _constant_of_shape(op):
    dtype = op.attrs["dtype"]
    return None if dtype in ("int32", "int64", "float32") else f"its result is of {dtype}"
