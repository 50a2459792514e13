"""Building blocks shared by two or more of the networks."""

from typing import Optional, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn


def resize(
    x: paddle.Tensor, size: Optional[Sequence[int]] = None, like: Optional[paddle.Tensor] = None
) -> paddle.Tensor:
    """Bilinear resize with half-pixel centres (``align_corners=False``).

    Args:
        x: (B, C, h, w).
        size: height and width wanted, or
        like: a (B, C', H, W) tensor whose height and width are wanted.

    Returns:
        (B, C, H, W); ``x`` itself where the size is known and already right.
    """
    if size is None:
        size = like.shape[2:]
    if list(x.shape[2:]) == list(size) and -1 not in size:
        return x
    if -1 in size:  # height and width are free in an exported graph
        size = paddle.shape(like)[2:]
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
