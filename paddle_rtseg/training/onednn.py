"""oneDNN for training on the CPU: convolutions and the cross entropy, forward and backward.

On the CPU, Paddle computes convolutions as im2col plus a matrix product, and the softmax over channels on one thread.
The oneDNN library in Paddle's wheels is two to four times as fast for convolutions and ten times for the softmax, but
Paddle uses it for inference only. This module calls its C API (https://uxlfoundation.github.io/oneDNN, v3) through
ctypes, so nothing has to be compiled.

Users only call ``accelerate(model)``. Results differ from Paddle's by rounding. With ``precision="bf16"``, the inputs
and weights of convolutions are rounded to bfloat16; sums and everything else stay fp32.
"""

import ctypes
import functools
import glob
import os
import threading
import weakref
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import paddle
from paddle import nn
from paddle.autograd import PyLayer
from paddle.hapi.dynamic_flops import register_hooks
from rtseg_inference import processor

from ..errors import InputError

# Values of the C enumerations used here.
_BF16, _F32 = 2, 3  # dnnl_data_type_t
_ANY = 1  # dnnl_format_tag_t: the library chooses the layout
_TRAINING, _INFERENCE = 64, 96  # dnnl_prop_kind_t
_DIRECT, _SOFTMAX = 1, 0x30000  # dnnl_alg_kind_t
_SRC, _DST, _WEIGHTS, _BIAS = 1, 17, 33, 41  # DNNL_ARG_*
_DIFF_SRC, _DIFF_DST, _DIFF_WEIGHTS, _DIFF_BIAS = 129, 145, 161, 169
_QUERY = {_SRC: 129, _DIFF_SRC: 130, _WEIGHTS: 131, _DIFF_WEIGHTS: 132, _DST: 133, _DIFF_DST: 134}  # dnnl_query_*_md

_PRECISIONS = {"fp32": _F32, "bf16": _BF16}


def available() -> bool:
    """Whether Paddle computes on the CPU and bundles oneDNN 3."""
    return bool(_library_path()) and not paddle.get_device().startswith(("gpu", "xpu"))


def accelerate(model: nn.Layer, precision: str = "fp32") -> int:
    """Compute the 2-D convolutions of ``model`` with oneDNN on the CPU, in training and in dynamic evaluation.

    Only the class of the layers changes; parameters, state and exported graphs stay the same.

    Args:
        model: any network; its ``nn.Conv2D`` layers with zero padding and NCHW layout are converted.
        precision: "fp32", or "bf16" on a processor with AVX-512; twice as fast as fp32 with AVX-512 BF16 or AMX.

    Returns:
        The number of convolutions converted; 0 if :func:`available` is false.

    Raises:
        InputError: unknown precision, or one that the processor does not support.
    """
    if precision not in _PRECISIONS:
        raise InputError(f"expected precision {' or '.join(_PRECISIONS)}, got {precision!r}; choose one of these")
    if not available():
        return 0
    processor.require(precision)
    count = 0
    for layer in model.sublayers(include_self=True):
        if type(layer) in (nn.Conv2D, Conv2D) and _is_plain(layer):
            layer.__class__ = Conv2D
            layer.onednn_type = _PRECISIONS[precision]
            count += 1
    return count


class Conv2D(nn.Conv2D):
    """``nn.Conv2D`` computed by oneDNN where possible: float32 on the CPU, outside a static graph."""

    onednn_type = _F32

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        fits = x.ndim == 4 and x.shape[1] == self._in_channels  # if not, Paddle says what it expects
        if not (usable(x) and fits):
            return nn.Conv2D.forward(self, x)  # not super(): Paddle 2.6 cannot convert that to a static graph
        geometry = _Geometry(_pair(self._stride), _pair(self._updated_padding), _pair(self._dilation), self._groups)
        return conv2d(x, self.weight, self.bias, geometry, self.onednn_type)


register_hooks[Conv2D] = register_hooks[nn.Conv2D]  # paddle.flops looks up the exact class


@paddle.jit.not_to_static
def usable(x: paddle.Tensor) -> bool:
    """Whether oneDNN is available and ``x`` is a float32 tensor on the CPU, not a variable of a static graph."""
    return paddle.in_dynamic_mode() and x.dtype == paddle.float32 and x.place.is_cpu_place() and available()


def _is_plain(layer: nn.Conv2D) -> bool:
    """Whether the layer has zero padding, the same on opposite sides, and channels first."""
    padding = layer._updated_padding
    symmetric = isinstance(padding, int) or (len(padding) == 2 and all(isinstance(p, int) for p in padding))
    explicit = layer._padding_algorithm == "EXPLICIT" and layer._padding_mode == "zeros"
    return explicit and symmetric and layer._data_format == "NCHW"


def _pair(value) -> Tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


