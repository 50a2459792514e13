"""Labels in the forms that annotation tools and other datasets use, drawn as class ids.

Each source has ``names``, the classes, and ``images``, the name of each image's label by its path; iterating over it
gives a :class:`Drawn` for each image. Later shapes cover earlier
ones; in COCO, where order means nothing, smaller ones cover larger ones.
"""

import base64
import binascii
import math
import os
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from rtseg_inference.images import find_images, read_image, unique_names

from ..errors import InputError
from ..weights.limits import quote
from .json_files import list_of, objects_of, read_json

BACKGROUND = "background"
MAX_POINTS = 1_000_000

Points = np.ndarray  # (N, 2) float, x and y in pixels


@dataclass
class Drawn:
    """The label of one image."""

    image: str  #: path of the image
    label: Optional[np.ndarray] = None  #: (H, W) uint8 class ids; None where there is a defect
    defect: str = ""  #: why there is no label
    remarks: List[str] = field(default_factory=list)  #: what was left out or cut off


class Labelme:
    """A folder of images with a JSON file of Labelme for each: polygons, rectangles and circles.

    Args:
        folder: of the JSON files; searched with the folders below it.
        images: folder of the images, if they do not lie beside the JSON files.
        names: the classes by id; None for the background and then the labels in alphabetical order.

    Raises:
        InputError: there are no images, or none has a JSON file.
    """

    def __init__(self, folder: str, names: Optional[Sequence[str]] = None, images: Optional[str] = None):
        images = images or folder
        found = find_images(images)
        self.images = dict(zip(found.paths, found.names))
        files = {path: os.path.join(folder, _stem(path, images) + ".json") for path in self.images}
        self._files = {path: file for path, file in files.items() if os.path.isfile(file)}
        if not self._files:
            raise InputError(
                f"expected a JSON file of Labelme in {folder!r} for each image of {images!r}, got none; check --format "
                "and --images"
            )
        labels = sorted({name for file in self._files.values() for name in _labels_in(file)} - {BACKGROUND})
        self.names = list(names) if names else [BACKGROUND, *labels]

    def __iter__(self) -> Iterator[Drawn]:
        for path in self.images:
            if path not in self._files:
                yield Drawn(path, defect="it has no JSON file")
                continue
            try:
                yield self._draw(path)
            except InputError as e:
                yield Drawn(path, defect=str(e))

    def _draw(self, path: str) -> Drawn:
        file = self._files[path]
        content = read_json(file)
        label = np.zeros(read_image(path).shape[:2], np.uint8)
        stated = (content.get("imageHeight"), content.get("imageWidth"))
        if None not in stated and stated != label.shape:
            raise InputError(
                f"expected {file!r} to be for an image of {label.shape[1]} x {label.shape[0]}, got {stated[1]} x "
                f"{stated[0]}; annotate the image at its own size"
            )
        drawn = Drawn(path, label)
        for shape in list_of(content, "shapes", file):
            name = shape.get("label") if isinstance(shape, dict) else None
            class_id = _class_id(name, self.names, file)
            kind = shape.get("shape_type") or "polygon"
            if kind == "mask":
                _draw_mask(drawn, shape, class_id, file)
            else:
                _draw_polygon(drawn, _outline(kind, _points(shape.get("points"), file), file), class_id)
        return drawn


