"""Which tokens each stage of MiT merges: the methods and their settings, the paper's schedules, and how to read others.

Kienzle et al., "Segformer++: Efficient Token-Merging Strategies for High-Resolution Semantic Segmentation", MIPR 2024,
arXiv 2405.14467. The algorithms are in :mod:`.token_merging`.

Two options are not in that paper. ``proportional`` is the proportional attention of Bolya et al., "Token Merging: Your
ViT But Faster", ICLR 2023: a merged key has the weight of all tokens that it stands for. ``match_every`` is ours: with
k, the blocks 0, k, 2k, ... of a stage match their own tokens, and each block after them merges the same positions.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import paddle
from paddle import nn

from ..errors import InputError
from ..weights.limits import quote
from .layers import Constants, Size
from .token_merging import DO_NOTHING, Merging, average_pooling, bipartite_soft_matching

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

#: Options of a stage, each with the prefixes of the modes of which one must be bsm.
OPTIONS = {"match_every": ("q", "kv"), "proportional": ("kv",)}


class Method:
    """A way to merge the tokens of a map, with its settings."""

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        """The merging of tokens (B, H * W, C) of a map of this size.

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

    def macs(self, height: int, width: int, matches: bool = True) -> int:
        """Multiply-accumulates per channel; ``matches``: also those of finding out which tokens merge."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoMerging(Method):
    """Every token is kept."""

    def __call__(self, tokens: paddle.Tensor, size: Size, constants: Constants) -> Merging:
        return DO_NOTHING

    def fits(self, height: int, width: int) -> bool:
        return True

    def tokens_kept(self, height: int, width: int) -> int:
        return height * width

    def macs(self, height: int, width: int, matches: bool = True) -> int:
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

    def macs(self, height: int, width: int, matches: bool = True) -> int:
        """Multiply-accumulates per channel: similarities of all tokens to the destinations, and the groups' sums."""
        return (1 + matches) * height * width * self._destinations(height, width)

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

    def macs(self, height: int, width: int, matches: bool = True) -> int:
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

    def macs(self, height: int, width: int, matches: bool = True) -> int:
        return height * width


class Matching(NamedTuple):
    """What one block found, and the blocks after it may use."""

    query: Merging
    key_value: Merging


class StageMerging(nn.Layer):
    """The merging of one stage, which the stage's blocks own together.

    Args:
        query: how the queries are merged.
        key_value: how the source of keys and values is merged.
        constants: keeps the tables of the methods; stages may share it.
        match_every: how many blocks in a row use the matching of the first of them.
        proportional: whether a merged key counts as often as it stands for tokens.
    """

    def __init__(
        self, query: Method, key_value: Method, constants: Constants, match_every: int = 1, proportional: bool = False
    ):
        super().__init__()
        self.query = query
        self.key_value = key_value
        self.constants = constants
        self.match_every = match_every
        self.proportional = proportional

    def match(self, queries: paddle.Tensor, size: Size, source: paddle.Tensor, source_size: Size) -> Matching:
        """The merging of a block's tokens.

        Args:
            queries: (B, H * W, C).
            size: height and width of their map.
            source: of keys and values, (B, h * w, C).
            source_size: height and width of its map.

        Raises:
            InputError: a map is too small, or has no fixed size.
        """
        key_value = self.key_value(source, source_size, self.constants)
        return Matching(self.query(queries, size, self.constants), key_value)


def merges_by_matching(network: nn.Layer) -> bool:
    """Whether any stage of ``network`` merges tokens by :class:`Bipartite` matching."""
    stages = [layer for layer in network.sublayers() if isinstance(layer, StageMerging)]
    return any(isinstance(method, Bipartite) for stage in stages for method in (stage.query, stage.key_value))


Schedule = Union[str, Dict[str, Any], Sequence[Optional[Dict[str, Any]]], None]


