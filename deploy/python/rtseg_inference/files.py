"""Writing files atomically, checksums, and where caches are kept."""

import contextlib
import hashlib
import os
import pwd
import tempfile
from typing import Any, Iterator

import cv2
from numpy.typing import NDArray

from .errors import InputError

Array = NDArray[Any]


def write_image(path: str, image: Array) -> None:
    """Encode by the extension of ``path`` and write the file atomically.

    Raises:
        InputError: the folder cannot be written.
    """
    written, data = cv2.imencode(os.path.splitext(path)[1], image)
    if not written:
        raise InputError(f"OpenCV cannot write an image of {image.dtype} {image.shape} to {path!r}; use .png")
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as f:
            f.write(data.tobytes())
    except OSError as e:
        raise InputError(f"cannot write {path!r} ({e.strerror})") from e


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` on success, remove it on failure.

    The temporary name keeps the extension, by which many writers choose the format.

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
    """Create ``path`` if necessary and return it.

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
    return cache_folder("RTSEG_CACHE", "rtseg_inference")


def cache_folder(variable: str, name: str) -> str:
    """The folder that the environment ``variable`` names, or else ``~/.cache/NAME``."""
    # expanduser takes an empty HOME literally, which would make it the root folder.
    home = os.path.expanduser("~") if os.environ.get("HOME", "~") else pwd.getpwuid(os.getuid()).pw_dir
    return os.environ.get(variable) or os.path.join(home, ".cache", name)


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