class Coco:
    """A JSON file of COCO: polygons and masks in run-length encoding, which pycocotools decodes.

    Args:
        file: the JSON file.
        images: the folder that its file names are relative to.
        names: the classes by id; None for the background and then the categories in the order of their ids.

    Raises:
        InputError: it is no such file, or pycocotools is not installed.
    """

    def __init__(self, file: str, images: str, names: Optional[Sequence[str]] = None):
        try:
            import pycocotools.mask  # noqa: F401
        except ImportError as e:
            raise InputError('expected pycocotools for COCO files, got none; pip install "paddle_rtseg[coco]"') from e
        content = read_json(file)
        self._file, self._folder = file, images
        categories = {item.get("id"): item.get("name") for item in objects_of(content, "categories", file)}
        self._ids = self._found(objects_of(content, "images", file))
        self.images = dict(zip(self._ids, unique_names([os.path.relpath(path, images) for path in self._ids])))
        self._annotations: Dict[Any, List[Dict[str, Any]]] = {}
        for item in objects_of(content, "annotations", file):
            self._annotations.setdefault(item.get("image_id"), []).append(item)
        if not categories or not all(isinstance(name, str) for name in categories.values()):
            raise InputError(f"expected named categories in {file!r}, got none; export the annotations as COCO again")
        self._categories = categories
        ordered = [categories[key] for key in sorted(categories, key=str if _mixed(categories) else None)]
        self.names = list(names) if names else [BACKGROUND, *(name for name in ordered if name != BACKGROUND)]

    def __iter__(self) -> Iterator[Drawn]:
        for path, image_id in self._ids.items():
            try:
                yield self._draw(path, self._annotations.get(image_id, []))
            except InputError as e:
                yield Drawn(path, defect=str(e))

    def _found(self, images: List[Dict[str, Any]]) -> Dict[str, Any]:
        """The id of each image by its path, which must lie in the folder."""
        found: Dict[str, Any] = {}
        for item in images:
            name = item.get("file_name")
            path = os.path.normpath(os.path.join(self._folder, name)) if isinstance(name, str) and name else ""
            if not path or os.path.isabs(name) or os.path.relpath(path, self._folder).startswith(".."):
                raise InputError(
                    f"expected file names in the folder of images in {self._file!r}, got {quote(name)!r}; correct it"
                )
            if path in found or not isinstance(item.get("id"), (int, str)):
                raise InputError(
                    f"expected each image once, with an id, in {self._file!r}, got {quote(item)}; correct it"
                )
            found[path] = item["id"]
        return found

    def _draw(self, path: str, annotations: List[Dict[str, Any]]) -> Drawn:
        drawn = Drawn(path, np.zeros(read_image(path).shape[:2], np.uint8))
        if not annotations:
            drawn.remarks.append("no annotation: all background")
        masks = [(self._mask(item, drawn), item) for item in annotations]
        for mask, item in sorted(masks, key=lambda pair: -int(pair[0].sum())):
            if not mask.any():
                drawn.remarks.append("an empty annotation was left out")
            name = self._categories.get(item.get("category_id"))
            drawn.label[mask] = _class_id(name, self.names, self._file)
        return drawn

    def _mask(self, annotation: Dict[str, Any], drawn: Drawn) -> np.ndarray:
        from pycocotools import mask as coding

        height, width = drawn.label.shape
        stated = annotation.get("segmentation")
        if isinstance(stated, list):
            polygons = Drawn(drawn.image, np.zeros((height, width), np.uint8))
            for numbers in stated:
                points = _points(numbers if _is_pairs(numbers) else _pairs(numbers, self._file), self._file)
                _draw_polygon(polygons, points, 1)
            drawn.remarks += polygons.remarks
            return polygons.label.astype(bool)
        counts = stated.get("counts") if isinstance(stated, dict) else None
        if not isinstance(counts, (list, str)) or stated.get("size") != [height, width]:
            raise InputError(
                f"expected a polygon or a run-length code of {height} x {width} in {self._file!r}, got "
                f"{quote(stated)}; export the annotations again"
            )
        if isinstance(counts, list):
            if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != height * width:
                raise InputError(f"expected run lengths that sum to {height * width} in {self._file!r}, got others")
            stated = coding.frPyObjects(stated, height, width)
        elif not _is_whole_code(counts, height * width):
            raise InputError(f"expected a run-length code of {height} x {width} in {self._file!r}, got a damaged one")
        return coding.decode(stated).astype(bool)


