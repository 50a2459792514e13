"""Pictures of a segmentation: the colours of the classes over the image, outlines, and a legend below it.

``deploy/cpp/src/drawing.cpp`` draws the same pixels. Opacities are multiples of 1/256, for which every build of OpenCV
blends alike.
"""

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from .errors import InputError, listed, quote
from .files import Array

BACKGROUND = ("background", "_background_", "bg", "__background__")  #: names of the class that is no object
MOST_ROWS = 65_500  #: of a picture: a JPEG cannot have more

_BAND = 64  # rows that are blended at once, so that they stay in the cache
_WHITE, _INK, _FRAME = (255, 255, 255), (40, 40, 40), (128, 128, 128)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 30  # pixels between lines of the font at scale 1
_LEAST_UNIT, _UNITS = 12, 36  # the height of a line of text: pixels, and how many make the picture's shorter side
_LEAST_WIDTH = 10  # units: narrower pictures have no legend
_LEGEND_SHARE = 4  # of the picture's height, a legend takes one part at most
_LONGEST = 100  # characters of a name
#: What stands for U+00C0 to U+017F; the font has printable ASCII only.
_PLAIN_LETTERS = (
    "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYTsaaaaaaaceeeeiiiidnooooo/ouuuuyty"
    "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlL"
    "lLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs"
)


@dataclass(frozen=True)
class Style:
    """How an overlay looks.

    Raises:
        InputError: ``alpha`` is no number from 0 to 1.
    """

    alpha: float = 0.5  #: opacity of the classes, from 0 to 1
    legend: bool = True  #: name the classes below the image
    outlines: bool = False  #: draw white lines between classes
    clear: str = "background"  #: the class that is not coloured; see :func:`clear_class`

    def __post_init__(self) -> None:
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)) or not 0 <= self.alpha <= 1:
            raise InputError(f"expected alpha, the opacity of the classes, from 0 to 1, got {quote(repr(self.alpha))}")


DEFAULT = Style()


class Legend(NamedTuple):
    """Where the entries of a legend go, in pixels."""

    unit: int  #: height of a line of text
    columns: int
    rows: int
    column_width: int

    @property
    def pitch(self) -> int:
        """From one row to the next."""
        return self.unit * 3 // 2

    @property
    def height(self) -> int:
        """Height of the strip; 0 for none."""
        return self.rows * self.pitch + self.unit // 2 if self.rows else 0


def clear_class(names: Sequence[str], clear: str) -> Optional[int]:
    """The id of the class that is not coloured: of the name ``clear``, or of none if that is "".

    "background" also means the other names of :data:`BACKGROUND`, in upper and lower case, and no class where none has
    such a name.

    Raises:
        InputError: no class has another name that was asked for.
    """
    if clear in names:
        return names.index(clear)
    if clear == BACKGROUND[0]:
        return next((i for i, name in enumerate(names) if name.lower() in BACKGROUND), None)
    if clear == "":
        return None
    raise InputError(
        f"expected a class to leave clear, one of {listed([quote(n) for n in names])}, got '{quote(clear)}'"
    )


def overlay(
    image: Array,
    mask: Array,
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    style: Style,
    every_class: bool = False,
    in_place: bool = False,
) -> Array:
    """The image with the colours of its classes, and a legend below it.

    Args:
        image: (H, W, 3) uint8 BGR.
        mask: (H, W) class ids.
        names, palette: name and RGB colour of each class.
        every_class: list all classes in the legend, which then has the same height for all images of this size, and
            not only those in the mask.
        in_place: draw over ``image``, and the legend in the memory behind it, where :func:`.images.read_image` left
            room.

    Returns:
        (H + height of the legend, W, 3) uint8 BGR.

    Raises:
        InputError: there is no class to leave clear of the name that the style states.
    """
    clear = clear_class(names, style.clear)
    colours = np.array(palette, np.uint8)[:, ::-1]
    height, width = mask.shape
    pixels = cv2.calcHist([mask], [0], None, [len(names)], [0, len(names)]).ravel() if style.legend else []
    shown = [k for k in range(len(pixels)) if k != clear and (every_class or pixels[k] > 0)]
    labels = fitting([label(names[k], k) for k in shown], text_unit(height, width), width)
    legend = legend_layout(height, width, labels)
    rows = height + legend.height
    picture = _with_room(image, rows) if in_place else None
    if picture is None:
        picture = np.empty((rows, width, 3), np.uint8)
    blend(image, mask, colours, style, clear, picture[:height])
    if legend.rows:
        draw_legend(picture[height:], legend, labels, colours[shown], [float(pixels[k]) for k in shown])
    return picture


