"""Where inputs come from and results go: a folder, or an address of one of pyarrow's file systems.

An address is ``scheme://...``, such as ``s3://bucket/folder``. Files are copied from it to the worker's disk before
they are read, and results are copied to it from there. No other module knows pyarrow's file systems.
"""

import contextlib
import os
import shutil
from typing import Any, Iterator, List, Optional, Tuple

from rtseg_inference.errors import first_line, quote
from rtseg_inference.files import PARTIAL, exclusive

from ..errors import InputError
from ..files import atomic_path, new_folder, temporary_folder

#: Their objects appear when they are complete; other file systems show a file while it is being written.
_OBJECT_STORES = ("s3", "gcs")


def is_address(path: str) -> bool:
    """Whether it is an address, and not a path of this machine."""
    return "://" in path


class Storage:
    """A folder for results.

    Args:
        address: a path or an address.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, address: str):
        self.address, self.is_local = address, not is_address(address)

    def prepared(self) -> "contextlib.AbstractContextManager[None]":
        """Create the folder; after an error, what was created is removed again unless something is in it.

        Raises:
            InputError: it cannot be written.
        """
        if self.is_local:
            return new_folder(self.address)
        self.write(".bulk/write_test", b"")
        return contextlib.nullcontext()

    def locked(self) -> "contextlib.AbstractContextManager[None]":
        """Keep other runs that see the same local folder away from it.

        Raises:
            InputError: there is another one.
        """
        return exclusive(self.address) if self.is_local else contextlib.nullcontext()

    @contextlib.contextmanager
    def reserved(self, ray: Any) -> Iterator[None]:
        """Keep other runs on the same cluster away from the folder: an address has no locks.

        Raises:
            InputError: there is another one.
        """
        name = f"writes to {os.path.realpath(self.address) if self.is_local else self.address}"
        try:
            lock = ray.remote(num_cpus=0)(_Lock).options(name=name, namespace="paddle_rtseg.bulk").remote()
        except ValueError as e:
            raise InputError(
                f"expected a folder that no other run is writing to, got {self.address!r}; wait for the other one, or "
                "choose another folder"
            ) from e
        yield
        ray.kill(lock)

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """Yield a local folder; what is written there is in the storage when the context ends without an error."""
        if self.is_local:
            yield self.address
            return
        with temporary_folder() as stage:
            yield stage
            for name in _files_below(stage):
                with open(os.path.join(stage, name), "rb") as f:
                    self.write(name, f.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically.

        Args:
            name: relative to the folder.

        Raises:
            InputError: it cannot be written.
        """
        if self.is_local:
            with atomic_path(os.path.join(self.address, name)) as temporary, open(temporary, "wb") as f:
                f.write(data)
            return
        with _explained("write", self.address):
            system, root = _system(self.address)
            path = f"{root}/{name}"
            final = system.type_name in _OBJECT_STORES
            if not final:
                system.create_dir(os.path.dirname(path), recursive=True)
            target = path if final else os.path.join(os.path.dirname(path), f"{PARTIAL}{os.path.basename(path)}")
            with system.open_output_stream(target) as f:
                f.write(data)
            if not final:
                system.move(target, path)

    def read(self, name: str) -> Optional[bytes]:
        """The contents of a file; None if it does not exist."""
        if self.is_local:
            try:
                with open(os.path.join(self.address, name), "rb") as f:
                    return f.read()
            except FileNotFoundError:
                return None
        with _explained("read", self.address):
            system, root = _system(self.address)
            try:
                with system.open_input_stream(f"{root}/{name}") as f:
                    return bytes(f.read())
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> List[str]:
        """The sorted names of the files in a folder; none if it does not exist."""
        if self.is_local:
            with contextlib.suppress(FileNotFoundError):
                return sorted(n for n in os.listdir(os.path.join(self.address, folder)) if not n.startswith(PARTIAL))
            return []
        with _explained("read", self.address):
            from pyarrow import fs

            system, root = _system(self.address)
            found = system.get_file_info(fs.FileSelector(f"{root}/{folder}", allow_not_found=True))
            return sorted(info.base_name for info in found if not info.base_name.startswith(PARTIAL))

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[str]:
        """Yield a local path; the file that is written there becomes ``name``."""
        if self.is_local:
            with atomic_path(os.path.join(self.address, name)) as temporary:
                yield temporary
            return
        with self.folder() as stage:
            yield os.path.join(stage, name)

    def sweep(self) -> None:
        """Remove the temporary files of killed workers; nothing may be writing to the folder."""
        if not self.is_local:
            return
        for folder, _, files in os.walk(self.address):
            for name in files:
                if name.startswith(PARTIAL):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))


class _Lock:
    """An actor without work: its name is taken as long as the driver lives."""


def find_files(address: str, suffixes: Tuple[str, ...]) -> Tuple[str, List[str]]:
    """The folder of an address and, sorted, the addresses of the files in it and below it, or of the file that it is.

    Raises:
        InputError: there are none, or the address cannot be read.
    """
    from pyarrow import fs

    with _explained("read", address):
        system, root = _system(address)
        info = system.get_file_info(root)
        if info.type == fs.FileType.File:
            return address.rpartition("/")[0], [address]
        found = system.get_file_info(fs.FileSelector(root, recursive=True))
    base = address.rstrip("/")
    below = [i.path[len(root.rstrip("/")) :].lstrip("/") for i in found if i.type == fs.FileType.File]
    names = [n for n in below if n.lower().endswith(suffixes) and not any(p.startswith(".") for p in n.split("/"))]
    if not names:
        raise InputError(f"expected images or videos in {quote(address)!r}, got none; add some")
    return base, [f"{base}/{name}" for name in sorted(names, key=lambda n: (os.path.dirname(n), n))]


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yield a path of this machine for a path or an address; a copy is removed in the end.

    Raises:
        InputError: the address cannot be read.
    """
    if not is_address(path):
        yield path
        return
    with temporary_folder() as folder:
        copy = os.path.join(folder, "input" + os.path.splitext(path)[1])
        with _explained("read", path):
            system, name = _system(path)
            with system.open_input_stream(name) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        yield copy


def _system(address: str) -> Tuple[Any, str]:
    from pyarrow import fs

    return fs.FileSystem.from_uri(address)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _explained(verb: str, address: str) -> Iterator[None]:
    """Turn what a file system says into a sentence."""
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException) as e:
        raise InputError(
            f"cannot {verb} {quote(address)!r} ({quote(first_line(e))}); check the address and your rights"
        ) from e


def _files_below(folder: str) -> List[str]:
    return sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, files in os.walk(folder) for f in files)