class ColourMasks:
    """Images of which each colour stands for a class, or of black and white, with the same names as the photographs.

    Args:
        images, masks: folders; the files correspond by their names without extension.
        colours: (num_classes, 3) uint8 RGB; None for black and white, or 0 and 255.
        names: the classes by id.
        suffix: what follows the name of an image in that of its mask.
        nearest: whether a colour of no class stands for the nearest that has one, as in a JPEG.

    Raises:
        InputError: there are none.
    """

    def __init__(
        self,
        images: str,
        masks: str,
        colours: Optional[np.ndarray],
        names: Sequence[str],
        suffix: str = "",
        nearest: bool = False,
    ):
        found = find_images(images)
        among_masks = suffix and os.path.abspath(images) == os.path.abspath(masks)
        self.images = {
            path: name
            for path, name in zip(found.paths, found.names)
            if not (among_masks and _stem(path, images).endswith(suffix))
        }
        self._folder, self._nearest = images, nearest
        self._masks = {_stem(path, masks): path for path in find_images(masks).paths}
        self._suffix = suffix
        self.names = list(names)
        self._colours = np.array([[0, 0, 0], [255, 255, 255]]) if colours is None else colours.astype(np.int64)

    def __iter__(self) -> Iterator[Drawn]:
        for path in self.images:
            stem = _stem(path, self._folder) + self._suffix
            if stem not in self._masks:
                yield Drawn(path, defect="it has no mask")
                continue
            try:
                drawn = Drawn(path)
                drawn.label = self._ids(path, self._masks[stem], drawn.remarks)
                yield drawn
            except InputError as e:
                yield Drawn(path, defect=str(e))

    def _ids(self, image: str, mask: str, remarks: List[str]) -> np.ndarray:
        pixels = read_image(mask)[..., ::-1].astype(np.int64)  # RGB
        shape = read_image(image).shape[:2]
        if pixels.shape[:2] != shape:
            raise InputError(
                f"expected {mask!r} to have its image's {shape[1]} x {shape[0]} pixels, got {pixels.shape[1]} x "
                f"{pixels.shape[0]}; correct it"
            )
        if self._nearest:
            nearest = self._nearest_colours(pixels)
            remarks += ["a mask in which other colours took the nearest"] if (nearest != pixels).any() else []
            pixels = nearest
        codes, colours = codes_of(pixels), codes_of(self._colours)
        order = np.argsort(colours, kind="stable")
        at = np.minimum(np.searchsorted(colours[order], codes), len(colours) - 1)
        stray = codes != colours[order][at]
        if stray.any():
            red, green, blue = pixels[stray][0]
            raise InputError(
                f"expected the colours of {len(colours)} classes in {mask!r}, got {red}, {green}, {blue} in "
                f"{stray.sum()} pixels; add that colour, save the mask without smoothing, as PNG, or let the "
                "nearest colour count with --nearest"
            )
        return order[at].astype(np.uint8)

    def _nearest_colours(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) with each colour replaced by the nearest of a class."""
        codes, back = np.unique(codes_of(pixels), return_inverse=True)
        found = colours_of(codes)
        distances = np.stack([((found - colour) ** 2).sum(axis=1) for colour in self._colours])
        return self._colours[distances.argmin(axis=0)][back.reshape(-1)].reshape(pixels.shape)


def codes_of(colours: np.ndarray) -> np.ndarray:
    """(..., 3) RGB as one number each, which is faster to compare and sort."""
    return colours.astype(np.int64) @ (1 << 16, 1 << 8, 1)


def colours_of(codes: np.ndarray) -> np.ndarray:
    """The inverse of :func:`codes_of`."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def _stem(path: str, root: str) -> str:
    return os.path.splitext(os.path.relpath(path, root))[0]


def _labels_in(file: str) -> Iterator[str]:
    try:
        shapes = list_of(read_json(file), "shapes", file)
    except InputError:  # reported with its image
        return
    for shape in shapes:
        if isinstance(shape, dict) and isinstance(shape.get("label"), str) and shape["label"].strip():
            yield shape["label"]


def _class_id(name: Any, names: Sequence[str], file: str) -> int:
    if name not in names:
        raise InputError(
            f"expected a label of {quote(', '.join(names))} in {file!r}, got {quote(name)!r}; add or rename it"
        )
    return names.index(name)