def parse_schedule(schedule: Schedule) -> List[StageMerging]:
    """The merging of four stages.

    Args:
        schedule: None for no merging; a name among :data:`SCHEDULES`; a dict with such a name as ``schedule`` and any
            of the options below, which then hold for each stage that can have them; or four dicts with any of
            ``q_mode`` and ``kv_mode`` (None, "bsm" or "n2d"; "n1d" for q only) and, with the same prefix, ``ratio``
            and ``cell`` for bsm, ``stride`` for n2d and n1d. Cells and the stride of n2d are two numbers, or one for
            both directions. The options are ``match_every``, a whole number of at least 1, where queries or keys are
            merged by bsm, and ``proportional``, a boolean, where keys are.

    Raises:
        InputError: none of these, or a value out of range.
    """
    if schedule is None:
        schedule = [{}] * 4
    elif isinstance(schedule, str):
        schedule = _named_schedule(schedule, {})
    elif isinstance(schedule, dict):
        schedule = _named_schedule(schedule.get("schedule"), {k: v for k, v in schedule.items() if k != "schedule"})
    if (
        not isinstance(schedule, (list, tuple))
        or len(schedule) != 4
        or not all(stage is None or isinstance(stage, dict) for stage in schedule)
    ):
        raise InputError(f"expected token_merging with one dict for each of the four stages, got {schedule!r}")
    constants = Constants()
    return [_parse_stage(dict(stage or {}), constants) for stage in schedule]


def _named_schedule(name: Any, options: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The dicts of a schedule's stages, each with those of the options that it can have."""
    if not isinstance(name, str) or name not in SCHEDULES:
        raise InputError(
            f"expected token_merging null, {', '.join(SCHEDULES)} or four dicts, got {quote(repr(name))}; choose one"
        )
    stages = [dict(stage) for stage in SCHEDULES[name]]
    for option, value in options.items():
        takers = [stage for stage in stages if _takes(option, stage)]
        if not takers:
            raise InputError(
                f"expected {' or '.join(OPTIONS)} with a schedule that merges by bsm, got {quote(repr(option))} with "
                f"{name}; leave it out"
            )
        for stage in takers:
            stage[option] = value
    return stages


def _takes(option: Any, stage: Dict[str, Any]) -> bool:
    """Whether a stage can have an option: one of its ``*_mode`` is bsm."""
    return any(stage.get(f"{prefix}_mode") == "bsm" for prefix in OPTIONS.get(option, ()))


def _parse_stage(stage: Dict[str, Any], constants: Constants) -> StageMerging:
    match_every, proportional = _parse_options(stage)
    query, key_value = _parse_method(stage, "q"), _parse_method(stage, "kv")
    if isinstance(key_value, SequencePooling):
        raise InputError("expected kv_mode null, bsm or n2d, got 'n1d'; n1d merges queries only")
    if stage:
        raise InputError(
            f"token_merging does not take {sorted(stage)[0]!r} there; see parse_schedule for what each mode takes"
        )
    return StageMerging(query, key_value, constants, match_every, proportional)


def _parse_options(stage: Dict[str, Any]) -> Tuple[int, bool]:
    """``match_every`` and ``proportional``, which are taken out of ``stage``."""
    for option, prefixes in OPTIONS.items():
        if option in stage and not _takes(option, stage):
            modes = " or ".join(f"{prefix}_mode bsm" for prefix in prefixes)
            raise InputError(f"expected {option} in a stage with {modes}, got one without; leave it out")
    match_every, proportional = stage.pop("match_every", 1), stage.pop("proportional", False)
    if type(match_every) is not int or match_every < 1:
        raise InputError(
            f"expected match_every as a whole number of at least 1, the blocks that share a matching, got "
            f"{quote(repr(match_every))}; correct it"
        )
    if not isinstance(proportional, bool):
        raise InputError(f"expected proportional true or false, got {quote(repr(proportional))}; correct it")
    return match_every, proportional


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
