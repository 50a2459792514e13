"""Keypoints and what is known of them: names, mirror images, links to draw, sigmas for OKS."""

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..config_files import nearest, read_yaml
from ..errors import InputError
from ..weights.limits import quote

MAX_KEYPOINTS = 1000


@dataclass(frozen=True)
class Skeleton:
    """The keypoints of a kind of body.

    Raises:
        InputError: the parts do not go together.
    """

    names: Tuple[str, ...]
    flip_pairs: Tuple[Tuple[int, int], ...]  #: keypoints that a mirror exchanges, such as left and right wrist
    links: Tuple[Tuple[int, int], ...] = ()  #: pairs to draw a line between
    upper: Tuple[int, ...] = ()  #: keypoints of the upper half of the body, for an augmentation
    sigmas: Optional[Tuple[float, ...]] = None  #: of each keypoint for OKS; None where none are known

    def __post_init__(self) -> None:
        count = len(self.names)
        if not 0 < count <= MAX_KEYPOINTS or len(set(self.names)) != count:
            raise InputError(f"expected 1 to {MAX_KEYPOINTS} keypoints of different names, got {quote(self.names)}")
        indices = [i for pair in (*self.flip_pairs, *self.links) for i in pair] + list(self.upper)
        outside = [i for i in indices if not 0 <= i < count]
        if outside:
            raise InputError(f"expected keypoints from 0 to {count - 1} in a skeleton, got {outside[0]}; correct it")
        flipped = [i for pair in self.flip_pairs for i in pair]
        if len(set(flipped)) != len(flipped):
            raise InputError(f"expected each keypoint in one flip pair at most, got {quote(self.flip_pairs)}")
        if self.sigmas is not None and (len(self.sigmas) != count or not all(0 < sigma < 10 for sigma in self.sigmas)):
            raise InputError(f"expected {count} sigmas above 0, one for each keypoint, got {quote(self.sigmas)}")

    @property
    def flip_indices(self) -> List[int]:
        """For each keypoint the one that it becomes in a mirror."""
        indices = list(range(len(self.names)))
        for a, b in self.flip_pairs:
            indices[a], indices[b] = b, a
        return indices

    @property
    def lower(self) -> Tuple[int, ...]:
        """The keypoints that are not of the upper half."""
        return tuple(i for i in range(len(self.names)) if i not in self.upper)


def _coco() -> Skeleton:
    parts = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    names = ("nose", *(f"{side}_{part}" for part in parts for side in ("left", "right")))
    return Skeleton(
        names,
        flip_pairs=tuple((i, i + 1) for i in range(1, 17, 2)),
        links=(
            *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
            *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
        ),
        upper=tuple(range(11)),
        # From COCO's evaluation, cocodataset.org/#keypoints-eval.
        sigmas=(0.026, *np.repeat((0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089), 2).tolist()),
    )


def _jump_broadcast() -> Skeleton:
    limbs = ("sho", "elb", "wri", "han"), ("hip", "kne", "ank", "hee", "toe")
    names = ("head", "neck", *(side + part for parts in limbs for side in "rl" for part in parts))
    right, left = ([names.index(side + part) for parts in limbs for part in parts] for side in ("r", "l"))
    return Skeleton(
        names,
        flip_pairs=tuple(zip(right, left)),
        links=(
            *((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (1, 6), (6, 7), (7, 8), (8, 9), (2, 10), (10, 11), (11, 12)),
            *((12, 13), (13, 14), (6, 15), (15, 16), (16, 17), (17, 18), (18, 19)),
        ),
        upper=tuple(range(10)),
        sigmas=(0.1,) * 20,
    )


def _lsp() -> Skeleton:
    return Skeleton(
        (
            *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
            *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
            *("neck", "head_top"),
        ),
        flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
        links=(
            *((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (12, 9), (9, 10), (10, 11)),
            *((12, 13), (8, 2), (9, 3)),
        ),
        upper=tuple(range(6, 14)),
        # None are published: those of COCO and CrowdPose for the same joints.
        sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
    )


#: Known by name: COCO's persons; jump-broadcast's athletes (Ludwig et al., CVSports 2023); Leeds Sports Pose.
SKELETONS: Dict[str, Skeleton] = {"coco": _coco(), "jbd": _jump_broadcast(), "lsp": _lsp()}

KEYS = ("names", "flip_pairs", "links", "upper", "sigmas")


def skeleton(value: Any) -> Skeleton:
    """A skeleton by its name, from a YAML file, or from a mapping of its parts.

    Args:
        value: a key of :data:`SKELETONS`; the path of a YAML file; or a mapping with ``names`` and, optionally,
            ``flip_pairs``, ``links``, ``upper`` (keypoints by name or number) and ``sigmas``.

    Raises:
        InputError: an unknown name or key, or parts that do not go together.
    """
    if isinstance(value, Skeleton):
        return value
    if isinstance(value, str) and value in SKELETONS:
        return SKELETONS[value]
    if isinstance(value, str) and value.endswith((".yml", ".yaml")):
        value = read_yaml(os.fspath(value))
    if not isinstance(value, dict):
        raise InputError(
            f"expected a skeleton of {', '.join(SKELETONS)}, a YAML file or its parts, got {quote(value)!r}; "
            f"{nearest(value, tuple(SKELETONS))}"
        )
    for key in value:
        if key not in KEYS:
            raise InputError(f"a skeleton has no key {quote(key)!r}; {nearest(key, KEYS)}")
    names = value.get("names")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise InputError(f"expected the names of a skeleton's keypoints as a list of texts, got {quote(names)}; add it")
    sigmas = value.get("sigmas")
    if sigmas is not None and not (
        isinstance(sigmas, (list, tuple)) and all(isinstance(s, (int, float)) for s in sigmas)
    ):
        raise InputError(f"expected a skeleton's sigmas as a list of numbers, got {quote(sigmas)}; correct it")
    return Skeleton(
        tuple(names),
        flip_pairs=_pairs(value.get("flip_pairs"), names, "flip_pairs"),
        links=_pairs(value.get("links"), names, "links"),
        upper=tuple(_index(item, names) for item in value.get("upper") or ()),
        sigmas=None if sigmas is None else tuple(map(float, sigmas)),
    )


def _pairs(value: Any, names: Sequence[str], key: str) -> Tuple[Tuple[int, int], ...]:
    value = [] if value is None else value
    if not isinstance(value, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in value):
        raise InputError(f"expected a skeleton's {key} as a list of pairs, got {quote(value)}; correct it")
    return tuple((_index(a, names), _index(b, names)) for a, b in value)


def _index(value: Any, names: Sequence[str]) -> int:
    if isinstance(value, str) and value in names:
        return list(names).index(value)
    if type(value) is int:
        return value
    raise InputError(
        f"expected the name or the number of a keypoint, got {quote(value)!r}; {nearest(value, tuple(names))}"
    )
