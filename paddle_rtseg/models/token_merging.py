"""Token merging: attention works on fewer tokens, and every token comes back afterwards.

Kienzle et al., "Segformer++: Efficient Token-Merging Strategies for High-Resolution Semantic Segmentation", MIPR 2024,
arXiv 2405.14467; bipartite soft matching is from Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.

Tokens are (B, N, C), those of a map of N = H * W tokens in raster order. Each algorithm returns a :class:`Merging`. A
merged token is the plain mean of its group, as in the paper; unmerging gives each token of a group a copy. How many
tokens a merged one stands for does not matter to SegFormer++, and does to :func:`counted` of Bolya et al.

Only the form deviates from the papers, so that a graph exports with a free batch and with operators that run on a GPU:
similarities are computed for destinations as well, which keeps every token at its place in raster order; nothing is
sorted (see :mod:`.selection`); a product with a 0/1 matrix adds up the tokens of each group.
"""

import contextlib
from typing import Callable, List, NamedTuple, Optional, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F

from .layers import Constants, Size, map_to_tokens, tokens_to_map
from .selection import Selection, gather_tokens

_EPS = 1e-12  # a token of zeros has no direction, and its similarity must not become NaN


class Merging(NamedTuple):
    """Which tokens of a map merge, for any tokens of that map."""

    merge: Callable[[paddle.Tensor], paddle.Tensor]  #: (B, N, C) -> (B, n, C)
    unmerge: Callable[[paddle.Tensor], paddle.Tensor]  #: (B, n, C) -> (B, N, C)
    #: () -> (B, n, 1) float32, how many tokens each merged one stands for; None where nobody counts them.
    sizes: Optional[Callable[[], paddle.Tensor]] = None


def _unchanged(x: paddle.Tensor) -> paddle.Tensor:
    return x


DO_NOTHING = Merging(_unchanged, _unchanged)  #: no tokens are merged


def counted(values: paddle.Tensor, sizes: paddle.Tensor) -> paddle.Tensor:
    """Values of merged keys, each counted as often as it stands for tokens: the first half of proportional attention.

    Bolya et al. (ICLR 2023, equation 1) add the logarithm of the sizes s to the scores: softmax(q k^T + log s) v. With
    e = exp(q k^T) that is sum_j s_j e_j v_j / sum_j s_j e_j, which :func:`.layers.attend` computes if it gets s v and
    s as values, followed by a division, :func:`per_count`. This form is ours: it adds nothing to the n * m scores.

    Args:
        values: (B, heads, m, C).
        sizes: (B, m, 1), of :class:`Merging`.

    Returns:
        (B, heads, m, C + 1), the last channel the sizes.
    """
    sizes = sizes.astype(values.dtype).unsqueeze(1)  # (B, 1, m, 1)
    return paddle.concat([values * sizes, paddle.concat([sizes] * values.shape[1], axis=1)], axis=-1)


def per_count(x: paddle.Tensor) -> paddle.Tensor:
    """Attention to the values of :func:`counted`, (..., C + 1) -> (..., C): the second half of it."""
    return x[..., :-1] / x[..., -1:]


