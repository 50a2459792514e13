"""What the export of a network for poses needs in addition: its section of deploy.yaml, and a golden person."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from rtseg_inference.contract import Preprocessing, Tolerance
from rtseg_inference.pose import PADDING, STRIDE, Rule
from rtseg_inference.pose_contract import DECODINGS, MAX_SIDE, GoldenPerson, Pose
from rtseg_inference.pose_predictor import cut_out, estimate

from ..data.keypoints import MEAN, STD
from ..errors import InputError
from ..pose.skeletons import skeleton as parse_skeleton
from ..weights.limits import quote

DATASET = "CocoKeypoints"
#: What its keys are without an entry in the config.
INPUT_SIZE, FLIP_TEST = (288, 384), True
# A maximum may move to another cell by rounding alone where two cells are nearly equal; the error of the heatmaps has
# no such jumps, and is the sharper test.
POSE_TOLERANCE = {
    "fp32": Tolerance(rms_error=1e-3, agreement=0.9, pixels=0.1),
    "tf32": Tolerance(rms_error=1e-2, agreement=0.8, pixels=1.0),
    "fp16": Tolerance(rms_error=1e-2, agreement=0.8, pixels=1.0),
    "bf16": Tolerance(rms_error=5e-2, agreement=0.6, pixels=4.0),
}
BOX = (0.2, 0.1, 0.75, 0.95)  #: of the golden person, as shares of the image


def pose_of(
    skeleton: Any,
    input_size: Sequence[int] = INPUT_SIZE,
    decode: Rule = "quarter",
    flip_test: bool = FLIP_TEST,
    padding: float = PADDING,
) -> Pose:
    """What surrounds a network that was trained on persons of a skeleton.

    Args:
        skeleton: see :func:`paddle_rtseg.pose.skeletons.skeleton`.
        input_size: width and height of the network's input.
        decode: "quarter", "dark" or "none"; see :func:`rtseg_inference.pose.decode`.
        flip_test: take the mean with the heatmaps of the mirrored person, for twice the time.
        padding: the size of what is cut out, as a multiple of the person's box.

    Raises:
        InputError: an argument is of another kind or out of range.
    """
    known = parse_skeleton(skeleton)
    sides = list(input_size) if isinstance(input_size, (list, tuple)) else []
    if len(sides) != 2 or not all(type(n) is int and 0 < n <= MAX_SIDE and n % STRIDE == 0 for n in sides):
        raise InputError(
            f"expected an input_size of width and height, multiples of {STRIDE}, got {quote(input_size)}; correct it"
        )
    if decode not in DECODINGS:
        raise InputError(f"expected the decoding to be one of {', '.join(DECODINGS)}, got {quote(decode)!r}")
    return Pose(
        input_size=(sides[0], sides[1]),
        padding=float(padding),
        decode=decode,
        flip_test=bool(flip_test),
        shift=True,
        keypoints=known.names,
        flip_indices=tuple(known.flip_indices),
        links=known.links,
        sigmas=known.sigmas,
    )


def is_pose(dataset: Dict[str, Any]) -> bool:
    """Whether a config's ``val_dataset`` is one of persons."""
    return dataset.get("type") == DATASET


def from_dataset(dataset: Dict[str, Any], decode: Rule) -> Tuple[Pose, Preprocessing]:
    """The same of a config's ``val_dataset``, whose files are not looked at, and how its pixels are normalised."""
    pose = pose_of(
        dataset.get("skeleton", "coco"),
        dataset.get("input_size", INPUT_SIZE),
        decode,
        dataset.get("flip_test", FLIP_TEST),
    )
    return pose, Preprocessing(mean=tuple(map(_plain, MEAN)), std=tuple(map(_plain, STD)))


def _plain(value: np.floating) -> float:
    """The decimal number that was rounded to a float32."""
    return float(str(value))


def check_pose(
    pose: Pose, preprocessing: Preprocessing, input_shape: Optional[Sequence[Optional[int]]], output_op: str
) -> List[Optional[int]]:
    """The input shape that the pose fixes, with the batch of ``input_shape`` where one is given.

    Raises:
        InputError: the arguments of the export contradict it.
    """
    if preprocessing.resize is not None or preprocessing.pad is not None:
        raise InputError("expected persons to be cut out at the network's size, got a resize or a pad; leave it out")
    if output_op != "argmax":
        raise InputError(f"expected no output op for heatmaps, which the host decodes, got {output_op!r}; leave it out")
    width, height = pose.input_size
    given = list(input_shape) if isinstance(input_shape, (list, tuple)) else [-1, 3, height, width]
    if len(given) == 4 and given[2:] != [height, width]:
        raise InputError(
            f"expected an input shape of {height} x {width}, as input_size has it, got {given[2]} x {given[3]}; change "
            "input_size"
        )
    return given


def check_keypoints(pose: Pose, channels: int) -> None:
    """Raise :class:`InputError` unless the network has a heatmap for each keypoint."""
    if channels != len(pose.keypoints):
        raise InputError(
            f"expected a network of {len(pose.keypoints)} keypoints, as the skeleton has, got {channels}; correct "
            "num_keypoints or the skeleton"
        )


def golden_person(
    image: np.ndarray, pose: Pose, run: Callable[[Sequence[np.ndarray]], np.ndarray]
) -> Tuple[GoldenPerson, np.ndarray]:
    """What the network finds in a part of the golden image, and its (K, H / 4, W / 4) heatmaps.

    Args:
        run: crops of uint8 BGR to heatmaps.
    """
    height, width = image.shape[:2]
    box = np.array([*(round(share * n) for share, n in zip(BOX, (width, height, width, height))), 1.0])
    crops = [cut_out(image, box, pose)]
    (person,) = estimate(crops, run, pose)
    (heatmaps,) = run([crops[0].pixels])
    keypoints = np.column_stack([person.keypoints, person.scores]).astype(np.float64)
    return GoldenPerson(tuple(box[:4].tolist()), tuple(map(tuple, keypoints.tolist()))), heatmaps
