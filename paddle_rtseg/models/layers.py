"""Building blocks shared by two or more of the networks."""

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
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


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
        keep = 1.0 - self.rate
        mask = paddle.rand([x.shape[0]] + [1] * (x.ndim - 1), dtype="float32") < keep
        return x * (mask.astype(x.dtype) / keep)
