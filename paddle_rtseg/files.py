"""Writing files whole or not at all, and knowing what was written."""

import contextlib
import hashlib
import os
import tempfile
from typing import Iterator

from .errors import InputError


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
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
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
