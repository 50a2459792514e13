"""Writing pdmodel, the program form of Paddle 2, with Paddle 3.

OpenVINO and the TensorRT subgraphs inside Paddle accept no other form, and on a CPU OpenVINO is the fastest backend.
Paddle 3 can still trace the old form, but since 3.1 some fifty functions (matmul, sum, gelu ...) are implemented in C++
and support only tensors and the new form. While an old program is traced, this module replaces those that networks use
by the corresponding operators of Paddle 2. The others raise an error while tracing, so nothing is silently traced
wrongly, and the export compares the written program with the model, as it always does.
"""

import contextlib
import warnings
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

import paddle
from paddle import _C_ops

from ..models.resizing import resize_operators


@contextlib.contextmanager
def old_program() -> Iterator[None]:
    """Trace and write programs in the form of Paddle 2, whatever the default of the running Paddle.

    Paddle 3 writes it for OpenVINO, with :func:`.resizing.resize_operators`.
    """
    if paddle.__version__.startswith("2."):
        yield
        return
    variable = paddle.base.framework.Variable
    methods = {name: operator for name, operator in OPERATORS.items() if hasattr(variable, name)}
    functions = {name: _for_static(operator, getattr(_C_ops, name)) for name, operator in OPERATORS.items()}
    with paddle.pir_utils.DygraphOldIrGuard(), _replaced(_C_ops, functions), _replaced(variable, methods):
        with warnings.catch_warnings(), resize_operators():
            warnings.filterwarnings("ignore", message=r"The Attr\(force_cpu\)")  # Paddle's own code causes it
            yield


@contextlib.contextmanager
def _replaced(owner: Any, attributes: Dict[str, Callable]) -> Iterator[None]:
    originals = {name: getattr(owner, name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in originals.items():
            setattr(owner, name, value)


def _for_static(operator: Callable, original: Callable) -> Callable:
    """``operator`` while a program is being traced, ``original`` for tensors."""

    def choose(*args, **kwargs):
        return original(*args, **kwargs) if paddle.in_dynamic_mode() else operator(*args, **kwargs)

    return choose


def _append(kind: str, inputs: Dict[str, Any], attributes: Optional[Dict[str, Any]] = None, dtype: Any = None):
    """Append an operator of Paddle 2 with one output; appending infers the output's shape."""
    helper = paddle.base.layer_helper.LayerHelper(kind)
    first = next(iter(inputs.values()))
    out = helper.create_variable_for_type_inference(dtype or first.dtype)
    helper.append_op(type=kind, inputs=inputs, outputs={"Out": out}, attrs=attributes or {})
    return out


def _unary(kind: str) -> Callable:
    return lambda x, name=None: _append(kind, {"X": x})


def _binary(kind: str, dtype: Optional[str] = None) -> Callable:
    return lambda x, y, name=None: _append(kind, {"X": x, "Y": y}, {"axis": -1}, dtype)


def _matmul(x, y, transpose_x: bool = False, transpose_y: bool = False, name=None):
    return _append("matmul_v2", {"X": x, "Y": y}, {"trans_x": transpose_x, "trans_y": transpose_y})


def _sum(x, axis=None, dtype=None, keepdim: bool = False, name=None):
    axes = list(axis) if isinstance(axis, Sequence) else [] if axis is None else [axis]
    attributes = {"dim": axes or [0], "keep_dim": keepdim, "reduce_all": not axes or len(axes) == x.ndim}
    return _append("reduce_sum", {"X": x.astype(dtype) if dtype else x}, attributes)


def _argmax(x, axis=None, keepdim: bool = False, dtype="int64", name=None):
    kind = paddle.base.framework.convert_np_dtype_to_dtype_(dtype)
    attributes = {"axis": axis or 0, "keepdims": keepdim, "dtype": int(kind), "flatten": axis is None}
    return _append("arg_max", {"X": x}, attributes, kind)


OPERATORS = {
    "matmul": _matmul,
    "sum": _sum,
    "argmax": _argmax,
    "gelu": lambda x, approximate=False, name=None: _append("gelu", {"X": x}, {"approximate": bool(approximate)}),
    "multiply": _binary("elementwise_mul"),
    "maximum": _binary("elementwise_max"),
    "minimum": _binary("elementwise_min"),
    "greater_than": _binary("greater_than", "bool"),
    "logical_and": _binary("logical_and", "bool"),
    "logical_or": _binary("logical_or", "bool"),
    **{name: _unary(name) for name in ("abs", "exp", "floor", "log", "rsqrt", "sigmoid", "sqrt", "tanh")},
}
