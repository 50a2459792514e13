"""Token merging: fewer tokens for attention, and every token back afterwards.

Kienzle et al., "Segformer++: Efficient Token-Merging Strategies for High-Resolution Semantic Segmentation", MIPR 2024;
bipartite soft matching is from Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.

Tokens are (B, N, C) in raster order, N = height * width. A matching function returns ``(merge, unmerge)``: ``merge``
takes (B, N, C) to (B, n, C), and ``unmerge`` takes (B, n, C) back to (B, N, C), where each merged token is a copy of
what it was merged into. A merge is the plain mean; how many tokens a token stands for is not kept, as in the paper.

What deviates from the paper's procedure is only the form, so that the graph exports with a free batch and with
operators that TensorRT has: similarities are computed for destinations too, in fixed places of raster order, the
unmerged tokens are found by the k-th smallest score, and sums over merged tokens are a product with a 0/1 matrix.
"""

import contextlib
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import paddle
import paddle.nn.functional as F

from ..errors import InputError
from .layers import Constants

Size = Sequence[Union[int, paddle.Tensor]]  # height and width; tensors in a graph exported with these free
Merging = Tuple[Callable[[paddle.Tensor], paddle.Tensor], Callable[[paddle.Tensor], paddle.Tensor]]

_EPS = 1e-12  # a token of zeros has no direction; it must not become NaN


def keep_all(tokens: paddle.Tensor) -> paddle.Tensor:
    """The merge, and the unmerge, that does nothing."""
    return tokens


@paddle.jit.not_to_static
def bipartite_soft_matching(
    tokens: paddle.Tensor, size: Size, ratio: float, cell: Tuple[int, int], constants: Optional[Constants] = None
) -> Merging:
    """Merge the tokens that are most like their nearest destination.

    The top-left token of each whole cell is a destination. Every other token chooses the destination of highest
    cosine similarity, and the ``int(N * ratio)`` tokens whose similarity is highest are merged into theirs (all of
    them, if there are fewer). Matching is per image, in float32 and without gradient.

    Args:
        tokens: (B, N, C), what the similarity is measured on.
        size: height and width; known integers.
        ratio: share of the N tokens to merge, in [0, 1].
        cell: height and width of a cell, in tokens.
        constants: where index tables are kept between calls.

    Returns:
        merge: (B, N, C) -> (B, n, C), first the unmerged tokens in raster order, then the destinations' means.
        unmerge: (B, n, C) -> (B, N, C).

    Raises:
        InputError: the map is smaller than one cell.
    """
    height, width = size
    destinations, unmerged = _bipartite_counts(height, width, ratio, cell)
    total, channels = height * width, tokens.shape[-1]
    if destinations + unmerged == total:
        return keep_all, keep_all
    tables = _Tables(constants or Constants(), height, width, cell)

    with paddle.no_grad(), _full_precision():
        metric = tokens.detach().astype("float32")
        rows, columns = height // cell[0], width // cell[1]
        corner = metric.reshape([-1, height, width, channels])[
            :, : rows * cell[0] : cell[0], : columns * cell[1] : cell[1]
        ]
        corner = corner.reshape([-1, destinations, channels])  # (B, D, C)
        corner = corner * paddle.rsqrt((corner * corner).sum(-1, keepdim=True) + _EPS)
        scores = paddle.matmul(metric, corner, transpose_y=True)  # (B, N, D)
        # The token's own length does not change which destination is nearest, so it is divided out afterwards.
        similarity = scores.max(-1) * paddle.rsqrt((metric * metric).sum(-1) + _EPS)  # (B, N)
        similarity = similarity + tables.lift()  # destinations above all others: they are not among the unmerged
        target = paddle.where(tables.is_destination(), tables.own_destination(), scores.argmax(-1))  # (B, N)

        place = unmerged + target  # where each token goes: unmerged ones first, then the destinations
        column = target
        if unmerged:
            is_unmerged = _smallest(similarity, unmerged, tables)  # (B, N)
            place = paddle.where(is_unmerged, (tables.running_sum(is_unmerged) - 1).astype(place.dtype), place)
            column = paddle.where(is_unmerged, paddle.full_like(target, destinations), target)
            order = tables.descending() * is_unmerged.astype("float32")
            kept = paddle.topk(order, unmerged, axis=-1)[1]  # (B, unmerged), raster positions in ascending order
        membership = F.one_hot(column, destinations + 1)  # (B, N, D + 1), the last column for the unmerged
        count = paddle.matmul(membership, tables.ones(), transpose_x=True)[:, :destinations]  # (B, D, 1)

    def merge(x: paddle.Tensor) -> paddle.Tensor:
        sums = paddle.matmul(membership.astype(x.dtype), x, transpose_x=True)[:, :destinations]
        means = sums / count.astype(x.dtype)
        return paddle.concat([gather_tokens(x, kept), means], axis=1) if unmerged else means

    def unmerge(x: paddle.Tensor) -> paddle.Tensor:
        return gather_tokens(x, place)

    return merge, unmerge


