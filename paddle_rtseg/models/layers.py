"""Building blocks shared by two or more of the networks."""

import functools
import math
from typing import Callable

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


@paddle.jit.not_to_static
def spatial_size(x: paddle.Tensor) -> list:
    """Height and width of (B, C, H, W): integers, or integer tensors in a graph exported with these free."""
    if -1 in x.shape[2:]:
        shape = paddle.shape(x)
        return [shape[2], shape[3]]
    return list(x.shape[2:])


@paddle.jit.not_to_static
def resize(x: paddle.Tensor, like: paddle.Tensor) -> paddle.Tensor:
    """Bilinear resize with half-pixel centres (``align_corners=False``).

    Args:
        x: (B, C, h, w).
        like: (B, C', H, W), whose height and width are wanted.

    Returns:
        (B, C, H, W); ``x`` itself where it is known to have that size.
    """
    size = list(like.shape[2:])
    if -1 in size:  # free in an exported graph; TensorRT takes one tensor, not a list of two
        size = paddle.shape(like)[2:]
    elif size == list(x.shape[2:]):
        return x
    on_cpu = paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.dtype == paddle.float32
    if on_cpu and (not x.stop_gradient or max(x.shape[2:]) <= 128):  # beyond, only the gradient pays for the products
        return _resize_by_products(x, *size)
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _resize_by_products(x: paddle.Tensor, height: int, width: int) -> paddle.Tensor:
    """Bilinear resize as two matrix products: half the time of Paddle's operator on a CPU, less with its gradient."""
    batch, channels, h, w = x.shape
    x = paddle.matmul(x.reshape([-1, w]), _bilinear_tensor(width, w), transpose_y=True)  # (B*C*h, width)
    x = paddle.matmul(_bilinear_tensor(height, h), x.reshape([-1, h, width]))  # (B*C, height, width)
    return x.reshape([batch, channels, height, width])


@functools.lru_cache(maxsize=64)
def _bilinear_tensor(target: int, source: int) -> paddle.Tensor:
    return paddle.to_tensor(bilinear_matrix(target, source))


def bilinear_matrix(target: int, source: int) -> np.ndarray:
    """The (target, source) matrix whose product with a signal is :func:`resize` in one dimension."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    distance = np.abs(centre[:, None] - np.arange(source))
    return np.maximum(1 - distance, 0).astype("float32")


class DropPath(nn.Layer):
    """Stochastic depth: in training a sample's residual branch is dropped with probability ``rate``.

    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.rate == 0.0 or not self.training:
            return x
        keep = paddle.rand([x.shape[0]] + [1] * (x.ndim - 1)) >= self.rate
        return x * (keep.astype(x.dtype) / (1.0 - self.rate))


class Constants(nn.Layer):
    """Arrays that depend on the size of the input, made when first asked for and kept.

    They are buffers outside the state. In an exported graph they are stored like parameters, since Paddle 2.6's
    TensorRT path rejects constants that an operator makes in the graph.
    """

    @paddle.jit.not_to_static
    def get(self, name: str, make: Callable[[], np.ndarray]) -> paddle.Tensor:
        """The tensor of this name, made by ``make`` if there is none yet."""
        name = f"_{name}"  # cannot be taken for an attribute of nn.Layer
        if name not in self._buffers:
            with paddle.base.dygraph.guard():  # a tensor of its own, also while a graph is being traced
                value = paddle.to_tensor(make())
            value.name = self.full_name() + name  # a traced graph knows its parameters by name
            self.register_buffer(name, value, persistable=False)
        return getattr(self, name)


class LayerNorm2D(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = F.layer_norm(x.transpose([0, 2, 3, 1]), x.shape[1], self.weight, self.bias, self._epsilon)
        return x.transpose([0, 3, 1, 2])


def init_vision_transformer(layer: nn.Layer) -> None:
    """Initialise one layer's weight as SegFormer and its descendants do; for ``nn.Layer.apply``.

    Linear weights are normal with deviation 0.02, truncated at two; those of convolutions keep the gradient's variance.
    """
    if isinstance(layer, nn.Linear):
        nn.initializer.TruncatedNormal(std=0.02)(layer.weight)
    elif isinstance(layer, nn.Conv2D):
        channels, _, *kernel = layer.weight.shape
        fan_out = math.prod(kernel) * channels // layer._groups
        nn.initializer.Normal(std=math.sqrt(2.0 / fan_out))(layer.weight)
