"""Selecting tokens per image, in two forms that give the same tokens.

TensorRT has no converter for a scatter and runs a sort or a cumulative sum one element after the other, so the form for
Paddle's own programs has only products, comparisons, TopK and gathers. Other runtimes have fast kernels for a scatter,
which saves them 25 of 30 operators: :func:`scattering` is the form for their graphs, ONNX.
"""

import contextlib
from typing import Callable, Iterator, Tuple

import numpy as np
import paddle

from .layers import Constants

_scatters = False


@contextlib.contextmanager
def scattering() -> Iterator[None]:
    """Select with a scatter in what is computed, or traced, inside."""
    global _scatters
    _scatters, before = True, _scatters
    try:
        yield
    finally:
        _scatters = before


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

    def maximum(self, scores: paddle.Tensor, where: paddle.Tensor) -> paddle.Tensor:
        """(B, N, D) float32, and the position (B, N) of each row's maximum -> (B, N), the maxima."""
        if not _scatters:
            return scores.max(-1)
        return paddle.take_along_axis(scores, where.unsqueeze(-1), -1, broadcast=False).squeeze(-1)

    def split(self, values: paddle.Tensor, k: int, place: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """Take out the ``k`` tokens of the smallest values; of equal values the first ones count.

        Args:
            values: (B, N) float32.
            k: at least 1.
            place: (B, N) int64.

        Returns:
            (B, k) positions of these tokens: in raster order, or in no particular order with :func:`scattering`.
            (B, N), for each of them where it is in this list, and ``place`` for all others.
        """
        if _scatters:
            taken = paddle.topk(values, k, axis=-1, largest=False, sorted=False)[1]
            order = self._constant("order", lambda: np.arange(k)[None], k)
            zeros = self._constant("zeros", lambda: np.zeros((1, k), np.int64), k)
            return taken, paddle.put_along_axis(place, taken, taken * zeros + order, 1, broadcast=False)
        is_taken = self.smallest(values, k)
        order = (self.running_count(is_taken) - 1).astype(place.dtype)
        return self.positions(is_taken, k), paddle.where(is_taken, order, place)

    def membership(self, place: paddle.Tensor, first: int, count: int) -> paddle.Tensor:
        """Places (B, N) -> (B, N, count) float32, 1 where a token's place is ``first``, ``first`` + 1, ..., else 0."""
        places = self._constant("places", lambda: np.arange(first, first + count)[None, None], first, count)
        return (place.unsqueeze(-1) == places).astype("float32")

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
