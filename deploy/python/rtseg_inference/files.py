"""Writing files atomically, checksums, and where caches are kept."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from typing import Any, Callable, Iterator, Set, TypeVar

import cv2
from numpy.typing import NDArray

from . import environment
from .errors import InputError, quote

PARTIAL = ".partial-"  #: temporary files and folders begin with it
LARGE = 75_000_000  #: bytes of an image
YOUNG = 60.0  #: seconds for which a temporary file is never taken for a leftover

Array = NDArray[Any]
Built = TypeVar("Built")

_cleared: Set[str] = set()  # folders
_held: Set[int] = set()  # file descriptors with a lock


def write_image(path: str, image: Array) -> None:
    """Encode by the extension of ``path`` and write the file atomically.

    Raises:
        InputError: the folder cannot be written, or OpenCV knows no such format.
    """
    if path.endswith(".jpg") and image.nbytes > LARGE:
        _write_large_jpeg(path, image)
        return
    try:
        written, data = cv2.imencode(os.path.splitext(path)[1], image)
    except cv2.error:  # no such format
        written = False
    if not written:
        raise InputError(
            f"OpenCV cannot write an image of {image.dtype} {image.shape} to {path!r}; use a name with .png"
        )
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as f:
            f.write(data)
    except OSError as e:
        raise InputError(f"cannot write {path!r} ({e.strerror})") from e


def _write_large_jpeg(path: str, image: Array) -> None:
    """Without the file in memory. OpenCV's writers of other formats may lose an error of the disk."""
    with atomic_path(path) as temporary:
        if not cv2.imwrite(temporary, image):
            raise _cannot_write(path, f"as a JPEG of {image.shape[1]} x {image.shape[0]}")


def write_text(path: str, text: str) -> None:
    """Write an ASCII file atomically.

    Raises:
        InputError: it cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii") as f:
        f.write(text)


@contextlib.contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` on success, remove it on failure.

    The temporary name keeps the extension, by which many writers choose the format.

    Raises:
        InputError: the folder or the file cannot be written, for example because the disk is full.
    """
    folder, name = os.path.split(os.path.abspath(path))
    make_folder(folder)
    clear_leftovers(folder)
    with writing(path), contextlib.ExitStack() as cleanup:
        # Named before it is made, so that an interrupt cannot come between its making and its removal.
        temporary = _unused_path(folder, PARTIAL, "-" + name[-40:])
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            cleanup.callback(_release, handle)
            _claim(handle)
            yield temporary
            if _is_full(folder):  # not every writer reports that the rest of its file is missing
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.replace(temporary, path)
        except Exception as e:
            # Asked before the file is removed, which makes room again.
            _raise_if_full(e, path, folder)
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


@contextlib.contextmanager
def partial_folder(parent: str, prefix: str = PARTIAL) -> Iterator[str]:
    """Yield a new folder inside ``parent``, which is removed in the end, whatever happens.

    Raises:
        InputError: the disk is full, or ``parent`` cannot be written.
    """
    clear_leftovers(parent, prefix)
    with writing(parent), contextlib.ExitStack() as cleanup:
        folder = _unused_path(parent, prefix)
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        os.mkdir(folder, 0o700)
        handle = os.open(folder, os.O_RDONLY)
        cleanup.callback(_release, handle)
        _claim(handle)
        try:
            yield folder
        except Exception as e:
            _raise_if_full(e, parent, folder)
            raise


def temporary_folder() -> "contextlib.AbstractContextManager[str]":
    """:func:`partial_folder` where temporary files belong."""
    try:
        parent = tempfile.gettempdir()
    except OSError as e:
        raise InputError(
            "cannot write temporary files; make room, or set TMPDIR to a folder that can be written"
        ) from e
    return partial_folder(parent, PARTIAL + "rtseg-")