class _Geometry(NamedTuple):
    stride: Tuple[int, int] = (1, 1)
    padding: Tuple[int, int] = (0, 0)
    dilation: Tuple[int, int] = (1, 1)
    groups: int = 1


_UNIT = _Geometry()


def conv2d(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: Optional[paddle.Tensor] = None,
    geometry: _Geometry = _UNIT,
    dtype: int = _F32,
) -> paddle.Tensor:
    """``paddle.nn.functional.conv2d`` for float32 tensors on the CPU: (B, C, H, W) -> (B, O, H', W')."""
    if bias is None:
        return _ConvFunction.apply(x, weight, geometry, dtype)
    return _BiasedConvFunction.apply(x, weight, bias, geometry, dtype)


def softmax(x: paddle.Tensor, axis: int) -> paddle.Tensor:
    """Softmax of a float32 tensor on the CPU, without a gradient."""
    x = _contiguous(x)
    out = paddle.empty(x.shape, dtype="float32")
    _softmax_primitive(tuple(x.shape), axis % x.ndim).run(x, out)
    return out


# --- the C API -----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _library_path() -> Optional[str]:
    found = glob.glob(os.path.join(os.path.dirname(paddle.__file__), "libs", "libdnnl.so.3"))
    return found[0] if found else None


class _Library:
    """The loaded library, with one CPU engine and one in-order stream."""

    def __init__(self):
        self.c = ctypes.CDLL(_library_path())
        self.c.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        self.c.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.engine, self.stream = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("dnnl_engine_create", ctypes.byref(self.engine), 1, ctypes.c_size_t(0))
        self.call("dnnl_stream_create", ctypes.byref(self.stream), self.engine, 1)

    def call(self, name: str, *args) -> None:
        status = getattr(self.c, name)(*args)
        if status:
            raise RuntimeError(f"oneDNN's {name} returned status {status}")

    def create(self, name: str, *args) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self.call(name, ctypes.byref(handle), *args)
        return handle


_library = functools.lru_cache(maxsize=1)(_Library)
_lock = threading.Lock()  # a primitive's memory objects can hold the addresses of one call only


class _Argument(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int), ("memory", ctypes.c_void_p)]


def _dims(values: Sequence[int]) -> ctypes.Array:
    return (ctypes.c_int64 * 12)(*values)


class _Layout:
    """A memory descriptor. One with an ``owner`` belongs to that primitive descriptor and keeps it alive."""

    def __init__(self, handle: ctypes.c_void_p, owner: Optional["_Descriptor"] = None):
        self.handle, self.owner = handle, owner
        if owner is None:
            weakref.finalize(self, _library().c.dnnl_memory_desc_destroy, handle)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return _library().c.dnnl_memory_desc_get_size(self.handle)

    def __eq__(self, other) -> bool:
        return bool(_library().c.dnnl_memory_desc_equal(self.handle, other.handle))

    __hash__ = None


