"""The reader of label images, for training, evaluation and every check. docs/images.md states the rules."""

import io
from typing import Callable, Dict

import cv2
import numpy as np
from PIL import BmpImagePlugin, Image, PngImagePlugin, PpmImagePlugin, TiffImagePlugin
from rtseg_inference.errors import quote
from rtseg_inference.images import read_encoded

from ..errors import InputError

#: Pillow's decoders by the first bytes of a file. Image.open would try others too, and has its own limit of pixels.
_DECODERS: Dict[bytes, Callable[[io.BytesIO], Image.Image]] = {
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"II": TiffImagePlugin.TiffImageFile,
    b"MM": TiffImagePlugin.TiffImageFile,
    **{b"P%d" % kind: PpmImagePlugin.PpmImageFile for kind in (1, 2, 4, 5)},
}
#: Pillow's modes for one id in each pixel, and the type of the ids; 16 bits become 32, as Paddle has no unsigned 16.
_TYPES = {"1": np.uint8, "L": np.uint8, "P": np.uint8, "I": np.int32, "I;16": np.int32, "I;16B": np.int32}
_FIX = "save the ids as a PNG with one channel"


def read_label(path: str) -> np.ndarray:
    """The class ids of a label image, (H, W) uint8, or int32 where the file has 16 bits.

    They are the grey values, the indices of a palette, or the bits of a black and white image.

    Raises:
        InputError: the file is missing, is not a label image, is cut short, or exceeds a limit.
    """
    data, header = read_encoded(path)
    if data.startswith(b"\xff\xd8"):
        raise InputError(f"expected ids as they were saved in {path!r}, got a JPEG, which changes them; {_FIX}")
    decoder = next((decoder for start, decoder in _DECODERS.items() if data.startswith(start)), None)
    if decoder is None:
        raise InputError(f"expected one class id for each pixel in {path!r}, got colours; {_FIX}")
    try:
        image = decoder(io.BytesIO(data))
        if image.size != (header.width, header.height):
            raise ValueError("it states two sizes")
        ids = np.asarray(image) if image.mode in _TYPES else None
        if ids is not None and decoder is PngImagePlugin.PngImageFile and _lacks_rows(data, ids):
            raise ValueError("rows are missing")
    except Exception as e:  # Pillow raises exceptions of many types for damaged files
        raise InputError(
            f"expected a label image, got {path!r}, which cannot be decoded ({quote(e)}); replace it"
        ) from e
    if ids is None:
        raise InputError(
            f"expected one class id for each pixel in {path!r}, got {len(image.getbands())} channels of type "
            f"{image.mode}; {_FIX}"
        )
    return ids.astype(_TYPES[image.mode], copy=False)


def _lacks_rows(png: bytes, ids: np.ndarray) -> bool:
    """Whether a PNG's pixels end early, which Pillow fills up with zeros and OpenCV refuses."""
    interlaced = png[28]
    suspicious = bool(interlaced or not ids[-1].any())
    return suspicious and cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED) is None
