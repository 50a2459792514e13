"""Members of zip and tar.gz archives in memory, with limits on what they unpack to."""

import gzip
import io
import zipfile
from typing import IO, Iterator, Tuple, cast

from ..errors import InputError
from .limits import ARCHIVE_MEMBERS, ZIP_DIRECTORY, Budget, quote

_BLOCK = 512  # bytes of a header in a tar; contents are padded to a multiple
_PIECE = 1 << 20


class _Limited(io.RawIOBase):
    """A file that refuses to read more than ``limit`` bytes at a time: :mod:`zipfile` reads a directory in one go."""

    def __init__(self, file: IO[bytes]):
        self._file, self.limit = file, ZIP_DIRECTORY

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(min(count, self.limit + 1) if count >= 0 else self.limit + 1)
        if len(data) > self.limit:
            raise InputError(f"its zip directory is larger than {self.limit} bytes; save the weights again")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """A zip, opened for reading; its members are to be read with :func:`zip_member`."""
    limited = _Limited(file)
    archive = zipfile.ZipFile(cast(IO[bytes], limited))
    limited.limit = 1 << 62
    for member in archive.infolist():
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a limit
            raise InputError(f"its member {quote(member.filename)!r} is compressed in an unknown way; save it again")
    return archive


def zip_member(archive: zipfile.ZipFile, name: str, budget: Budget) -> bytes:
    """The contents of a member, which are exactly as long as its header says."""
    info = archive.getinfo(name)
    budget.memory(info.file_size)
    with archive.open(info) as member:
        data = member.read(info.file_size)  # a plain read() would unpack whatever comes
    if len(data) != info.file_size:
        raise EOFError(f"{quote(name)} has {len(data)} bytes instead of {info.file_size}")
    return data


def pdparams_of_tar_gz(file: IO[bytes], budget: Budget) -> bytes:
    """The one ``.pdparams`` file in a tar.gz, in the form that PaddleSeg publishes.

    Raises:
        InputError: none or several, or the archive exceeds the budget.
    """
    unpacked = _gunzip(file, budget)
    found = [span for name, span in _tar_members(unpacked) if name.endswith(b".pdparams")]
    if len(found) != 1:
        raise InputError(f"expected an archive with one .pdparams file, got {len(found)}; unpack it")
    start, end = found[0]
    budget.memory(end - start)
    return unpacked[start:end]


def _gunzip(file: IO[bytes], budget: Budget) -> bytes:
    unpacked = io.BytesIO()
    with gzip.GzipFile(fileobj=file) as packed:
        while True:  # to the end, where gzip keeps its checksum
            piece = packed.read(_PIECE)
            if not piece:
                return unpacked.getvalue()
            budget.memory(len(piece))
            unpacked.write(piece)


def _tar_members(tar: bytes) -> Iterator[Tuple[bytes, Tuple[int, int]]]:
    """Name, start and end of each regular file. :mod:`tarfile` would follow sparse files and nested compression."""
    position, long_name = 0, b""
    for _ in range(ARCHIVE_MEMBERS):
        header = tar[position : position + _BLOCK]
        if not header.strip(b"\0"):
            return
        size = int(header[124:136].strip(b" \0"), 8)
        start, end = position + _BLOCK, position + _BLOCK + size
        if size < 0 or end > len(tar) or header[257:262] != b"ustar":
            raise EOFError("the archive inside is cut short, or is not a tar")
        kind = header[156:157]
        if kind in (b"0", b"\0"):
            yield long_name or header[:100].rstrip(b"\0"), (start, end)
        long_name = tar[start:end].rstrip(b"\0") if kind == b"L" else b""
        position = start + -(-size // _BLOCK) * _BLOCK
    raise InputError(f"expected an archive of at most {ARCHIVE_MEMBERS} files, got more; unpack it")