@contextlib.contextmanager
def exclusive(folder: str, wait: bool = False) -> Iterator[None]:
    """Keep other processes that call this for ``folder`` away from it; the lock ends with the process.

    Args:
        folder: an existing folder.
        wait: wait for another process instead of refusing.

    Raises:
        InputError: another process holds the folder, and ``wait`` is False.
    """
    handle = os.open(folder, os.O_RDONLY)
    _held.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            if not wait:
                raise InputError(
                    f"expected a folder that no other process is writing to, got {folder!r}; wait for the other one, "
                    "or choose another folder"
                ) from e
            print(f"waiting for another process, which is writing to {folder}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        _release(handle)


def with_cache(folder: str, build: Callable[[], Built]) -> Built:
    """What ``build`` makes with the files that it keeps in ``folder``; if that fails, made again without them.

    Other processes wait meanwhile.
    """
    with exclusive(folder, wait=True):
        kept = os.listdir(folder)
        try:
            return build()
        except Exception:  # of whatever kind a damaged file causes
            if not kept:
                raise
        for name in kept:
            path = os.path.join(folder, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        return build()


def clear_leftovers(folder: str, prefix: str = PARTIAL) -> None:
    """Remove the temporary files and folders that killed runs left in ``folder``; done once in a process.

    A living process holds a lock on each of its own. Those younger than a minute stay in any case, because a lock
    follows a moment after its file.
    """
    if folder in _cleared:
        return
    _cleared.add(folder)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(prefix) and not entry.is_symlink() and _is_left_over(entry):
                shutil.rmtree(entry.path, ignore_errors=True) if entry.is_dir() else os.unlink(entry.path)


def _is_left_over(entry: "os.DirEntry[str]") -> bool:
    status = entry.stat(follow_symlinks=False)
    if time.time() - status.st_mtime < YOUNG or status.st_uid != os.getuid():
        return False
    with contextlib.suppress(OSError):  # held, or somebody else's
        handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(handle)
    return False


def _claim(handle: int) -> None:
    """Lock a temporary file or folder of this process, so that no other takes it for a leftover."""
    _held.add(handle)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(handle: int) -> None:
    _held.discard(handle)
    os.close(handle)


def _leave_locks_to_the_parent() -> None:
    """A forked process, such as a worker of a data loader, must not hold a lock longer than its parent lives."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path``, or something in it, into a sentence.

    Raises:
        InputError: the disk is full, a limit is reached, or something is in the way.
    """
    folder = os.path.join(os.path.dirname(os.path.abspath(path)), "")
    try:
        yield
    except OSError as e:
        if isinstance(e.filename, str) and not os.path.abspath(e.filename).startswith(folder):
            raise  # about a file that is read
        raise _cannot_write(path, e.strerror or str(e).splitlines()[0]) from e


def _raise_if_full(error: Exception, path: str, folder: str) -> None:
    """Blame the disk for any error of a writer if it is full: libraries report that in many ways."""
    if _is_full(folder):
        raise _cannot_write(path, os.strerror(errno.ENOSPC)) from error


def _cannot_write(path: str, reason: str) -> InputError:
    return InputError(f"cannot write {path!r} ({reason}); make room, or choose another place")


def _is_full(folder: str) -> bool:
    disk = os.statvfs(folder)
    free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail  # a share is kept for the superuser
    return disk.f_blocks > 0 and free == 0


def path_text(path: Any, what: str) -> str:
    """A path as text, from a text or a :class:`pathlib.Path`.

    Args:
        what: what it is the path of, for the message.

    Raises:
        InputError: it is something else.
    """
    if isinstance(path, (str, os.PathLike)) and isinstance(os.fspath(path), str) and path != "":
        return os.fspath(path)
    raise InputError(f"expected {what}, got {quote(repr(path))}; pass its path as a text or a pathlib.Path")


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
        raise _no_folder(path, e) from e
    return path


def check_folder(path: str) -> None:
    """Refuse a folder that could not be written, before the work for what belongs there; nothing is created.

    Raises:
        InputError: it is not a folder that can be written, and cannot become one.
    """
    folder = os.path.abspath(path)
    try:
        while _is_missing(folder):
            folder = os.path.dirname(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise _no_folder(path, e) from e


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[None]:
    """Create ``path`` if necessary; after an error, what was created is removed again unless something is in it.

    Raises:
        InputError: see :func:`make_folder`.
    """
    created = []
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        created.append(folder)
        folder = os.path.dirname(folder)
    try:
        make_folder(path)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for folder in created:
                os.rmdir(folder)
        raise


def _is_missing(path: str) -> bool:
    """Whether nothing has this name and something could."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    return False


def _no_folder(path: str, error: OSError) -> InputError:
    return InputError(f"expected a folder that can be written, got {path!r} ({error.strerror}); choose another")


def cache_root() -> str:
    """Where compiled networks are kept: ``$RTSEG_CACHE``, or ``~/.cache/rtseg_inference``."""
    return cache_folder("RTSEG_CACHE", "rtseg_inference")


def cache_folder(variable: str, name: str) -> str:
    """The folder that the environment ``variable`` names, or else ``~/.cache/NAME``."""
    return os.environ.get(variable) or os.path.join(environment.home(), ".cache", name)


def writable_cache(folder: str, variable: str) -> str:
    """``folder``, a cache or part of one, created if necessary.

    Raises:
        InputError: it cannot be written; the message says which environment ``variable`` chooses another.
    """
    try:
        return make_folder(folder)
    except InputError as e:
        raise InputError(f"{str(e).rpartition(';')[0]}; name another in the environment variable {variable}") from e


def sha256(path: str) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _unused_path(folder: str, prefix: str, suffix: str = "") -> str:
    return os.path.join(folder, prefix + secrets.token_hex(8) + suffix)
