"""Boxes of persons from JSON: COCO's annotations, COCO's results, and the bbox.json of PaddleDetection's infer.py.

``deploy/cpp/src/pose_boxes.cpp`` is the same in C++: both read and refuse the same files, with the same messages.
"""

import json
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple, Union

import numpy as np

from .errors import InputError, listed, quote
from .files import Array

MAX_BYTES = 1 << 28
MAX_ID = 2**53  #: up to which every number is exact in JSON
MAX_NUMBER = 1e9  #: of a coordinate
ID_DIGITS = 15  #: at most, of a file name that is an id
CATEGORY = 1  #: of persons in COCO

ImageKey = Union[int, str]  #: an id, or a file name


class Box(NamedTuple):
    """A box of the file."""

    image: ImageKey  #: the file name, where the file states one; otherwise the id
    image_id: Optional[int]
    corners: Tuple[float, float, float, float]  #: left, top, right, bottom
    score: float
    category: Optional[int]


class Stated(NamedTuple):
    """What COCO's annotations state of an image."""

    id: int
    file_name: str
    size: Optional[Tuple[int, int]]  #: width and height


@dataclass(frozen=True)
class BoxFile:
    """The boxes of a file."""

    path: str
    boxes: List[Box]
    images: List[Stated] = field(default_factory=list)  #: of COCO's annotations


@dataclass(frozen=True)
class ImageBoxes:
    """What a run needs to know of one image."""

    image_id: int
    boxes: Optional[Array]  #: (N, 5) left, top, right, bottom, score; None for the whole image
    category: int = CATEGORY
    size: Optional[Tuple[int, int]] = None  #: width and height that the file states


def whole_images(names: Sequence[str]) -> List[ImageBoxes]:
    """One person in each image, which fills it.

    Args:
        names: paths of the images in the input's folder.
    """
    return [ImageBoxes(image_id, None) for image_id in image_ids(names, {})]


# --- Reading


def read_boxes(path: str) -> BoxFile:
    """Read a file of boxes.

    Raises:
        InputError: it is missing, too large, not JSON, or of another form.
    """
    content = _read_json(path)
    if isinstance(content, list):
        return BoxFile(path, [_box(item, {}, path) for item in content if not _is_crowd(item)])
    if not isinstance(content, dict) or "annotations" not in content:
        raise InputError(
            f"expected COCO's annotations or a list of results in {path!r}, got {shown(content)}"
            f"{' without annotations' if isinstance(content, dict) else ''}; save the boxes in one of these forms"
        )
    images = [_stated(item, path) for item in _list(content, "images", path)]
    names = {image.id: image.file_name for image in images}
    boxes = [_box(item, names, path) for item in _list(content, "annotations", path) if not _is_crowd(item)]
    return BoxFile(path, boxes, images)