@paddle.jit.not_to_static
def bipartite_soft_matching(
    metric: paddle.Tensor, size: Tuple[int, int], cell: Tuple[int, int], r: int, constants: Constants
) -> Merging:
    """Merge the ``r`` source tokens that are most similar to a destination into that destination.

    The top-left token of each whole cell is a destination; all other tokens are sources. A source's similarity is the
    cosine of the angle to its nearest destination. Matching is per image, in float32 and without gradient.

    Args:
        metric: (B, N, C), what similarity is measured on: the tokens that are to be merged.
        size: height and width of the map, known integers, with room for at least one cell.
        cell: height and width of a cell, in tokens.
        r: how many sources to merge, at most all of them: N minus the number of cells.
        constants: keeps the tables of this size between calls.

    Returns:
        The merging of N to n = N - r tokens: the unmerged sources, then the destinations, these in raster order. It
        also merges other tokens of a map of this size.
    """
    if r <= 0:
        return DO_NOTHING
    height, width = size
    rows, columns = height // cell[0] * cell[0], width // cell[1] * cell[1]
    num_destinations = (height // cell[0]) * (width // cell[1])
    num_unmerged = height * width - num_destinations - r
    selection = Selection(size, constants)
    first_place, is_source, lift = _tables(size, cell, num_unmerged, constants)

    def at_destinations(x: paddle.Tensor) -> paddle.Tensor:
        """(B, N, c) -> (B, D, c)."""
        x = x.reshape([-1, height, width, x.shape[-1]])[:, : rows : cell[0], : columns : cell[1]]
        return x.reshape([-1, num_destinations, x.shape[-1]])

    with paddle.no_grad(), _full_precision():
        metric = metric.detach().astype("float32")
        inverse_norm = paddle.rsqrt((metric * metric).sum(-1, keepdim=True) + _EPS)  # (B, N, 1)
        destinations = at_destinations(metric) * at_destinations(inverse_norm)  # (B, D, C)
        scores = paddle.matmul(metric, destinations, transpose_y=True)  # (B, N, D)
        nearest = scores.argmax(-1)  # (B, N)
        # A source's own norm does not change which destination is nearest, so it is divided out of the maximum only.
        similarity = selection.maximum(scores, nearest) * inverse_norm.squeeze(-1)  # (B, N)
        place = nearest * is_source + first_place  # (B, N), where each token is found after the merge
        if num_unmerged:
            # Lifted above all sources, destinations are not among the unmerged.
            unmerged, place = selection.split(similarity + lift, num_unmerged, place)
        membership = selection.membership(place, num_unmerged, num_destinations)  # (B, N, D)
        group_size = selection.group_sizes(membership)  # (B, D, 1)

    def merge(x: paddle.Tensor) -> paddle.Tensor:
        sums = paddle.matmul(membership.astype(x.dtype), x, transpose_x=True)
        means = sums / group_size.astype(x.dtype)  # (B, D, C)
        return paddle.concat([gather_tokens(x, unmerged), means], axis=1) if num_unmerged else means

    def unmerge(x: paddle.Tensor) -> paddle.Tensor:
        return gather_tokens(x, place)

    def sizes() -> paddle.Tensor:
        if not num_unmerged:
            return group_size
        zeros = constants.get(f"zero_sizes_{num_unmerged}", lambda: np.zeros((1, num_unmerged, 1), "float32"))
        return paddle.concat([group_size[:, :1] * zeros + 1, group_size], axis=1)

    return Merging(merge, unmerge, sizes)


@paddle.jit.not_to_static
def average_pooling(size: Size, stride: Tuple[int, int]) -> Merging:
    """Merge the tokens of each window of the map, whatever they are.

    Args:
        size: height and width of the map; integer tensors in a graph exported with these free.
        stride: height and width of a window, at most those of the map. Windows at the border may be smaller.

    Returns:
        The merging of N to ceil(height / stride[0]) * ceil(width / stride[1]) tokens. For strides of 2, unmerging is
        the reference's nearest-neighbour resize. For other strides that do not divide the map it differs from that:
        each token gets its own window's mean.
    """
    height, width = size
    if all(isinstance(side, int) and side % step == 0 for side, step in zip(size, stride)):
        return _whole_windows(height, width, stride)
    small = [-(-side // step) for side, step in zip(size, stride)]

    def merge(x: paddle.Tensor) -> paddle.Tensor:
        return map_to_tokens(F.avg_pool2d(tokens_to_map(x, size), stride, stride, ceil_mode=True, exclusive=True))

    def unmerge(x: paddle.Tensor) -> paddle.Tensor:
        channels = x.shape[-1]
        x = _repeat(x, small[1], stride).reshape([-1, small[0] * stride[0], small[1] * stride[1], channels])
        return x[:, :height, :width].reshape([-1, height * width, channels])

    return Merging(merge, unmerge)


def _whole_windows(height: int, width: int, stride: Tuple[int, int]) -> Merging:
    """:func:`average_pooling` where the stride divides the map: it adds and copies whole rows, transposing nothing."""
    rows, columns = stride

    def merge(x: paddle.Tensor) -> paddle.Tensor:
        channels = x.shape[-1]
        x = x.reshape([-1, rows, width * channels])  # (B * h, rows, W * C)
        x = sum(x[:, i] for i in range(rows)).reshape([-1, columns, channels])  # (B * h * w, columns, C)
        x = sum(x[:, j] for j in range(columns)) / (rows * columns)
        return x.reshape([-1, height // rows * (width // columns), channels])

    def unmerge(x: paddle.Tensor) -> paddle.Tensor:
        return _repeat(x, width // columns, stride).reshape([-1, height * width, x.shape[-1]])

    return Merging(merge, unmerge)


def _repeat(x: paddle.Tensor, width: int, stride: Tuple[int, int]) -> paddle.Tensor:
    """A window's token for each of its places: (B, h * width, C) -> (B * h, stride[0] * width * stride[1] * C)."""
    rows, columns = stride
    channels = x.shape[-1]
    x = paddle.concat([x.reshape([-1, channels])] * columns, axis=-1)  # (B * h * width, columns * C)
    return paddle.concat([x.reshape([-1, width * columns * channels])] * rows, axis=-1)


def _tables(size: Size, cell: Tuple[int, int], num_unmerged: int, constants: Constants) -> List[paddle.Tensor]:
    """Three (1, N): where a destination is found, and the first of them at sources; 1 at sources; the lift.

    Destinations follow the unmerged sources. The lift puts them above any cosine.
    """

    def numbers() -> np.ndarray:
        """(1, N), those of the destinations, and -1 at sources."""
        (height, width), (sy, sx) = size, cell
        table = np.full((height, width), -1, np.int64)
        corners = table[: height // sy * sy : sy, : width // sx * sx : sx]
        corners[...] = np.arange(corners.size).reshape(corners.shape)
        return table.reshape(1, -1)

    name = "_".join(map(str, (*size, *cell)))
    return [
        constants.get(f"place_{num_unmerged}_{name}", lambda: num_unmerged + np.maximum(numbers(), 0)),
        constants.get(f"is_source_{name}", lambda: (numbers() < 0).astype(np.int64)),
        constants.get(f"lift_{name}", lambda: (4 * (numbers() >= 0)).astype("float32")),
    ]


def _full_precision():
    """No automatic casts inside; Paddle 2.6 has none while it traces a graph, and refuses to be asked."""
    return paddle.amp.auto_cast(enable=False) if paddle.in_dynamic_mode() else contextlib.nullcontext()
