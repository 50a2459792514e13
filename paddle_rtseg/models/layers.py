"""Building blocks shared by two or more of the networks."""

import math
from typing import Callable, List, Optional, Sequence, Union

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

Size = Sequence[Union[int, paddle.Tensor]]  #: height and width; tensors in a graph exported with these free


@paddle.jit.not_to_static
def spatial_size(x: paddle.Tensor) -> List[Union[int, paddle.Tensor]]:
    """Height and width of (B, C, H, W): integers, or integer tensors in a graph exported with these free."""
    if -1 in x.shape[2:]:
        shape = paddle.shape(x)
        return [shape[2], shape[3]]
    return list(x.shape[2:])


def tokens_to_map(x: paddle.Tensor, size: Size) -> paddle.Tensor:
    """(B, H * W, C) in raster order -> (B, C, H, W)."""
    # Reshape first: with the transpose first, Paddle 3.3's inference crashes if a pooling follows.
    return x.reshape([-1, *size, x.shape[-1]]).transpose([0, 3, 1, 2])


def map_to_tokens(x: paddle.Tensor) -> paddle.Tensor:
    """(B, C, H, W) -> (B, H * W, C) in raster order."""
    return x.transpose([0, 2, 3, 1]).flatten(1, 2)


@paddle.jit.not_to_static
def attend(q: paddle.Tensor, k: paddle.Tensor, v: paddle.Tensor, max_scores: Optional[int] = None) -> paddle.Tensor:
    """Attention, softmax(q k^T) v, computed for a piece of the queries at a time.

    The pieces bound the memory that the scores take and do not change the result. The heads are part of the first
    axis because Paddle's oneDNN computes four-dimensional products wrongly.

    Args:
        q: (B * heads, n, C) queries, scaled by the caller: there are fewer of them than of scores.
        k: (B * heads, m, C) keys.
        v: (B * heads, m, C) values.
        max_scores: how many of one head's n * m scores to hold at a time; None for all. It has no effect where n or m
            is free in an exported graph.

    Returns:
        (B * heads, n, C).
    """
    n, m = q.shape[1], k.shape[1]
    rows = max(1, max_scores // m) if max_scores is not None and min(n, m) > 0 else n
    pieces = [q] if rows >= n else [q[:, start : start + rows] for start in range(0, n, rows)]
    results = [paddle.matmul(F.softmax(paddle.matmul(piece, k, transpose_y=True), axis=-1), v) for piece in pieces]
    return results[0] if len(results) == 1 else paddle.concat(results, axis=1)


class ConvBNReLU(nn.Layer):
    """1x1 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2D(in_channels, out_channels, 1, bias_attr=False)
        self.bn = nn.BatchNorm2D(out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        return F.relu(self.bn(self.conv(x)))


class LayerNorm2D(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # Three axes, because OpenVINO permutes a map of four that is channels last once more.
        tokens = F.layer_norm(map_to_tokens(x), x.shape[1], self.weight, self.bias, self._epsilon)
        return tokens_to_map(tokens, spatial_size(x))


class DropPath(nn.Layer):
    """Stochastic depth: in training a sample's residual branch is dropped with probability ``rate``.

    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, ...) -> (B, ...)."""
        if self.rate == 0.0 or not self.training:
            return x
        keep = paddle.rand([x.shape[0]] + [1] * (x.ndim - 1)) >= self.rate
        return x * (keep.astype(x.dtype) / (1.0 - self.rate))


class Constants(nn.Layer):
    """Arrays that depend only on the input's size, made on first use and kept.

    They are buffers outside the state. An exported graph stores them like parameters, because Paddle 2.6's TensorRT
    path rejects constants that an operator makes in the graph.
    """

    @paddle.jit.not_to_static
    def get(self, name: str, make: Callable[[], np.ndarray]) -> paddle.Tensor:
        """The tensor called ``name``, which ``make`` makes the first time."""
        name = f"_{name}"  # cannot be mistaken for an attribute of nn.Layer
        if name not in self._buffers:
            with paddle.base.dygraph.guard():  # a tensor with a value, even while a graph is being traced
                value = paddle.to_tensor(make())
            value.name = self.full_name() + name  # a traced graph finds its parameters by name
            self.register_buffer(name, value, persistable=False)
        return getattr(self, name)


def init_vision_transformer(layer: nn.Layer) -> None:
    """Initialise one layer's weight as SegFormer and its descendants do; for ``nn.Layer.apply``.

    Linear weights are normal with standard deviation 0.02, truncated at two deviations. Convolution weights are normal
    with variance 2 / fan-out, which preserves the variance of gradients.
    """
    if isinstance(layer, nn.Linear):
        nn.initializer.TruncatedNormal(std=0.02)(layer.weight)
    elif isinstance(layer, nn.Conv2D):
        channels, _, *kernel = layer.weight.shape
        fan_out = math.prod(kernel) * channels // layer._groups
        nn.initializer.Normal(std=math.sqrt(2.0 / fan_out))(layer.weight)


def init_classifier(layer: nn.Conv2D) -> None:
    """Start a segmentation classifier near zero, so that every class is about as likely and the loss near ln(classes).

    The standard deviation of 0.01 is that of mmseg's base decode head. The rule for convolutions above would make it
    sqrt(2 / classes), which is right for hidden layers only.
    """
    nn.initializer.Normal(std=0.01)(layer.weight)