def _with_room(image: Array, rows: int) -> Optional[Array]:
    """``image`` (H, W, 3) with as many ``rows`` in the same memory; None if there is no room."""
    if rows == len(image):
        return image
    whole = image.base
    if not isinstance(whole, np.ndarray) or whole.shape[1:] != image.shape[1:] or len(whole) < rows:
        return None
    return whole[:rows] if whole.ctypes.data == image.ctypes.data else None


def blend(image: Array, mask: Array, colours: Array, style: Style, clear: Optional[int], out: Array) -> None:
    """Blend an (H, W, 3) BGR image with the BGR ``colours`` of its classes into ``out``, without a legend.

    ``out`` may be the image itself.
    """
    alpha = round(style.alpha * 256) / 256
    table = None if mask.dtype != np.uint8 else np.zeros((1, 256, 3), np.uint8)
    if table is not None:
        table[0, : len(colours)] = colours[:256]
    margin = line_width(*mask.shape) if style.outlines else 0
    for start in range(0, len(mask), _BAND):
        rows = slice(start, min(start + _BAND, len(mask)))
        ids, there = mask[rows], image[rows]
        painted = colours[ids] if table is None else cv2.LUT(cv2.merge([ids, ids, ids]), table)
        cv2.addWeighted(painted, alpha, there, 1 - alpha, 0, painted)
        if clear is not None:
            cv2.copyTo(there, (ids == clear).view(np.uint8), painted)
        if margin:
            above = min(margin, start)
            around = edges(mask[start - above : rows.stop + margin], margin)[above : above + len(ids)]
            painted[around] = _WHITE
        out[rows] = painted


def edges(mask: Array, width: int) -> Array:
    """(H, W) bool: the pixels at most ``width`` // 2 away from another class."""
    kernel = np.ones((width + 1, width + 1), np.uint8)
    return np.asarray(cv2.dilate(mask, kernel) != cv2.erode(mask, kernel))