@paddle.jit.not_to_static
def average_pooling(size: Size, stride: Tuple[int, int]) -> Merging:
    """Merge the tokens of each ``stride`` window of the map; windows at the border may be smaller.

    Args:
        size: height and width; tensors in a graph exported with these free.
        stride: height and width of a window.

    Returns:
        merge: (B, N, C) -> (B, ceil(height / stride[0]) * ceil(width / stride[1]), C), the windows' means.
        unmerge: back to (B, N, C). For strides of 2 this is the reference's nearest-neighbour resize; for others it
            differs from it where the stride does not divide the map, and gives each token its own window.

    Raises:
        InputError: the map is smaller than the stride.
    """
    height, width = size
    if any(isinstance(side, int) and step > side for side, step in zip(size, stride)):
        raise InputError(
            f"expected a stride within the map of {height} x {width} tokens, got {stride[0]} x {stride[1]}; enlarge "
            "the image or lower the stride"
        )
    if all(isinstance(side, int) and side % step == 0 for side, step in zip(size, stride)):
        return _whole_windows(height, width, stride)
    small = [-(-side // step) for side, step in zip(size, stride)]

    def merge(x: paddle.Tensor) -> paddle.Tensor:
        return map_to_tokens(F.avg_pool2d(tokens_to_map(x, size), stride, stride, ceil_mode=True, exclusive=True))

    def unmerge(x: paddle.Tensor) -> paddle.Tensor:
        # By a whole factor: Paddle's oneDNN rounds other factors differently.
        x = F.interpolate(tokens_to_map(x, small), scale_factor=list(stride), mode="nearest")
        return map_to_tokens(x[:, :, :height, :width])

    return merge, unmerge


def _whole_windows(height: int, width: int, stride: Tuple[int, int]) -> Merging:
    """:func:`average_pooling` where the stride divides the map: whole rows are added and copied, nothing transposed."""
    rows, columns = stride

    def merge(x: paddle.Tensor) -> paddle.Tensor:
        channels = x.shape[-1]
        x = x.reshape([-1, rows, width * channels])  # (B * h, rows, W * C)
        x = sum(x[:, i] for i in range(rows)).reshape([-1, columns, channels])  # (B * h * w, columns, C)
        x = sum(x[:, j] for j in range(columns)) / (rows * columns)
        return x.reshape([-1, height // rows * (width // columns), channels])

    def unmerge(x: paddle.Tensor) -> paddle.Tensor:
        channels = x.shape[-1]
        x = paddle.concat([x.reshape([-1, channels])] * columns, axis=-1)  # (B * h * w, columns * C)
        x = paddle.concat([x.reshape([-1, width * channels])] * rows, axis=-1)  # (B * h, rows * W * C)
        return x.reshape([-1, height * width, channels])

    return merge, unmerge


def tokens_to_map(x: paddle.Tensor, size: Size) -> paddle.Tensor:
    """(B, N, C) -> (B, C, H, W)."""
    # In this order: with transpose and then reshape, Paddle 3.3's inference crashes before a pooling.
    return x.reshape([-1, *size, x.shape[-1]]).transpose([0, 3, 1, 2])


def map_to_tokens(x: paddle.Tensor) -> paddle.Tensor:
    """(B, C, H, W) -> (B, N, C), in raster order."""
    return x.transpose([0, 2, 3, 1]).flatten(1, 2)


def gather_tokens(x: paddle.Tensor, index: paddle.Tensor) -> paddle.Tensor:
    """Tokens (B, n, C) at ``index`` (B, m) -> (B, m, C).

    Whole rows of the flattened batch are copied, which is thirty times faster on a CPU than take_along_axis.
    """
    count, channels = x.shape[1:]
    if x.shape[0] != 1:
        index = index + paddle.arange(paddle.shape(x)[0], dtype=index.dtype).unsqueeze(-1) * count
    return paddle.gather(x.reshape([-1, channels]), index.flatten()).reshape([-1, index.shape[1], channels])


class Bipartite(NamedTuple):
    """Settings of :func:`bipartite_soft_matching`."""

    ratio: float
    cell: Tuple[int, int]

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Optional[Constants] = None) -> Merging:
        return bipartite_soft_matching(tokens, size, self.ratio, self.cell, constants)

    def tokens_kept(self, height: int, width: int) -> int:
        return sum(_bipartite_counts(height, width, self.ratio, self.cell))

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates per channel: similarities of all tokens with the destinations, and the means."""
        return 2 * height * width * _bipartite_counts(height, width, self.ratio, self.cell)[0]

    def fits(self, height: int, width: int) -> bool:
        """Whether the map is large enough."""
        return self.cell[0] <= height and self.cell[1] <= width


class Pooling(NamedTuple):
    """Settings of :func:`average_pooling` over the map (n2d)."""

    stride: Tuple[int, int]

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Optional[Constants] = None) -> Merging:
        return average_pooling(size, self.stride)

    def tokens_kept(self, height: int, width: int) -> int:
        return -(-height // self.stride[0]) * -(-width // self.stride[1])

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates per channel."""
        return height * width

    def fits(self, height: int, width: int) -> bool:
        """Whether the map is large enough."""
        return self.stride[0] <= height and self.stride[1] <= width


class SequencePooling(NamedTuple):
    """Average pooling over the raster sequence (n1d), which is that of a map of height 1."""

    stride: int

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Optional[Constants] = None) -> Merging:
        return average_pooling([1, size[0] * size[1]], (1, self.stride))

    def tokens_kept(self, height: int, width: int) -> int:
        return -(-height * width // self.stride)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates per channel."""
        return height * width

    def fits(self, height: int, width: int) -> bool:
        """Whether the map is large enough."""
        return self.stride <= height * width


Method = Union[Bipartite, Pooling, SequencePooling]

_HQ = [{"kv_mode": "bsm", "kv_ratio": 0.6, "kv_cell": (2, 2)}, {"q_mode": "bsm", "q_ratio": 0.8, "q_cell": (4, 4)}]
_FAST = [{"kv_mode": "bsm", "kv_ratio": 0.9, "kv_cell": (4, 4)}, {"q_mode": "bsm", "q_ratio": 0.9, "q_cell": (4, 4)}]

#: The paper's schedules, table 1: settings of stages 1 to 4.
SCHEDULES = {
    "hq": [_HQ[0], _HQ[0], _HQ[1], _HQ[1]],
    "fast": [_FAST[0], _FAST[0], _FAST[1], _FAST[1]],
    "2x2": [{"q_mode": "n2d", "q_stride": (2, 2)}] * 4,
}


class StageMerging(NamedTuple):
    """What one stage merges: the queries, the source of keys and values, or neither."""

    query: Optional[Method] = None
    key_value: Optional[Method] = None


def parse_schedule(schedule: Union[str, Sequence[dict], None]) -> List[StageMerging]:
    """The settings of four stages.

    Args:
        schedule: None, a name among :data:`SCHEDULES`, or four dicts with any of ``q_mode`` and ``kv_mode`` (None,
            "bsm" or "n2d"; "n1d" for q only) and, with the same prefix, ``ratio`` and ``cell`` for bsm, ``stride`` for
            n2d and n1d. Cells and the stride of n2d are two numbers, or one for both directions.

    Raises:
        InputError: none of these, or a value out of range.
    """
    if schedule is None:
        return [StageMerging()] * 4
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise InputError(
                f"expected token_merging null, {', '.join(SCHEDULES)} or four dicts, got {schedule!r}; choose one"
            )
        schedule = SCHEDULES[schedule]
    if len(schedule) != 4 or not all(stage is None or isinstance(stage, dict) for stage in schedule):
        raise InputError(f"expected token_merging with one dict for each of the four stages, got {schedule!r}")
    return [_parse_stage(dict(stage or {})) for stage in schedule]


def _full_precision():
    """No automatic casts inside; Paddle 2.6 has none while it traces a graph, and refuses to be asked."""
    return paddle.amp.auto_cast(enable=False) if paddle.in_dynamic_mode() else contextlib.nullcontext()


class _Tables:
    """Tensors that depend only on the size of the map and of the cells."""

    def __init__(self, constants: Constants, height: int, width: int, cell: Tuple[int, int]):
        self._constants, self._size, self._cell = constants, (height, width), cell

    def _get(self, name: str, make: Callable[[], np.ndarray], *sizes: int) -> paddle.Tensor:
        return self._constants.get("_".join(map(str, (name, *sizes))), make)

    def _own(self) -> np.ndarray:
        """(1, N): of a destination its number among them, of any other token -1."""
        (height, width), (sy, sx) = self._size, self._cell
        own = np.full((height, width), -1, np.int64)
        corners = own[: height // sy * sy : sy, : width // sx * sx : sx]
        corners[...] = np.arange(corners.size).reshape(corners.shape)
        return own.reshape(1, -1)

    def own_destination(self) -> paddle.Tensor:
        return self._get("own", self._own, *self._size, *self._cell)

    def is_destination(self) -> paddle.Tensor:
        return self._get("is", lambda: self._own() >= 0, *self._size, *self._cell)

    def lift(self) -> paddle.Tensor:
        """(1, N): 4 at the destinations, beyond any cosine; 0 elsewhere."""
        return self._get("lift", lambda: (4 * (self._own() >= 0)).astype("float32"), *self._size, *self._cell)

    def ones(self) -> paddle.Tensor:
        """(N, 1)."""
        total = self._size[0] * self._size[1]
        return self._get("ones", lambda: np.ones((total, 1), "float32"), total)

    def descending(self) -> paddle.Tensor:
        """(1, N): distinct positive numbers in descending order, which float16 holds exactly, up to N = 30720."""
        total = self._size[0] * self._size[1]
        if total > 30720:  # no such numbers: float32's integers then
            return self._get("descending", lambda: np.arange(total, 0, -1, dtype="float32")[None], total)
        bits = np.arange(0x0400 + total, 0x0400, -1, dtype="uint16")  # float16's order is that of its bit patterns
        return self._get("descending", lambda: bits.view("float16").astype("float32")[None], total)

    def running_sum(self, mask: paddle.Tensor) -> paddle.Tensor:
        """(B, N) booleans -> (B, N) how many are true up to and including each position.

        Two small products: TensorRT would compute a cumulative sum one element after the other. The rows above are
        one more column of the second product, since Paddle's oneDNN errs when a map is added to a product.
        """
        height, width = self._size
        lower = self._get("lower", lambda: np.tril(np.ones((height, height), "float32"), -1), height)
        upper = self._get("upper", lambda: np.triu(np.ones((width + 1, width), "float32"), -1), width)
        mask = mask.astype("float32").reshape([-1, height, width])
        above = paddle.matmul(lower, mask.sum(-1, keepdim=True))  # (B, H, 1), all rows above
        return paddle.matmul(paddle.concat([above, mask], -1), upper).reshape([-1, height * width])


def _smallest(values: paddle.Tensor, k: int, tables: _Tables) -> paddle.Tensor:
    """(B, N) -> (B, N) booleans, true at the ``k`` smallest; among equal values the first ones."""
    threshold = paddle.topk(values, k, axis=-1, largest=False)[0].max(-1, keepdim=True)  # (B, 1)
    below, level = values < threshold, values == threshold
    room = k - below.astype("float32").sum(-1, keepdim=True)
    return paddle.logical_or(below, paddle.logical_and(level, tables.running_sum(level) <= room))


def _bipartite_counts(height: int, width: int, ratio: float, cell: Tuple[int, int]) -> Tuple[int, int]:
    """Numbers of destinations and of unmerged tokens."""
    if not all(isinstance(side, int) and side >= 0 for side in (height, width)):
        raise InputError(
            "bsm token merging needs the image's height and width when a graph is exported, got free ones; fix both, "
            "or use token_merging 2x2"
        )
    destinations = (height // cell[0]) * (width // cell[1])
    if destinations == 0:
        raise InputError(
            f"expected at least one cell of {cell[0]} x {cell[1]} tokens for bsm merging, got a map of {height} x "
            f"{width}; enlarge the image or make the cells smaller"
        )
    sources = height * width - destinations
    return destinations, sources - min(int(height * width * ratio), sources)


def _parse_stage(stage: dict) -> StageMerging:
    query, key_value = _parse_method(stage, "q"), _parse_method(stage, "kv")
    if isinstance(key_value, SequencePooling):
        raise InputError("expected kv_mode null, bsm or n2d, got 'n1d'; n1d merges queries only")
    if stage:
        raise InputError(
            f"token_merging does not take {sorted(stage)[0]!r} there; see parse_schedule for what each mode takes"
        )
    return StageMerging(query, key_value)


def _parse_method(stage: dict, prefix: str) -> Optional[Method]:
    """The method that the keys with ``prefix`` describe, which are taken out of ``stage``."""
    mode = stage.pop(f"{prefix}_mode", None)
    if mode is None:
        return None
    needed = {"bsm": ["ratio", "cell"], "n2d": ["stride"], "n1d": ["stride"]}
    if mode not in needed:
        raise InputError(f"expected {prefix}_mode null, bsm, n2d or n1d, got {mode!r}; choose one")
    for name in needed[mode]:
        if f"{prefix}_{name}" not in stage:
            raise InputError(f"{prefix}_mode {mode} needs {prefix}_{name}; add it")
    if mode == "bsm":
        ratio, cell = f"{prefix}_ratio", f"{prefix}_cell"
        return Bipartite(_ratio(ratio, stage.pop(ratio)), _pair(cell, stage.pop(cell)))
    stride = f"{prefix}_stride"
    if mode == "n2d":
        return Pooling(_pair(stride, stage.pop(stride)))
    return SequencePooling(_whole(stride, stage.pop(stride)))


def _ratio(key: str, value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError(f"expected {key} from 0 to 1, the share of tokens to merge, got {value!r}; correct it")
    return float(value)


def _pair(key: str, value) -> Tuple[int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _whole(key, value[0]), _whole(key, value[1])
    return (_whole(key, value),) * 2


def _whole(key: str, value) -> int:
    if type(value) is not int or value < 1:
        raise InputError(
            f"expected {key} as whole numbers of at least 1, one or a pair for a map, got {value!r}; correct it"
        )
    return value
