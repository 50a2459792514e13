"""TIFF files: what the directory of the first page says, and its pixels a band of rows at a time.

OpenCV decodes a file that is in memory as a whole, and in Python copies the image once more. A large image is therefore
divided: each band is a TIFF file of its own, with the strips or tiles of these rows as they are.
``deploy/cpp/src/tiff.cpp`` divides the same images.
"""

import itertools
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Dict, Iterator, Optional, Sequence, Tuple, Union

SIGNATURES = (b"II*\0", b"MM\0*")
BAND = 1 << 22  #: pixels of a band, unless one row of pieces has more

WIDTH, HEIGHT, BITS, COMPRESSION, ORIENTATION, STRIP_ROWS, PLANAR = 256, 257, 258, 259, 274, 278, 284
TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 322, 323, 339
STRIPS, STRIP_SIZES, TILES, TILE_SIZES = 273, 279, 324, 325
_SHORT, _LONG = 3, 4
_BYTES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of a value, by type
_MOST_COPIED = 1 << 20  #: bytes of the tags that each band repeats
#: Compressions of pieces that need nothing but a piece and the tags below: none, LZW, JPEG, deflate, PackBits.
_DIVISIBLE = (1, 5, 7, 8, 32773, 32946)
#: Tags that say how pixels are stored: also photometric interpretation, fill order, samples, predictor, colours of a
#: palette, extra samples, JPEG tables, and those of YCbCr.
_OF_PIXELS = (256, 257, 258, 259, 262, 266, 274, 277, 278, 284, 317, 320, 322, 323, 338, 339, 347, 529, 530, 531, 532)


class FileContents:
    """The contents of an open file, of which slices are read when they are asked for."""

    def __init__(self, file: BinaryIO):
        self._handle, self._size = file.fileno(), os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._handle, max(0, stop - start), start)


Contents = Union[bytes, FileContents]


@dataclass(frozen=True)
class _Entry:
    """A tag's type, the number of its values, and where they are in the file."""

    kind: int
    count: int
    start: int

    @property
    def size(self) -> int:
        """Of the values in bytes."""
        return self.count * _BYTES.get(self.kind, 1)


class Directory:
    """The directory of the first page.

    Raises:
        struct.error: the file ends before it; also from the methods, about values and pieces.
    """

    def __init__(self, data: Contents):
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        (at,) = self._numbers("I", 4)
        (count,) = self._numbers("H", at)
        self._entries: Dict[int, _Entry] = {}
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, values = self._numbers("HHI", place)
            entry = _Entry(kind, values, place + 8)
            if entry.size > 4:
                entry = _Entry(kind, values, *self._numbers("I", place + 8))
            self._entries.setdefault(tag, entry)  # of two with one tag, the first counts

    def count(self, tag: int) -> int:
        """The number of a tag's values; 0 if it is missing, or has other values than whole numbers."""
        entry = self._entries.get(tag)
        return entry.count if entry and entry.kind in (_SHORT, _LONG) else 0

    def first(self, tag: int, absent: int = 0) -> int:
        """The first of a tag's whole numbers, or ``absent``."""
        return next(iter(self._values(tag, most=1)), absent)

    def pieces(self) -> Tuple[Sequence[int], Sequence[int]]:
        """Where the strips or tiles are, and how long."""
        return self._values(STRIPS) or self._values(TILES), self._values(STRIP_SIZES) or self._values(TILE_SIZES)

    def divisible(self) -> bool:
        """Whether :meth:`bands` can divide the image: its pieces lie upright in order, each with all channels."""
        offsets, sizes = self.pieces()
        height, rows = self.first(HEIGHT), self._piece_rows()
        return (
            self.first(COMPRESSION, 1) in _DIVISIBLE
            and self.first(ORIENTATION, 1) == self.first(PLANAR, 1) == 1
            and (self.count(STRIPS) > 0) != (self.count(TILE_WIDTH) > 0)
            and 0 < rows < height
            and len(offsets) == len(sizes) == self._pieces_across() * -(-height // rows)
            and sum(sizes) <= len(self._data)
            and sum(entry.size for entry in self._of_pixels().values()) <= _MOST_COPIED
        )

    def bands(self) -> Iterator[Tuple[slice, bytes]]:
        """Bands of rows from the top, each with a TIFF file of its pixels; at least one row of strips or tiles."""
        offsets, sizes = self.pieces()
        height, rows, across = self.first(HEIGHT), self._piece_rows(), self._pieces_across()
        together = max(1, BAND // (rows * self.first(WIDTH)))  # rows of pieces
        for start in range(0, len(offsets), together * across):
            top = start // across * rows
            band = slice(top, min(height, top + together * rows))
            places = zip(offsets[start : start + together * across], sizes[start : start + together * across])
            yield band, self._file(band.stop - top, [self._bytes(at, size) for at, size in places])

    def _piece_rows(self) -> int:
        return self.first(STRIP_ROWS) if self.count(STRIPS) else self.first(TILE_HEIGHT)

    def _pieces_across(self) -> int:
        return 1 if self.count(STRIPS) else -(-self.first(WIDTH) // max(1, self.first(TILE_WIDTH)))

    def _of_pixels(self) -> Dict[int, _Entry]:
        return {tag: self._entries[tag] for tag in _OF_PIXELS if tag in self._entries}

    def _file(self, height: int, pieces: Sequence[bytes]) -> bytes:
        """A TIFF file of these strips or tiles: a header of 8 bytes, the pieces, the directory, its longer values."""
        starts = list(itertools.accumulate((len(piece) for piece in pieces), initial=8))
        of_strips = self.count(STRIPS) > 0
        values = {tag: (e.kind, e.count, self._bytes(e.start, e.size)) for tag, e in self._of_pixels().items()}
        values[HEIGHT] = self._longs([height])
        values[STRIPS if of_strips else TILES] = self._longs(starts[:-1])
        values[STRIP_SIZES if of_strips else TILE_SIZES] = self._longs([len(piece) for piece in pieces])
        directory_at = starts[-1] + starts[-1] % 2
        longer_at = directory_at + 2 + 12 * len(values) + 4
        directory, longer = self._pack("H", len(values)), b""
        for tag, (kind, count, stored) in sorted(values.items()):
            if len(stored) > 4:
                at = self._pack("I", longer_at + len(longer))
                longer += stored + bytes(len(stored) % 2)
                stored = at
            directory += self._pack("HHI", tag, kind, count) + stored.ljust(4, b"\0")
        head = self._data[:4] + self._pack("I", directory_at)
        return b"".join([head, *pieces, bytes(starts[-1] % 2), directory, bytes(4), longer])

    def _longs(self, values: Sequence[int]) -> Tuple[int, int, bytes]:
        return _LONG, len(values), self._pack(f"{len(values)}I", *values)

    def _values(self, tag: int, most: Optional[int] = None) -> Sequence[int]:
        """A tag's whole numbers, or the first ``most`` of them."""
        count = self.count(tag) if most is None else min(most, self.count(tag))
        if not count:
            return ()
        entry = self._entries[tag]
        return self._numbers(f"{count}{'H' if entry.kind == _SHORT else 'I'}", entry.start)

    def _pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self._order + form, *values)

    def _numbers(self, form: str, at: int) -> Tuple[int, ...]:
        form = self._order + form
        return struct.unpack(form, self._bytes(at, struct.calcsize(form)))

    def _bytes(self, at: int, size: int) -> bytes:
        found = self._data[at : at + size]
        if len(found) < size:
            raise struct.error
        return found