def _plain(shape: Sequence[int]) -> _Layout:
    """Row-major float32, the layout of Paddle's tensors."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    args = (len(shape), _dims(shape), _F32, _dims(strides))
    return _Layout(_library().create("dnnl_memory_desc_create_with_strides", *args))


def _free(shape: Sequence[int], dtype: int) -> _Layout:
    """A layout left for the library to choose."""
    return _Layout(_library().create("dnnl_memory_desc_create_with_tag", len(shape), _dims(shape), dtype, _ANY))


class _Descriptor:
    """A primitive descriptor: the operation and the layouts of its arguments."""

    def __init__(self, kind: str, *args):
        self.handle = _library().create(f"dnnl_{kind}_primitive_desc_create", *args)
        weakref.finalize(self, _library().c.dnnl_primitive_desc_destroy, self.handle)

    def layout(self, argument: int) -> _Layout:
        handle = _library().c.dnnl_primitive_desc_query_md(self.handle, _QUERY[argument], 0)
        return _Layout(ctypes.c_void_p(handle), owner=self)


class _Primitive:
    """An operation ready to run, with the numbers and layouts of its arguments."""

    def __init__(self, descriptor: _Descriptor, layouts: Dict[int, _Layout]):
        library = _library()
        self._handle = library.create("dnnl_primitive_create", descriptor.handle)
        self._arguments = (_Argument * len(layouts))()
        memories = []
        for slot, (number, layout) in zip(self._arguments, layouts.items()):
            memory = library.create("dnnl_memory_create", layout.handle, library.engine, None)
            memories.append(memory)
            slot.number, slot.memory = number, memory.value
        weakref.finalize(self, _destroy_primitive, library.c, self._handle, memories)

    def run(self, *tensors: paddle.Tensor) -> None:
        """Compute; ``tensors`` are inputs and outputs in the order of the layouts."""
        library = _library()
        with _lock:
            for slot, tensor in zip(self._arguments, tensors):
                address = ctypes.c_void_p(tensor.data_ptr())
                library.call("dnnl_memory_set_data_handle", ctypes.c_void_p(slot.memory), address)
            library.call("dnnl_primitive_execute", self._handle, library.stream, len(tensors), self._arguments)
            library.call("dnnl_stream_wait", library.stream)


def _destroy_primitive(c: ctypes.CDLL, handle: ctypes.c_void_p, memories: List[ctypes.c_void_p]) -> None:
    c.dnnl_primitive_destroy(handle)
    for memory in memories:
        c.dnnl_memory_destroy(memory)


class _Reorder:
    """Conversion between two layouts of the same array; a no-op if they are equal."""

    def __init__(self, source: _Layout, target: _Layout):
        self.source_size, self.target_size = source.size, target.size
        self.primitive = None
        if source != target:
            engine = _library().engine
            descriptor = _Descriptor("reorder", source.handle, engine, target.handle, engine, None)
            self.primitive = _Primitive(descriptor, {_SRC: source, _DST: target})

    def convert(self, tensor: paddle.Tensor) -> paddle.Tensor:
        """``tensor`` in the target layout, as bytes."""
        if self.primitive is None:
            return tensor
        out = paddle.empty([self.target_size], dtype="uint8")
        self.primitive.run(tensor, out)
        return out

    def buffer(self, result: paddle.Tensor) -> paddle.Tensor:
        """The tensor for a primitive to write to, which :meth:`finish` converts to ``result``."""
        return result if self.primitive is None else paddle.empty([self.source_size], dtype="uint8")

    def finish(self, buffer: paddle.Tensor, result: paddle.Tensor) -> paddle.Tensor:
        if self.primitive is not None:
            self.primitive.run(buffer, result)
        return result


# --- convolution ---------------------------------------------------------------------------------------------------


class _Convolution:
    """One convolution for given shapes: forward, input gradient, and weight and bias gradients.

    Args:
        x_shape: (B, C, H, W).
        weight_shape: (O, C / groups, h, w).
        has_bias: whether a bias (O,) is added.
        dtype: type that inputs and weights are converted to; all arguments and results are float32.
    """

    def __init__(
        self,
        x_shape: Tuple[int, ...],
        weight_shape: Tuple[int, ...],
        has_bias: bool,
        geometry: _Geometry,
        dtype: int,
    ):
        stride, padding, dilation, groups = geometry
        spatial = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(x_shape[2:], weight_shape[2:], stride, padding, dilation)
        ]
        self.x_shape, self.weight_shape = list(x_shape), list(weight_shape)
        self.y_shape = [x_shape[0], weight_shape[0], *spatial]
        out_channels, in_channels, *kernel = weight_shape
        if groups > 1:  # (O, C / G, h, w) -> (G, O / G, C / G, h, w), in the same memory
            weight_shape = (groups, out_channels // groups, in_channels, *kernel)
        # oneDNN counts the gaps between taps, so its dilation is one less than Paddle's.
        shape = (_dims(stride), _dims([d - 1 for d in dilation]), _dims(padding), _dims(padding))
        engine = _library().engine

        x, weight, y = (_free(s, dtype) for s in (x_shape, weight_shape, self.y_shape))
        x_out, weight_out, y_out = (_free(s, _F32) for s in (x_shape, weight_shape, self.y_shape))
        plain_x, plain_weight, plain_y = (_plain(s) for s in (x_shape, weight_shape, self.y_shape))
        bias = _plain([out_channels])
        bias_handle = bias.handle if has_bias else None

        args = (engine, _TRAINING, _DIRECT, x.handle, weight.handle, bias_handle, y_out.handle, *shape, None)
        forward = _Descriptor("convolution_forward", *args)
        layouts = {number: forward.layout(number) for number in (_SRC, _WEIGHTS, _DST)}
        self.forward_x = _Reorder(plain_x, layouts[_SRC])
        self.forward_weight = _Reorder(plain_weight, layouts[_WEIGHTS])
        self.forward_y = _Reorder(layouts[_DST], plain_y)
        self.forward = _Primitive(forward, {**layouts, **({_BIAS: bias} if has_bias else {})})
        forward_x = layouts[_SRC]

        args = (engine, _DIRECT, x_out.handle, weight.handle, y.handle, *shape, forward.handle, None)
        descriptor = _Descriptor("convolution_backward_data", *args)
        layouts = {number: descriptor.layout(number) for number in (_DIFF_SRC, _WEIGHTS, _DIFF_DST)}
        self.data_x = _Reorder(layouts[_DIFF_SRC], plain_x)
        self.data_weight = _Reorder(plain_weight, layouts[_WEIGHTS])
        self.data_y = _Reorder(plain_y, layouts[_DIFF_DST])
        self.backward_data = _Primitive(descriptor, layouts)
        data_y = layouts[_DIFF_DST]

        args = (engine, _DIRECT, x.handle, weight_out.handle, bias_handle, y.handle, *shape, forward.handle, None)
        descriptor = _Descriptor("convolution_backward_weights", *args)
        layouts = {number: descriptor.layout(number) for number in (_SRC, _DIFF_WEIGHTS, _DIFF_DST)}
        self.weights_x = _Reorder(plain_x, layouts[_SRC])
        self.weights_weight = _Reorder(layouts[_DIFF_WEIGHTS], plain_weight)
        self.weights_y = _Reorder(plain_y, layouts[_DIFF_DST])
        self.shares_x = layouts[_SRC] == forward_x
        self.shares_y = layouts[_DIFF_DST] == data_y
        self.backward_weights = _Primitive(descriptor, {**layouts, **({_DIFF_BIAS: bias} if has_bias else {})})

    def run_forward(
        self, x: paddle.Tensor, weight: paddle.Tensor, bias: Optional[paddle.Tensor]
    ) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """The result, and the input in the form that the weight gradient needs."""
        x = _contiguous(x)
        image = self.forward_x.convert(x)
        y = paddle.empty(self.y_shape, dtype="float32")
        buffer = self.forward_y.buffer(y)
        self.forward.run(image, self.forward_weight.convert(weight), buffer, *([] if bias is None else [bias]))
        return self.forward_y.finish(buffer, y), image if self.shares_x else x

    def run_backward(
        self, image: paddle.Tensor, weight: paddle.Tensor, dy: paddle.Tensor, has_bias: bool, want_x: bool
    ):
        """Gradients of the input (None unless ``want_x``), the weight and the bias (None without one)."""
        dy = _contiguous(dy)
        gradient = self.weights_y.convert(dy)
        if not self.shares_x:
            image = self.weights_x.convert(image)
        d_weight = paddle.empty(self.weight_shape, dtype="float32")
        d_bias = paddle.empty(self.weight_shape[:1], dtype="float32") if has_bias else None
        buffer = self.weights_weight.buffer(d_weight)
        self.backward_weights.run(image, buffer, gradient, *([d_bias] if has_bias else []))
        self.weights_weight.finish(buffer, d_weight)
        if not want_x:
            return None, d_weight, d_bias
        if not self.shares_y:
            gradient = self.data_y.convert(dy)
        dx = paddle.empty(self.x_shape, dtype="float32")
        buffer = self.data_x.buffer(dx)
        self.backward_data.run(buffer, self.data_weight.convert(weight), gradient)
        return self.data_x.finish(buffer, dx), d_weight, d_bias


_convolution = functools.lru_cache(maxsize=512)(_Convolution)


def _contiguous(x: paddle.Tensor) -> paddle.Tensor:
    return x if x.is_contiguous() else x.contiguous()


class _ConvFunction(PyLayer):
    @staticmethod
    def forward(ctx, x, weight, geometry, dtype):
        ctx.convolution = _convolution(tuple(x.shape), tuple(weight.shape), False, geometry, dtype)
        ctx.wanted = [not x.stop_gradient, not weight.stop_gradient]
        y, image = ctx.convolution.run_forward(x, weight, None)
        ctx.save_for_backward(image, weight)
        return y

    @staticmethod
    def backward(ctx, dy):
        image, weight = ctx.saved_tensor()
        dx, d_weight, _ = ctx.convolution.run_backward(image, weight, dy, False, ctx.wanted[0])
        return tuple(g if wanted else None for g, wanted in zip((dx, d_weight), ctx.wanted))


class _BiasedConvFunction(PyLayer):
    @staticmethod
    def forward(ctx, x, weight, bias, geometry, dtype):
        ctx.convolution = _convolution(tuple(x.shape), tuple(weight.shape), True, geometry, dtype)
        ctx.wanted = [not t.stop_gradient for t in (x, weight, bias)]
        y, image = ctx.convolution.run_forward(x, weight, bias)
        ctx.save_for_backward(image, weight)
        return y

    @staticmethod
    def backward(ctx, dy):
        image, weight = ctx.saved_tensor()
        gradients = ctx.convolution.run_backward(image, weight, dy, True, ctx.wanted[0])
        return tuple(g if wanted else None for g, wanted in zip(gradients, ctx.wanted))


# --- softmax -------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _softmax_primitive(shape: Tuple[int, ...], axis: int) -> _Primitive:
    layout = _plain(shape)
    args = (_library().engine, _INFERENCE, _SOFTMAX, layout.handle, layout.handle, axis, None)
    return _Primitive(_Descriptor("softmax_forward", *args), {_SRC: layout, _DST: layout})