def _draw_polygon(drawn: Drawn, points: Points, class_id: int) -> None:
    height, width = drawn.label.shape
    x, y, w, h = cv2.boundingRect(points.astype(np.float32)) if len(points) else (0, 0, 0, 0)
    if len(points) < 3 or cv2.contourArea(points.astype(np.float32)) == 0:
        drawn.remarks.append("an empty polygon was left out")
    elif x >= width or y >= height or x + w <= 0 or y + h <= 0:
        drawn.remarks.append("a polygon outside the image was left out")
    else:
        if (points < -1).any() or (points > (width + 1, height + 1)).any():
            drawn.remarks.append("a polygon that leaves the image was cut off")
        shape = cv2.fillPoly(np.zeros_like(drawn.label), [np.round(points).astype(np.int32)], 1).astype(bool)
        if ((drawn.label != 0) & (drawn.label != class_id))[shape].any():
            drawn.remarks.append("a shape covers part of an earlier one of another class")
        drawn.label[shape] = class_id


def _draw_mask(drawn: Drawn, shape: Dict[str, Any], class_id: int, file: str) -> None:
    """Labelme's shape "mask": a PNG in base64, and two corners that say where it lies."""
    corners = np.round(_points(shape.get("points"), file)).astype(int)
    (left, top), (right, bottom) = corners[:2] if len(corners) == 2 else ((0, 0), (-1, -1))
    size = (int(bottom - top + 1), int(right - left + 1))
    height, width = drawn.label.shape
    inside = left >= 0 and top >= 0 and bottom < height and right < width and min(size) > 0
    mask = _png_of(shape.get("mask"), size) if inside else None
    if mask is None:
        raise InputError(
            f"expected a PNG mask and its two corners inside the image in {file!r}, got others; save the file again"
        )
    drawn.label[top : bottom + 1, left : right + 1][mask > 0] = class_id


def _png_of(text: Any, size: Tuple[int, int]) -> Optional[np.ndarray]:
    """The (H, W) values of a PNG in base64; None if it is none, or is not of this size by its header."""
    try:
        data = base64.b64decode(text, validate=True)
        if data[:4] != b"\x89PNG" or struct.unpack(">II", data[16:24]) != size[::-1]:
            return None
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except (binascii.Error, struct.error, TypeError, ValueError, cv2.error):
        return None


def _outline(kind: str, points: Points, file: str) -> Points:
    if kind == "polygon":
        return points
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    if kind == "rectangle" and len(points) == 4:
        return points
    if kind == "circle" and len(points) == 2:
        radius = np.hypot(*(points[1] - points[0]))
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    raise InputError(
        f"expected polygons, rectangles, circles or masks in {file!r}, got {quote(kind)!r} of {len(points)} points; "
        "draw it as a polygon"
    )


def _points(value: Any, file: str) -> Points:
    valid = isinstance(value, list) and len(value) <= MAX_POINTS and all(_is_pairs([pair]) for pair in value)
    if not valid:
        raise InputError(f"expected points of two numbers in {file!r}, got {quote(value)}; save the file again")
    return np.array(value, np.float64).reshape(-1, 2)


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(_is_coordinate(number) for number in pair) for pair in value
    )


def _is_coordinate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e6


def _pairs(numbers: Any, file: str) -> List[List[Any]]:
    if not isinstance(numbers, list) or len(numbers) % 2:
        raise InputError(f"expected polygons as x, y, x, y ... in {file!r}, got {quote(numbers)}; export it again")
    return [list(pair) for pair in zip(numbers[::2], numbers[1::2])]


def _is_whole_code(counts: str, pixels: int) -> bool:
    """Whether a compressed run-length code covers exactly that many pixels; pycocotools does not check it.

    Each number is written in groups of five bits, with 32 where another follows, plus 48; from the third on, numbers
    are differences to the one before the last.
    """
    numbers: List[int] = []
    value = shift = 0
    for character in counts:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            return False
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        if numbers[-1] < 0:
            return False
        value = shift = 0
    return shift == 0 and sum(numbers) == pixels


def _mixed(keys: Any) -> bool:
    return not all(type(key) is int for key in keys)