def _read_json(path: str) -> Any:
    try:
        if not os.path.isfile(path):
            raise InputError(f"expected a JSON file of boxes, got {path!r}, which is no file; check the path")
        if os.path.getsize(path) > MAX_BYTES:
            raise InputError(f"expected boxes in at most {MAX_BYTES >> 20} MiB, got more in {path!r}; split the file")
        with open(path, encoding="utf-8") as f:
            return json.load(f, parse_constant=_refuse)
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"cannot read {path!r} ({e.strerror}); check its permissions") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"expected JSON in {path!r}, got something else, or a damaged file; save it again") from e


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _list(content: Dict[str, Any], key: str, path: str) -> List[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        raise InputError(f"expected a list as {key} of {path!r}, got {shown(value)}; save it in COCO's form")
    return value


def _object(item: Any, path: str) -> Dict[str, Any]:
    if not isinstance(item, dict):
        raise InputError(f"expected objects in the lists of {path!r}, got {shown(item)}; save it in COCO's form")
    return item


def _is_crowd(item: Any) -> bool:
    return isinstance(item, dict) and item.get("iscrowd") == 1


def _stated(item: Any, path: str) -> Stated:
    known = _object(item, path)
    image_id, name = _whole(known, "id", path), known.get("file_name")
    if not isinstance(name, str) or not name:
        raise InputError(f"expected a file_name of each image in {path!r}, got {shown(name)}; save it in COCO's form")
    sides = [_optional_whole(known, key, path) for key in ("width", "height")]
    return Stated(image_id, name, None if sides[0] is None or sides[1] is None else (sides[0], sides[1]))


def _box(item: Any, names: Dict[int, str], path: str) -> Box:
    known = _object(item, path)
    numbers = known.get("bbox")
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(_is_number(n) for n in numbers):
        got = "others" if isinstance(numbers, list) and len(numbers) == 4 else shown(numbers)
        raise InputError(f"expected 4 numbers as bbox of each box in {path!r}, got {got}; save it in COCO's form")
    left, top, width, height = map(float, numbers)
    score = known.get("score")
    if score is not None and not _is_number(score):
        raise InputError(f"expected a number as score of each box in {path!r}, got {shown(score)}; correct the file")
    name = known.get("file_name")
    key: ImageKey
    image_id: Optional[int]
    if isinstance(name, str) and name:
        key, image_id = name, _optional_whole(known, "image_id", path)
    else:
        image_id = _whole(known, "image_id", path)
        key = names.get(image_id, image_id)
    category = _optional_whole(known, "category_id", path)
    corners = (left, top, left + width, top + height)
    return Box(key, image_id, corners, 1.0 if score is None else float(score), category)


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -MAX_NUMBER <= value <= MAX_NUMBER


def _optional_whole(item: Dict[str, Any], key: str, path: str) -> Optional[int]:
    return None if item.get(key) is None else _whole(item, key, path)


def _whole(item: Dict[str, Any], key: str, path: str) -> int:
    value = item.get(key)
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
    if not 0 <= number <= MAX_ID or number != math.floor(number):
        raise InputError(f"expected a whole number as {key} in {path!r}, got {shown(value)}; correct the file")
    return int(number)


def shown(value: Any) -> str:
    """The kind of a value of JSON, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return "text"
    return "true or false" if isinstance(value, bool) else "a number"


# --- Matching


def match(
    file: BoxFile, names: Sequence[str], least_score: float = 0.0, category: Optional[int] = None
) -> Tuple[List[ImageBoxes], str]:
    """The boxes of each image of the input, and a line on what was used and left out.

    An image is found by its path in the input's folder, by its file name if no other image has it, or, where the file
    states none, by its number: that of ``000000000785.jpg`` is 785.

    Args:
        names: paths of the images in the input's folder.
        least_score: boxes with a lower score are left out.
        category: the one whose boxes are taken; None if the file has one only.

    Raises:
        InputError: the file has boxes of several categories, and ``category`` is None.
    """
    boxes, other = _of_category(file, category)
    places = _Places(names)
    ids: Dict[int, int] = {}
    sizes: Dict[int, Tuple[int, int]] = {}
    for image in file.images:
        place = places.find(image.file_name)
        if place is not None:
            ids.setdefault(place, image.id)
            if image.size is not None:
                sizes.setdefault(place, image.size)
    found: Dict[int, List[Box]] = {}
    low, unknown = 0, Counter[str]()
    for box in boxes:
        place = places.find(box.image)
        if place is None:
            unknown[str(box.image)] += 1
        elif box.score < least_score:
            low += 1
        else:
            if box.image_id is not None:
                ids.setdefault(place, box.image_id)
            found.setdefault(place, []).append(box)
    numbers = image_ids(names, ids)
    images = [
        ImageBoxes(numbers[i], _rows(found.get(i, [])), _category(found.get(i, []), category), sizes.get(i))
        for i in range(len(names))
    ]
    return images, _line(sum(map(len, found.values())), len(found), len(names), low, other, unknown)


def _of_category(file: BoxFile, category: Optional[int]) -> Tuple[List[Box], int]:
    known = sorted({box.category for box in file.boxes if box.category is not None})
    if category is None and len(known) > 1:
        raise InputError(
            f"expected boxes of one category in {file.path!r}, got {listed([str(c) for c in known])}; choose one with "
            "--category"
        )
    if category is None:
        return file.boxes, 0
    chosen = [box for box in file.boxes if box.category == category]
    return chosen, len(file.boxes) - len(chosen)


def _category(boxes: Sequence[Box], category: Optional[int]) -> int:
    stated = boxes[0].category if boxes else None
    return stated if stated is not None else CATEGORY if category is None else category


def _rows(boxes: Sequence[Box]) -> Array:
    return np.array([(*box.corners, box.score) for box in boxes], np.float64).reshape(-1, 5)


def _line(used: int, with_boxes: int, images: int, low: int, other: int, unknown: "Counter[str]") -> str:
    left_out = []
    if unknown:
        left_out.append(
            f"{sum(unknown.values())} of images that are not in the input: "
            f"{listed([quote(name, 60) for name in unknown])}"
        )
    if low:
        left_out.append(f"{low} below --box_score")
    if other:
        left_out.append(f"{other} of other categories")
    text = f"{used} boxes in {with_boxes} of {images} images"
    return f"{text}; left out: {'; '.join(left_out)}" if left_out else text


class _Places:
    """Where in the input an image of the file is."""

    def __init__(self, names: Sequence[str]):
        self.paths = {name: i for i, name in reversed(list(enumerate(names)))}
        self.bases = _unique([os.path.basename(name) for name in names])
        self.numbers = _unique([_number(name) for name in names])

    def find(self, image: ImageKey) -> Optional[int]:
        if isinstance(image, int):
            return self.numbers.get(image)
        return self.paths.get(image, self.bases.get(os.path.basename(image)))


def _unique(keys: Sequence[Any]) -> Dict[Any, int]:
    counts = Counter(keys)
    return {key: i for i, key in enumerate(keys) if key is not None and counts[key] == 1}


def _number(name: str) -> Optional[int]:
    """The number that is an image's file name."""
    stem = os.path.splitext(os.path.basename(name))[0]
    return int(stem) if 0 < len(stem) <= ID_DIGITS and stem.isascii() and stem.isdigit() else None


def image_ids(names: Sequence[str], known: Dict[int, int]) -> List[int]:
    """An id for each image: the known one, by place, then the number that is its file name, then one that is free."""
    ids = dict(known)
    taken: Set[int] = set(ids.values())
    for i, name in enumerate(names):
        number = _number(name)
        if i not in ids and number is not None and number not in taken:
            ids[i] = number
            taken.add(number)
    free = 0
    for i in range(len(names)):
        if i in ids:
            continue
        free += 1
        while free in taken:
            free += 1
        ids[i] = free
    return [ids[i] for i in range(len(names))]
