"""Reading images, writing files whole or not at all, and knowing what was written."""

import contextlib
import hashlib
import os
import tempfile
from typing import Iterator

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
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as f:
            f.write(data)
    except OSError as e:
        raise InputError(f"cannot write {path!r} ({e.strerror})") from e


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """Yield a temporary path beside ``path``; on success it takes the name ``path``, on failure nothing is left.

    The temporary name keeps the extension, since many writers choose the format by it.

    Raises:
        InputError: the folder cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    make_folder(folder)
    handle, temporary = tempfile.mkstemp(prefix=".partial-", suffix="-" + name, dir=folder)
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


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


def sha256(path: str) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