def line_width(height: int, width: int) -> int:
    """Pixels of an outline in a picture of this size; even, half on either side of a border."""
    return 2 * max(1, min(height, width) // 800)


def text_unit(height: int, width: int) -> int:
    """Height of a line of text in pixels, for a picture of this size."""
    return max(_LEAST_UNIT, min(height, width) // _UNITS)


def label(name: str, class_id: int) -> str:
    """A name in the letters that the font has, without accents; the class id if it has others."""
    plain = transliterated(name[:_LONGEST])
    return f"class {class_id}" if plain is None or not plain.strip() else plain


def transliterated(text: str) -> Optional[str]:
    """Text in printable ASCII; None if it has letters other than Latin ones."""
    letters = [
        _PLAIN_LETTERS[ord(c) - 0xC0] if 0xC0 <= ord(c) <= 0x17F else c if " " <= c <= "~" else None for c in text
    ]
    return None if None in letters else "".join(c for c in letters if c)


def text_width(text: str, unit: int) -> int:
    """Width in pixels of a line of text."""
    return int(cv2.getTextSize(text, _FONT, unit / _FONT_HEIGHT, _thickness(unit))[0][0])


def fitting(texts: Sequence[str], unit: int, width: int) -> List[str]:
    """Texts for entries of a legend in ``width`` pixels; what does not fit ends in "..."."""
    return [shorten(text, unit, width - 4 * unit) for text in texts]


def shorten(text: str, unit: int, width: int) -> str:
    """Text of at most ``width`` pixels, which ends in "..." if it was longer."""
    if text_width(text, unit) <= width:
        return text
    kept = len(text)
    while kept > 0 and text_width(text[:kept] + "...", unit) > width:
        kept -= 1
    return text[:kept] + "..."


def draw_text(picture: Array, text: str, x: int, y: int, unit: int, colour: Tuple[int, int, int] = _INK) -> None:
    """A line of ASCII text whose upper left corner is at (x, y)."""
    at = (x, y + unit * 17 // 20)
    cv2.putText(picture, text, at, _FONT, unit / _FONT_HEIGHT, colour, _thickness(unit), cv2.LINE_AA)


def text_strip(texts: Sequence[Tuple[str, int]], width: int, unit: int, height: int) -> Array:
    """A line of ASCII texts, each with the pixel at which it begins, as a picture (height, width, 3) of its own."""
    strip = np.full((height, width, 3), 255, np.uint8)
    for text, x in texts:
        draw_text(strip, text, x + unit // 2, (height - unit) // 2, unit)
    return strip


def legend_layout(height: int, width: int, labels: Sequence[str]) -> Legend:
    """The layout of a legend for these labels below a picture of this size; without rows if there is no room."""
    unit = text_unit(height, width)
    if not labels or width < _LEAST_WIDTH * unit:
        return Legend(unit, 0, 0, 0)
    pitch = unit * 3 // 2
    most = min(max(1, height // _LEGEND_SHARE // pitch), (MOST_ROWS - height - unit // 2) // pitch)
    return _layout(unit, width, labels, most)


def _layout(unit: int, width: int, labels: Sequence[str], most_rows: int) -> Legend:
    column = unit * 7 // 2 + max(text_width(text, unit) for text in labels)
    columns = max(1, (width - unit // 2) // column)
    return Legend(unit, columns, max(0, min(most_rows, -(-len(labels) // columns))), column)


def legend_strip(width: int, unit: int, labels: Sequence[str], colours: Array) -> Array:
    """A legend of all these labels and their (N, 3) BGR colours, as a picture (h, width, 3) of its own."""
    fitted = fitting(labels, unit, width)
    legend = _layout(unit, width, fitted, len(labels))
    strip = np.empty((legend.height, width, 3), np.uint8)
    draw_legend(strip, legend, fitted, colours, [])
    return strip


def draw_legend(strip: Array, legend: Legend, labels: Sequence[str], colours: Array, pixels: Sequence[float]) -> None:
    """Draw a legend; where it has no room for all classes, those with most pixels, and how many more there are."""
    strip[...] = _WHITE
    places = legend.columns * legend.rows
    shown = list(range(len(labels)))
    if len(shown) > places:
        shown = sorted(sorted(shown, key=lambda i: -pixels[i])[: places - 1])
    for place, i in enumerate(shown):
        x, y = _corner(legend, place)
        corners = (x, y), (x + legend.unit - 1, y + legend.unit - 1)
        cv2.rectangle(strip, *corners, [int(c) for c in colours[i]], cv2.FILLED)
        cv2.rectangle(strip, *corners, _FRAME, 1)
        draw_text(strip, labels[i], x + legend.unit * 3 // 2, y, legend.unit)
    if len(shown) < len(labels):
        draw_text(strip, f"+{len(labels) - len(shown)} more", *_corner(legend, len(shown)), legend.unit)


def _corner(legend: Legend, place: int) -> Tuple[int, int]:
    """The upper left corner, (x, y), of an entry; the places go row by row."""
    half = legend.unit // 2
    return half + place % legend.columns * legend.column_width, half + place // legend.columns * legend.pitch


def _thickness(unit: int) -> int:
    return max(1, unit // 20)
