"""Small image files of every kind that is read, made on the fly."""

import io
import struct
from functools import partial
from typing import Any, Callable, Dict

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 65
_ROWS_PER_STRIP = 278  # a tag of TIFF, by which OpenCV names the setting
#: EXIF orientations.
UPRIGHT, TURNED = 1, 6


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """A smooth picture (H, W, 3) uint8 BGR, white in its lower third."""
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    image[2 * height // 3 :] = 255
    return image


def opencv(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    """The bytes of an image file that OpenCV writes."""
    return cv2.imencode(suffix, image, list(parameters))[1].tobytes()


def pillow(form: str, image: Image.Image, **options: Any) -> bytes:
    """The bytes of an image file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _photo(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))


def _translucent(image: np.ndarray) -> Image.Image:
    photo = _photo(image).convert("RGBA")
    photo.putalpha(100)
    return photo


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = TURNED
    return exif


def _pages(form: str, image: np.ndarray) -> bytes:
    photo = _photo(image)
    return pillow(form, photo, save_all=True, append_images=[photo.rotate(180)])


def tiled(image: np.ndarray, side: int = 32) -> bytes:
    """A TIFF in tiles, in the order of bytes that few programs write."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image[:, :, ::-1], 0, -height % side, 0, -width % side, cv2.BORDER_CONSTANT)
    rows, columns = (range(0, length, side) for length in padded.shape[:2])
    tiles = [padded[y : y + side, x : x + side].tobytes() for y in rows for x in columns]
    values = {256: [width], 257: [height], 258: [8, 8, 8], 259: [1], 262: [2], 277: [3], 322: [side], 323: [side]}
    values[325] = [len(tile) for tile in tiles]
    end = 8 + sum(values[325])
    values[324] = [8 + k * side * side * 3 for k in range(len(tiles))]
    directory, longer = struct.pack(">H", len(values)), b""
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f">{len(numbers)}I", *numbers)
        if len(packed) > 4:
            at = struct.pack(">I", end + 2 + 12 * len(values) + 4 + len(longer))
            packed, longer = at, longer + packed
        directory += struct.pack(">HHI", tag, 4, len(numbers)) + packed
    return b"MM\0*" + struct.pack(">I", end) + b"".join(tiles) + directory + bytes(4) + longer


def _sixteen(image: np.ndarray) -> np.ndarray:
    return image.astype(np.uint16) * 257


#: Name of a file: its contents from a picture.
FORMS: Dict[str, Callable[[np.ndarray], bytes]] = {
    **{f"plain{s}": partial(opencv, s) for s in (".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm")},
    **{f"grey{s}": lambda image, s=s: opencv(s, image[:, :, 0]) for s in (".png", ".jpg", ".bmp", ".tif")},
    **{f"16 bits{s}": lambda image, s=s: opencv(s, _sixteen(image)) for s in (".png", ".tif")},
    **{f"palette.{f}": lambda image, f=f: pillow(f, _photo(image).quantize(16)) for f in ("png", "bmp", "tiff")},
    **{f"alpha.{f}": lambda image, f=f: pillow(f, _translucent(image)) for f in ("png", "tiff", "webp")},
    **{f"turned.{f}": lambda image, f=f: pillow(f, _photo(image), exif=_turned()) for f in ("png", "jpeg", "tiff")},
    **{f"bits.{f}": lambda image, f=f: pillow(f, _photo(image).convert("1")) for f in ("png", "bmp", "tiff")},
    "progressive.jpg": lambda image: opencv(".jpg", image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts.jpg": lambda image: opencv(".jpg", image, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "444.jpeg": lambda image: pillow("jpeg", _photo(image), subsampling=0),
    "cmyk.jpeg": lambda image: pillow("jpeg", _photo(image).convert("CMYK")),
    "lossless.webp": lambda image: opencv(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101),
    "lzw.tiff": lambda image: pillow("tiff", _photo(image), compression="tiff_lzw"),
    "deflate.tiff": lambda image: pillow("tiff", _photo(image), compression="tiff_adobe_deflate"),
    "jpeg.tiff": lambda image: pillow("tiff", _photo(image), compression="jpeg"),
    "strips.tif": lambda image: opencv(".tif", image, _ROWS_PER_STRIP, 7),
    "tiled.tif": tiled,
    "pages.tiff": partial(_pages, "tiff"),
    "frames.png": partial(_pages, "png"),
    "text.ppm": lambda image: b"P3 # a comment\n2 1\n255\n1 2 3 40 50 60\n",
    "16 bits.ppm": lambda image: b"P5 2 1 65535\n\x12\x34\x56\x78",
}


def image_files(image: np.ndarray) -> Dict[str, bytes]:
    """File contents by name; of ``image``, or of forms of it with other colours."""
    return {name: make(image) for name, make in FORMS.items()}
