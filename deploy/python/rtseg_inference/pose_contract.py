"""The pose section of deploy.yaml; ``deploy/cpp/src/pose_contract.cpp`` is the same in C++."""

from dataclasses import dataclass
from typing import List, Optional, Tuple, get_args

from .node import Node
from .pose import STRIDE, Rule, Size

MAX_KEYPOINTS = 1000
MAX_SIDE = 4096
LEAST_PADDING, MOST_PADDING = 0.1, 10.0
DECODINGS: Tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class Pose:
    """What surrounds a network that gives heatmaps of one person's keypoints; see :mod:`.pose`."""

    input_size: Size  #: width and height of the network's input, multiples of 4
    padding: float  #: the size of what is cut out, as a multiple of the person's box
    decode: Rule
    flip_test: bool  #: take the mean with the heatmaps of the mirrored person
    shift: bool  #: move the mirrored heatmaps right by a cell
    keypoints: Tuple[str, ...]  #: names
    flip_indices: Tuple[int, ...]  #: for each keypoint the one that it becomes in a mirror
    links: Tuple[Tuple[int, int], ...] = ()  #: pairs of keypoints to draw a line between
    sigmas: Optional[Tuple[float, ...]] = None  #: of each keypoint for OKS; None where none are known


@dataclass(frozen=True)
class GoldenPerson:
    """What the trained network finds in the golden image, before its export."""

    box: Tuple[float, ...]  #: left, top, right, bottom in pixels
    keypoints: Tuple[Tuple[float, ...], ...]  #: x, y and score of each


def read_pose(node: Node) -> Pose:
    """The section, checked.

    Raises:
        InputError: a key is missing, or its value is not what the schema allows.
    """
    sizes = node["input_size"]
    width, height = sizes.wholes(2, most=MAX_SIDE)
    if width % STRIDE or height % STRIDE:
        raise sizes.error(f"multiples of {STRIDE}")
    padding = node["padding"].number(least=LEAST_PADDING, most=MOST_PADDING)
    decode = node["decode"].choice(DECODINGS)
    flip_test, shift = node["flip_test"].flag(), node["shift"].flag()
    names = [name.text() for name in node["keypoints"].items_of_list()]
    count = len(names)
    if not 0 < count <= MAX_KEYPOINTS or len(set(names)) != count:
        raise node["keypoints"].error(f"1 to {MAX_KEYPOINTS} different names")
    flips = node["flip_indices"].wholes(count, least=0, most=count - 1)
    if any(flips[other] != k for k, other in enumerate(flips)):
        raise node["flip_indices"].error("pairs of keypoints that a mirror exchanges")
    links = [link.wholes(2, least=0, most=count - 1) for link in node["links"].items_of_list()]
    sigmas = node["sigmas"]
    return Pose(
        input_size=(width, height),
        padding=padding,
        decode=decode,
        flip_test=flip_test,
        shift=shift,
        keypoints=tuple(names),
        flip_indices=tuple(flips),
        links=tuple((first, second) for first, second in links),
        sigmas=None if sigmas.value is None else tuple(sigmas.numbers(count, above=0)),
    )


def read_golden_person(node: Node, count: int) -> GoldenPerson:
    """The keys ``box`` and ``keypoints`` of the golden section, for ``count`` keypoints.

    Raises:
        InputError: one is missing, or is something else.
    """
    box = node["box"].numbers(4)
    if box[2] <= box[0] or box[3] <= box[1]:
        raise node["box"].error("left, top, right and bottom of a box with an area")
    keypoints: List[List[float]] = [item.numbers(3) for item in node["keypoints"].items_of_list(count, "keypoints")]
    return GoldenPerson(tuple(box), tuple(map(tuple, keypoints)))
