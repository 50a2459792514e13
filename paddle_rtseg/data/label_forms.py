"""Recognises labels that are no class ids, and names the command of ``import_labels`` that turns them into such."""

import os
import shlex
from typing import List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np
from rtseg_inference.images import read_image

from ..errors import InputError
from .annotations import codes_of, colours_of
from .dataset_file import read_classes
from .json_files import read_json

Pair = Tuple[str, str]  # paths of an image and its label

LOOKED_AT = 20  #: labels, spread over all that are refused
MOST_COLOURS = 64  #: more are no classes
GREY_STEP = 8  #: grey levels that stand for classes are so far apart; class ids are not


class Form(NamedTuple):
    """What a label is."""

    kind: str  #: a --format of import_labels, or "jpeg" for one that cannot be turned into class ids
    smoothed: bool = False  #: a JPEG, which has other colours at edges
    colours: Tuple[Tuple[int, int, int], ...] = ()  #: RGB


def recognise(path: str) -> Optional[Form]:
    """The form of a label that is refused as class ids; None if nothing is known of it."""
    try:
        if path.lower().endswith(".json"):
            content = read_json(path)
            return Form("labelme") if "shapes" in content else Form("coco") if "annotations" in content else None
        pixels = read_image(path)[..., ::-1].reshape(-1, 3)  # RGB
        with open(path, "rb") as file:
            is_jpeg = file.read(2) == b"\xff\xd8"
    except (InputError, OSError):
        return None
    is_grey = (pixels == pixels[:, :1]).all()
    if is_grey and _is_black_and_white(pixels[:, 0], is_jpeg):
        return Form("binary", is_jpeg)
    if is_jpeg:
        return Form("jpeg" if is_grey else "colours", True, () if is_grey else _frequent(pixels))
    colours = colours_of(np.unique(codes_of(pixels)))
    steps = np.diff(colours[:, 0]) if is_grey else np.array([255])
    if len(colours) > MOST_COLOURS or (steps < GREY_STEP).any():
        return None
    return Form("colours", False, tuple(map(tuple, colours.tolist())))


def advice(pairs: Sequence[Pair], data: Optional[str] = None) -> List[str]:
    """Lines that say which form most labels of ``pairs`` have, with the command to run.

    Args:
        pairs: those whose labels are refused.
        data: the config's dataset file, if it has one.

    Returns:
        Nothing where no form is recognised.
    """
    if not pairs:
        return []
    chosen = pairs[:: max(1, len(pairs) // LOOKED_AT)]
    found = [form for form in (recognise(label) for _, label in chosen) if form is not None]
    if not found:
        return []
    kind = max({form.kind for form in found}, key=[form.kind for form in found].count)
    same = [form for form in found if form.kind == kind]
    smoothed = any(form.smoothed for form in same)
    if kind == "jpeg":
        return ["grey JPEG labels, in which the class ids have changed: export them as PNG again"]
    words = {
        "labelme": "JSON files of Labelme",
        "coco": "a JSON file of COCO",
        "binary": "masks of black and white",
        "colours": "masks in colours",
    }[kind]
    lines = [f"the labels are {words}, not class ids" + (" (as JPEG: the nearest colour counts)" * smoothed)]
    if kind == "colours" and not _has_colours(data):
        colours: Set[Tuple[int, int, int]] = {colour for form in same for colour in form.colours}
        lines += _colour_file(sorted(colours))
        data = "colours.yml"
    return [*lines, f"run: {command(kind, pairs, data, smoothed)}"]


def command(kind: str, pairs: Sequence[Pair], data: Optional[str] = None, smoothed: bool = False) -> str:
    """The command that imports the labels of pairs.

    Args:
        kind: a --format of import_labels.
        data: a dataset file with the colours of the classes, for "colours".
        smoothed: whether the nearest colour counts.
    """
    images, labels = (_common_folder([pair[side] for pair in pairs]) for side in (0, 1))
    words = ["--format", kind, "--input", pairs[0][1] if kind == "coco" else labels]
    if kind != "labelme" or images != labels:
        words += ["--images", images]
    image, label = (os.path.splitext(os.path.basename(path))[0] for path in pairs[0])
    if kind in ("binary", "colours") and label != image and label.startswith(image):
        words += [f"--suffix={label[len(image) :]}"]
    if kind == "colours" and data is not None:
        words += ["--data", data]
    words += ["--nearest"] if smoothed else []
    words += ["--save_dir", f"{labels}_ids"]
    return "python -m paddle_rtseg.import_labels " + " ".join(map(shlex.quote, words))


def _is_black_and_white(values: np.ndarray, is_jpeg: bool) -> bool:
    distance = np.minimum(values, 255 - values)
    return bool(values.max(initial=0) > 127 and ((distance > 40).mean() < 0.1 if is_jpeg else not distance.any()))


def _frequent(pixels: np.ndarray) -> Tuple[Tuple[int, int, int], ...]:
    """Colours of a JPEG that cover 1 % or more, without those close to one that covers more."""
    codes, counts = np.unique(codes_of(pixels // 8 * 8), return_counts=True)
    colours = colours_of(codes)
    kept: List[np.ndarray] = []
    for i in np.argsort(-counts):
        if counts[i] < 0.01 * len(pixels) or len(kept) == MOST_COLOURS:
            break
        if all(np.abs(colours[i] - other).max() > 32 for other in kept):
            kept.append(colours[i])
    return tuple(tuple(int(n) for n in colour) for colour in kept)


def _has_colours(data: Optional[str]) -> bool:
    return data is not None and read_classes(data)[1] is not None


def _colour_file(colours: Sequence[Tuple[int, int, int]]) -> List[str]:
    return [
        "write this to colours.yml, with the names of your classes:",
        f"  names: [{', '.join(f'class{i}' for i in range(len(colours)))}]",
        f"  colors: {[list(colour) for colour in colours]}",
    ]


def _common_folder(paths: Sequence[str]) -> str:
    return os.path.commonpath([os.path.dirname(path) or "." for path in paths])
