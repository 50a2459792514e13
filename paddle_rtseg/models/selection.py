"""Selecting tokens per image, without a sort, a scatter or a cumulative sum.

TensorRT has no converter for some of these operators and runs the others one element after the other. Here are only
products, comparisons, TopK and gathers.
"""

from typing import Callable, Tuple

import numpy as np
import paddle

from .layers import Constants


class Selection:
    """Masks over the N = H * W tokens of a map in raster order, and what can be found from them.

    Args:
        size: height and width of the map.
        constants: keeps the arrays that depend on the size.
    """

    def __init__(self, size: Tuple[int, int], constants: Constants):
        self.size = height, width = size
        self.total = height * width
        self.constants = constants

    def smallest(self, values: paddle.Tensor, k: int) -> paddle.Tensor:
        """(B, N) float32 -> (B, N) booleans, true at the ``k`` smallest; of equal values the first ones count."""
        threshold = paddle.topk(values, k, axis=-1, largest=False)[0].max(-1, keepdim=True)  # (B, 1)
        below, level = values < threshold, values == threshold
        room = k - below.astype("float32").sum(-1, keepdim=True)
        return paddle.logical_or(below, paddle.logical_and(level, self.running_count(level) <= room))

    def running_count(self, mask: paddle.Tensor) -> paddle.Tensor:
        """(B, N) booleans -> (B, N) float32, how many are true up to and including each token.

        Two small products take the place of a cumulative sum. The rows above are one more column of the second
        product because Paddle's oneDNN goes wrong when a map is added to a product.
        """
        height, width = self.size
        lower = self._constant("lower", lambda: np.tril(np.ones((height, height), "float32"), -1), height)
        upper = self._constant("upper", lambda: np.triu(np.ones((width + 1, width), "float32"), -1), width)
        mask = mask.astype("float32").reshape([-1, height, width])
        above = paddle.matmul(lower, mask.sum(-1, keepdim=True))  # (B, H, 1), all rows above
        return paddle.matmul(paddle.concat([above, mask], -1), upper).reshape([-1, self.total])

    def positions(self, mask: paddle.Tensor, k: int) -> paddle.Tensor:
        """(B, N) booleans, ``k`` of them true in each image -> (B, k) their positions in raster order."""
        order = self._constant("descending", lambda: _descending(self.total), self.total)
        return paddle.topk(order * mask.astype("float32"), k, axis=-1)[1]

    def group_sizes(self, membership: paddle.Tensor) -> paddle.Tensor:
        """(B, N, G) zeros and ones -> (B, G, 1), the number of tokens in each group."""
        ones = self._constant("ones", lambda: np.ones((self.total, 1), "float32"), self.total)
        return paddle.matmul(membership, ones, transpose_x=True)

    def _constant(self, name: str, make: Callable[[], np.ndarray], *sizes: int) -> paddle.Tensor:
        return self.constants.get("_".join(map(str, (name, *sizes))), make)


def gather_tokens(x: paddle.Tensor, index: paddle.Tensor) -> paddle.Tensor:
    """Tokens (B, n, C) at ``index`` (B, m) -> (B, m, C).

    It copies whole rows of the flattened batch, on a CPU thirty times as fast as take_along_axis.
    """
    count, channels = x.shape[1:]
    if x.shape[0] != 1:
        index = index + paddle.arange(paddle.shape(x)[0], dtype=index.dtype).unsqueeze(-1) * count
    return paddle.gather(x.reshape([-1, channels]), index.flatten()).reshape([-1, index.shape[1], channels])


def _descending(total: int) -> np.ndarray:
    """(1, total) distinct positive numbers in descending order, exact in float16 as far as that has so many."""
    if total > 30720:
        return np.arange(total, 0, -1, dtype="float32")[None]
    bits = np.arange(0x0400 + total, 0x0400, -1, dtype="uint16")  # float16's order is that of its bit patterns
    return bits.view("float16").astype("float32")[None]
