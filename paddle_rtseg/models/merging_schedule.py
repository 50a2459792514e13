"""Which tokens each stage of MiT merges: the methods and their settings, the paper's schedules, and how to read others.

Kienzle et al., "Segformer++: Efficient Token-Merging Strategies for High-Resolution Semantic Segmentation", MIPR 2024,
arXiv 2405.14467. The algorithms are in :mod:`.token_merging`.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import paddle
from paddle import nn

from ..errors import InputError
from .layers import Constants, Size
from .token_merging import Merging, average_pooling, bipartite_soft_matching, do_nothing

# fmt: off
#: The paper's schedules: settings of stages 1 to 4, as :func:`parse_schedule` takes them.
SCHEDULES: Dict[str, List[Dict[str, Any]]] = {
    "hq":   [{"kv_mode": "bsm", "kv_ratio": 0.6, "kv_cell": (2, 2)}] * 2
          + [{"q_mode":  "bsm", "q_ratio":  0.8, "q_cell":  (4, 4)}] * 2,
    "fast": [{"kv_mode": "bsm", "kv_ratio": 0.9, "kv_cell": (4, 4)}] * 2
          + [{"q_mode":  "bsm", "q_ratio":  0.9, "q_cell":  (4, 4)}] * 2,
    "2x2":  [{"q_mode":  "n2d", "q_stride": (2, 2)}] * 4,
}
# fmt: on


class Method:
    """A way to merge the tokens of a map, with its settings."""

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        """The functions ``(merge, unmerge)`` for tokens (B, H * W, C) of a map of this size.

        Raises:
            InputError: the map is too small.
        """
        raise NotImplementedError

    def fits(self, height: int, width: int) -> bool:
        """Whether a map of this size is large enough."""
        raise NotImplementedError

    def tokens_kept(self, height: int, width: int) -> int:
        """How many tokens are left of a map of this size."""
        raise NotImplementedError

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates per channel."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoMerging(Method):
    """Every token is kept."""

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        return do_nothing, do_nothing

    def fits(self, height: int, width: int) -> bool:
        return True

    def tokens_kept(self, height: int, width: int) -> int:
        return height * width

    def macs(self, height: int, width: int) -> int:
        return 0


@dataclass(frozen=True)
class Bipartite(Method):
    """:func:`.token_merging.bipartite_soft_matching` (bsm).

    Attributes:
        ratio: share of all tokens to merge, from 0 to 1; no more than the sources can be.
        cell: height and width of the cells that have a destination each, in tokens.
    """

    ratio: float
    cell: Tuple[int, int]

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        height, width = size
        if not all(isinstance(side, int) and side >= 0 for side in size):
            raise InputError(
                "bsm token merging needs the image's height and width when a graph is exported, got free ones; fix "
                "both, or use token_merging 2x2"
            )
        if not self.fits(height, width):
            raise InputError(
                f"expected at least one cell of {self.cell[0]} x {self.cell[1]} tokens for bsm merging, got a map of "
                f"{height} x {width}; enlarge the image or make the cells smaller"
            )
        return bipartite_soft_matching(tokens, (height, width), self.cell, self._merged(height, width), constants)

    def fits(self, height: int, width: int) -> bool:
        return self._destinations(height, width) > 0

    def tokens_kept(self, height: int, width: int) -> int:
        return height * width - self._merged(height, width)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates per channel: similarities of all tokens to the destinations, and the groups' sums."""
        return 2 * height * width * self._destinations(height, width)

    def _destinations(self, height: int, width: int) -> int:
        return (height // self.cell[0]) * (width // self.cell[1])

    def _merged(self, height: int, width: int) -> int:
        total = height * width
        return min(int(total * self.ratio), total - self._destinations(height, width))


@dataclass(frozen=True)
class Pooling(Method):
    """:func:`.token_merging.average_pooling` over the map (n2d).

    Attributes:
        stride: height and width of a window, in tokens.
    """

    stride: Tuple[int, int]

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        if any(isinstance(side, int) and step > side for side, step in zip(size, self.stride)):
            raise InputError(
                f"expected a stride within the map of {size[0]} x {size[1]} tokens, got {self.stride[0]} x "
                f"{self.stride[1]}; enlarge the image or lower the stride"
            )
        return average_pooling(size, self.stride)

    def fits(self, height: int, width: int) -> bool:
        return self.stride[0] <= height and self.stride[1] <= width

    def tokens_kept(self, height: int, width: int) -> int:
        return -(-height // self.stride[0]) * -(-width // self.stride[1])

    def macs(self, height: int, width: int) -> int:
        return height * width


@dataclass(frozen=True)
class SequencePooling(Method):
    """Average pooling over the tokens' raster sequence (n1d), which is :class:`Pooling` of a map of height 1.

    Attributes:
        stride: tokens in a window.
    """

    stride: int

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        return Pooling((1, self.stride))(tokens, [1, size[0] * size[1]], constants)

    def fits(self, height: int, width: int) -> bool:
        return self.stride <= height * width

    def tokens_kept(self, height: int, width: int) -> int:
        return -(-height * width // self.stride)

    def macs(self, height: int, width: int) -> int:
        return height * width


class StageMerging(nn.Layer):
    """The merging of one stage, which the stage's blocks own together.

    Args:
        query: how the queries are merged.
        key_value: how the source of keys and values is merged.
        constants: keeps the tables of the methods; stages may share it.
    """

    def __init__(self, query: Method, key_value: Method, constants: Constants):
        super().__init__()
        self.query = query
        self.key_value = key_value
        self.constants = constants

    def match_queries(self, tokens: paddle.Tensor, size: Size) -> Merging:
        """The functions ``(merge, unmerge)`` for queries (B, H * W, C)."""
        return self.query(tokens, size, self.constants)

    def match_keys_values(self, tokens: paddle.Tensor, size: Size) -> Merging:
        """The functions ``(merge, unmerge)`` for the source of keys and values, (B, H * W, C)."""
        return self.key_value(tokens, size, self.constants)


def merges_by_matching(network: nn.Layer) -> bool:
    """Whether any stage of ``network`` merges tokens by :class:`Bipartite` matching."""
    stages = [layer for layer in network.sublayers() if isinstance(layer, StageMerging)]
    return any(isinstance(method, Bipartite) for stage in stages for method in (stage.query, stage.key_value))


def parse_schedule(schedule: Union[str, Sequence[Optional[dict]], None]) -> List[StageMerging]:
    """The merging of four stages.

    Args:
        schedule: None for no merging, a name among :data:`SCHEDULES`, or four dicts with any of ``q_mode`` and
            ``kv_mode`` (None, "bsm" or "n2d"; "n1d" for q only) and, with the same prefix, ``ratio`` and ``cell`` for
            bsm, ``stride`` for n2d and n1d. Cells and the stride of n2d are two numbers, or one for both directions.

    Raises:
        InputError: none of these, or a value out of range.
    """
    if schedule is None:
        schedule = [{}] * 4
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise InputError(
                f"expected token_merging null, {', '.join(SCHEDULES)} or four dicts, got {schedule!r}; choose one"
            )
        schedule = SCHEDULES[schedule]
    if (
        not isinstance(schedule, (list, tuple))
        or len(schedule) != 4
        or not all(stage is None or isinstance(stage, dict) for stage in schedule)
    ):
        raise InputError(f"expected token_merging with one dict for each of the four stages, got {schedule!r}")
    constants = Constants()
    return [StageMerging(*_parse_stage(dict(stage or {})), constants) for stage in schedule]


def _parse_stage(stage: Dict[str, Any]) -> Tuple[Method, Method]:
    query, key_value = _parse_method(stage, "q"), _parse_method(stage, "kv")
    if isinstance(key_value, SequencePooling):
        raise InputError("expected kv_mode null, bsm or n2d, got 'n1d'; n1d merges queries only")
    if stage:
        raise InputError(
            f"token_merging does not take {sorted(stage)[0]!r} there; see parse_schedule for what each mode takes"
        )
    return query, key_value


def _parse_method(stage: Dict[str, Any], prefix: str) -> Method:
    """The method that the keys with ``prefix`` describe, which are taken out of ``stage``."""
    mode = stage.pop(f"{prefix}_mode", None)
    if mode is None:
        return NoMerging()
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


def _ratio(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError(f"expected {key} from 0 to 1, the share of tokens to merge, got {value!r}; correct it")
    return float(value)


def _pair(key: str, value: Any) -> Tuple[int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _whole(key, value[0]), _whole(key, value[1])
    return (_whole(key, value),) * 2


def _whole(key: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise InputError(
            f"expected {key} as whole numbers of at least 1, one or a pair for a map, got {value!r}; correct it"
        )
    return value
