"""Reading images, and writing files whole or not at all."""

import os
import tempfile

import cv2
import numpy as np

from .errors import InputError


def read_image(path: str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Decode an image file, by default to (H, W, 3) uint8 BGR.

    Raises:
        InputError: the file is missing, empty, or not an image that OpenCV can decode.
    """
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        raise InputError(f"cannot read the image {path!r} ({e.strerror})") from e
    # Where the end of a JPEG is missing, OpenCV fills the image up with grey and says nothing.
    cut_short = data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data
    image = None if cut_short or not data else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise InputError(f"{path!r} is not an image that can be decoded ({len(data)} bytes); is it cut short?")
    return image


def write_image(path: str, image: np.ndarray) -> None:
    """Encode by the extension of ``path`` and write the file whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    written, data = cv2.imencode(os.path.splitext(path)[1], image)
    if not written:
        raise InputError(f"OpenCV cannot write an image of {image.dtype} {image.shape} to {path!r}; use .png")
    folder = make_folder(os.path.dirname(path) or ".")
    temporary = os.path.join(folder, f".partial-{os.getpid()}-{os.path.basename(path)}")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
        os.replace(temporary, path)
    except OSError as e:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise InputError(f"cannot write {path!r} ({e.strerror})") from e


def make_folder(path: str) -> str:
    """Create ``path`` if need be and return it.

    Raises:
        InputError: it is not a folder, or cannot be created or written.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as e:
        raise InputError(f"expected a folder that can be written, got {path!r} ({e.strerror}); choose another") from e
    return path


def cache_root() -> str:
    """Where compiled networks are kept: ``$RTSEG_CACHE``, or ``~/.cache/rtseg_inference``."""
    return os.environ.get("RTSEG_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "rtseg_inference")
