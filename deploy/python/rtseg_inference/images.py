"""What counts as an image file, how one is found and read, and what it may cost. docs/images.md states the rules.

The header of a file is parsed here, before OpenCV allocates anything for its pixels.
"""

import contextlib
import itertools
import os
import re
import stat
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import (
    BinaryIO,
    Callable,
    Collection,
    Container,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)
from typing import Counter as CounterOf

import cv2
import numpy as np

from . import tiff
from .errors import InputError
from .files import Array
from .tiff import Contents

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
RESULT_SUFFIXES = (".png", ".jpg", ".json", ".mp4")

#: Megapixels (10**6) of an image, and of the network's input; the environment variable RTSEG_MEGAPIXELS overrides it.
MEGAPIXELS, MOST_MEGAPIXELS = 100, 1000
MOST_SIDE = 65500  #: pixels; libjpeg writes no more
FILE_BYTES, MOST_FILE_BYTES = 1 << 30, (1 << 31) - (1 << 20)  #: or 4 for each pixel of the limit, between the two
#: Pixels of an image of which none other is in memory at the same time; a larger TIFF is decoded in bands.
LARGE = 25_000_000
#: Decoding a JPEG of many scans costs its pixels once for each scan: together at most this many times the limit.
JPEG_SCANS = 20
_PNG_CHUNKS, _JPEG_SEGMENTS, _TIFF_STRIPS = 1_000_000, 100_000, 1_000_000


class Header(NamedTuple):
    """What the header of an image file says."""

    height: int
    width: int
    end: int  #: where the image ends in the file; bytes after it are ignored
    one_scan: bool = False  #: a JPEG whose pixels lie in one scan


class Refused(Exception):
    """Why a file is not an image: the end of a sentence."""


class TooLarge(InputError):
    """An image has more pixels than the limit."""


CUT_SHORT = "is cut short"


def read_image(path: str, flags: int = cv2.IMREAD_COLOR) -> Array:
    """Decode an image file, by default to (H, W, 3) uint8 BGR.

    Raises:
        InputError: the file is missing, is not an image, is cut short, or exceeds a limit.
    """
    with _opened(path) as data:
        return _image(data, flags, repr(path))


def decode_image(data: bytes, named: str = "data", flags: int = cv2.IMREAD_COLOR) -> Array:
    """Decode the contents of an image file, by default to (H, W, 3) uint8 BGR.

    Args:
        named: what it is called in a message.

    Raises:
        TooLarge: it has too many pixels; none has been decoded.
        InputError: it is not an image, is cut short, or exceeds another limit.
    """
    return _image(data, flags, named)


def read_encoded(path: str) -> Tuple[bytes, Header]:
    """The bytes of an image file up to the image's end, and its header; no pixel is decoded.

    Raises:
        InputError: as :func:`read_image`, as far as can be told without decoding.
    """
    with _opened(path) as data:
        return check_encoded(data[:], repr(path))


def check_encoded(data: bytes, named: str) -> Tuple[bytes, Header]:
    """The same, of the contents of an image file; ``named`` is what it is called in a message."""
    header = _checked(data, named)
    return data[: header.end], header


def fits(height: int, width: int) -> bool:
    """Whether an image of that size is within the limits."""
    return height * width <= pixel_limit() and max(height, width) <= MOST_SIDE


def too_large(height: int, width: int) -> str:
    """The beginning of a sentence about an image that does not fit."""
    return (
        f"expected an image of at most {pixel_limit() // 10**6} megapixels and {MOST_SIDE} pixels a side, got "
        f"{width} x {height}"
    )


def pixel_limit() -> int:
    """The pixels that an image and the network's input may have.

    Raises:
        InputError: RTSEG_MEGAPIXELS is not a number of megapixels.
    """
    text = os.environ.get("RTSEG_MEGAPIXELS") or str(MEGAPIXELS)
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 0 < int(text) <= MOST_MEGAPIXELS:
        raise InputError(f"expected RTSEG_MEGAPIXELS from 1 to {MOST_MEGAPIXELS}, got {text[:100]!r}; correct it")
    return int(text) * 10**6


@dataclass(frozen=True)
class Found:
    """The images of a file, a folder or a list."""

    root: str  #: the folder that their names are relative to
    paths: List[str]
    others: CounterOf[str] = field(default_factory=Counter)  #: files that are no images, by suffix

    @property
    def relative(self) -> List[str]:
        """The paths relative to ``root``; none leads out of it, even where a list of images does."""
        return [re.sub(r"^(\.\./)+", "", os.path.relpath(p, self.root or ".")) for p in self.paths]

    @property
    def names(self) -> List[str]:
        """Where the results of each go; see :func:`unique_names`."""
        return unique_names(self.relative)

    @property
    def not_taken(self) -> str:
        """A line about the files that are no images; empty if there are none."""
        counts = [f"{n} {suffix or 'without an extension'}" for suffix, n in sorted(self.others.items())]
        line = "not taken: " + ", ".join(counts) if counts else ""
        of_videos = any(suffix in VIDEO_SUFFIXES for suffix in self.others)
        return line + ("; to segment a video, name it as the --input of infer" if of_videos else "")


def find_images(
    path: str, leave_out: Collection[str] = (), lists: bool = False, suffixes: Tuple[str, ...] = IMAGE_SUFFIXES
) -> Found:
    """The images at ``path``: a file, or a folder with the folders below it.

    Names that begin with a dot are left out, and links to folders are not followed.

    Args:
        leave_out: folders that are not searched.
        lists: also take a .txt file with the path of an image at the start of each line, relative to the file.
        suffixes: of the files that are taken from a folder.

    Raises:
        InputError: there are none.
    """
    if os.path.isdir(path):
        found = _searched(path, {os.path.realpath(folder) for folder in leave_out}, suffixes)
    elif lists and path.lower().endswith(".txt"):
        found = Found(os.path.dirname(path), _listed(path))
    elif path.lower().endswith(IMAGE_SUFFIXES):
        return Found(os.path.dirname(path), [path])
    else:
        raise InputError(f"expected an image ({', '.join(IMAGE_SUFFIXES)}) or a folder, got {path!r}; convert it")
    if not found.paths:
        others = f" ({found.not_taken})" if found.others else ""
        raise InputError(f"expected images ({', '.join(IMAGE_SUFFIXES)}) in {path!r}, got none{others}; add some")
    return found


def result_folders(source: str, save_dir: str, kinds: Sequence[str]) -> List[str]:
    """The folders that a search of ``source`` leaves out, so that no run takes its own results for images.

    Args:
        kinds: the folders of results in ``save_dir``.

    Raises:
        InputError: the results would overwrite the images.
    """
    save_dir = os.path.realpath(save_dir)
    root = os.path.realpath(source if os.path.isdir(source) else os.path.dirname(source))
    folders = [os.path.join(save_dir, kind) for kind in kinds]
    if root in folders:
        raise InputError(f"expected images other than the results in {save_dir!r}, got {source!r}; choose others")
    return folders if root == save_dir else [save_dir]


def unique_names(paths: Sequence[str]) -> List[str]:
    """Names for the results of ``paths``, of which no two are equal, not even where upper and lower case are one.

    A name is the path without its suffix, or with it where another file would have the same name, or where the suffix
    of a result after it makes the name of a folder of results. What still is not unique gets a number.
    """
    stems = [os.path.splitext(p)[0] for p in paths]
    folders = {_lower(folder) for p in paths for folder in _parents(p)}

    def clashes(name: str, taken: Container[str]) -> bool:
        return _lower(name) in taken or any(_lower(name + suffix) in folders for suffix in RESULT_SUFFIXES)

    names = stems
    while True:
        count = Counter(map(_lower, names))
        shared = {name for name, n in count.items() if n > 1}
        longer = [p if clashes(name, shared) else name for name, p in zip(names, paths)]
        if longer == names:
            break
        names = longer
    unique: Dict[str, str] = {}  # by name in lower case
    for name in names:
        candidates = itertools.chain([name], (f"{name}-{k}" for k in itertools.count(2)))
        chosen = next(c for c in candidates if not clashes(c, unique))
        unique[_lower(chosen)] = chosen
    return list(unique.values())


def _lower(text: str) -> str:
    """Only A to Z, as in C++."""
    return re.sub("[A-Z]+", lambda m: m[0].lower(), text)


def _parents(path: str) -> Iterator[str]:
    while os.path.dirname(path) not in ("", path):
        path = os.path.dirname(path)
        yield path


def _searched(root: str, leave_out: Collection[str], suffixes: Tuple[str, ...]) -> Found:
    found = Found(root, [])
    unreadable: List[str] = []
    walk = os.walk(root, onerror=lambda e: unreadable.append(e.filename))
    folders = []
    for folder, below, files in walk:
        below[:] = [
            d for d in below if not d.startswith(".") and os.path.realpath(os.path.join(folder, d)) not in leave_out
        ]
        folders.append((folder, sorted(f for f in files if not f.startswith("."))))
    for folder, files in sorted(folders):
        for file in files:
            if file.lower().endswith(suffixes):
                found.paths.append(os.path.join(folder, file))
            else:
                found.others[os.path.splitext(file)[1].lower()] += 1
    found.paths.extend(unreadable)  # reading them says why
    return found


def _listed(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8") as f:
            words = [line.split() for line in f]
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"expected a text file that lists images, got {path!r} ({e}); correct it") from e
    return [os.path.join(os.path.dirname(path), line[0]) for line in words if line]


def _error(named: str, reason: str) -> InputError:
    return InputError(f"expected an image, got {named}, which {reason}; replace or remove it")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Contents]:
    """The contents of an image file; those of a TIFF are read when they are asked for."""
    try:
        with _open_regular(path) as file:
            contents = tiff.FileContents(file)
            yield contents if contents[:4] in tiff.SIGNATURES else contents[:]
    except OSError as e:
        raise InputError(f"cannot read the image {path!r} ({e.strerror}); check the path") from e
    except Refused as e:
        raise _error(repr(path), str(e)) from None


def _open_regular(path: str) -> BinaryIO:
    """Open a file for reading; nothing but a regular file is opened."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode) and not os.access(path, os.R_OK | os.X_OK):
        raise Refused("is a folder that cannot be searched")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("is not a regular file")
    most = max(FILE_BYTES, min(4 * pixel_limit(), MOST_FILE_BYTES))
    if status.st_size > most:
        raise Refused(f"has more than {most >> 20} MiB")
    return open(path, "rb")


def _checked(data: Contents, named: str) -> Header:
    """The header of an image that is within the limits."""
    try:
        header = _parsed(data)
        if header.height < 1 or header.width < 1:
            raise Refused("has no pixels")
    except Refused as e:
        raise _error(named, str(e)) from None
    if not fits(header.height, header.width):
        raise TooLarge(f"{too_large(header.height, header.width)}; shrink {named}, or raise RTSEG_MEGAPIXELS")
    return header


def _parsed(data: Contents) -> Header:
    """The header of an image.

    Raises:
        Refused: it has none that is known here, or lacks a part.
    """
    if not len(data):
        raise Refused("is empty")
    for signature, parse in _FORMATS.items():
        if data[: len(signature)] == signature:
            try:
                return parse(data)
            except (struct.error, IndexError, ValueError):  # a part lies beyond the end
                raise Refused(CUT_SHORT) from None
    raise Refused("has the header of no format that is read here")


def _image(data: Contents, flags: int, named: str) -> Array:
    header = _checked(data, named)
    if flags == cv2.IMREAD_COLOR and data[:4] in tiff.SIGNATURES and header.height * header.width > LARGE:
        large = _in_bands(data, header, named)
        if large is not None:
            return large
    encoded = data[: header.end]
    image = _decoded(encoded, flags)
    if image is None or (header.one_scan and _flat_corner(image) and not _complete_scan(encoded, header)):
        raise _error(named, CUT_SHORT if image is not None else "cannot be decoded")
    return image


def _in_bands(data: Contents, header: Header, named: str) -> Optional[Array]:
    """The (H, W, 3) uint8 BGR pixels of a TIFF, without all of its file in memory; None if it cannot be divided."""
    try:
        directory = tiff.Directory(data)
        if not directory.divisible():
            return None
        # With room for a legend below, which takes no memory until it is drawn.
        image = np.empty((header.height + header.height // 3, header.width, 3), np.uint8)[: header.height]
        for rows, part in directory.bands():
            band = _decoded(part, cv2.IMREAD_COLOR)
            if band is None or band.shape != image[rows].shape:
                raise _error(named, "cannot be decoded")
            image[rows] = band
    except struct.error:  # a value lies beyond the end, or the file has shrunk
        raise _error(named, CUT_SHORT) from None
    return image


def _decoded(data: bytes, flags: int) -> Optional[Array]:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # its own limits, or memory
        return None


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    if data[12:16] != b"IHDR":
        raise Refused("has a damaged header")
    at = 8
    for _ in range(_PNG_CHUNKS):
        size, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + size
        if at > len(data):
            raise Refused(CUT_SHORT)
        if kind == b"IEND":
            return Header(height, width, at)
    raise Refused(f"has more than {_PNG_CHUNKS} chunks")


_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # without "\xff+", 20 times as fast


def _jpeg(data: bytes) -> Header:
    """Walks the segments; the compressed pixels of a scan lie between its header and the next marker."""
    size: Optional[Tuple[int, int]] = None
    scans, at = 0, 2
    #: The bits that are still missing of the 64 coefficients of each component; 16 before the first scan.
    missing: Dict[int, List[int]] = {}
    for _ in range(_JPEG_SEGMENTS):
        marker = _JPEG_MARKER.search(data, at)
        if marker is None:
            raise Refused(CUT_SHORT)
        kind, at = data[marker.end() - 1], marker.end()
        if kind == 0xD9:
            break
        if kind == 0x01:  # has no length
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if kind in _JPEG_FRAMES and size is None:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            size = height, width
            missing = {data[at + 8 + 3 * k]: [16] * 64 for k in range(components)}
        elif kind == 0xDA:
            scans += 1
            in_scan = data[at + 3 : at + 3 + 2 * min(data[at + 2], 4) : 2]  # libjpeg takes no more than 4
            first, last, bits = data[at + length - 3 : at + length]
            for name in in_scan:
                if name in missing:
                    missing[name][first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
        at += length
    else:
        raise Refused(f"has more than {_JPEG_SEGMENTS} segments")
    if size is None or any(map(any, missing.values())):
        raise Refused(CUT_SHORT)
    if scans > JPEG_SCANS and scans * size[0] * size[1] > JPEG_SCANS * pixel_limit():
        raise Refused(f"has {scans} scans, too many for its size")
    return Header(*size, at, scans == 1)


def _flat_corner(image: Array) -> bool:
    """Whether a corner has one colour, as it has where pixels are missing: the last corner, before EXIF rotation."""
    corners = (image[rows, columns] for rows in _ENDS for columns in _ENDS)
    return any((c == c[0, 0]).all() for c in corners)


_ENDS = (slice(0, 4), slice(-4, None))
_NOISE = bytes(np.random.RandomState(0).randint(0, 255, 4093).astype(np.uint8))  # without 255, which begins a marker


def _complete_scan(data: bytes, header: Header) -> bool:
    """Whether a JPEG's one scan holds all pixels; libjpeg fills in those that are missing.

    Bytes that follow the scan are decoded, and change pixels, only if some are missing. Without an end marker libjpeg
    stops after the scan, and does not complain about them.
    """
    scan = data[:-2]
    noise = _NOISE * (1 + 64 * header.width // len(_NOISE))
    as_stored, lengthened = (_decoded(d, cv2.IMREAD_REDUCED_GRAYSCALE_8) for d in (data, scan + noise))
    return as_stored is not None and lengthened is not None and np.array_equal(as_stored, lengthened)


def _bmp(data: bytes) -> Header:
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)
    if compression in (0, 3) and start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise Refused(CUT_SHORT)
    return Header(height, width, len(data))


_PPM_HEADER = re.compile(rb"P([1-6])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 2 + rb"(?=\s|#)")
_PPM_MAXIMUM = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,5})\s")


def _ppm(data: bytes) -> Header:
    match = _PPM_HEADER.match(data[:4096])
    if match is None:
        raise Refused("has a damaged header")
    kind, width, height = map(int, match.groups())
    start, bytes_each = match.end() + 1, 1
    if kind not in (1, 4):
        maximum = _PPM_MAXIMUM.match(data[:8192], match.end())
        if maximum is None or not 0 < int(maximum[1]) < 1 << 16:
            raise Refused("has a damaged header")
        start, bytes_each = maximum.end(), 1 + (int(maximum[1]) > 255)
    row = (width + 7) // 8 if kind == 4 else width * bytes_each * (3 if kind in (3, 6) else 1)
    if len(data) < start + row * height:  # in text, a number has at least that many characters
        raise Refused(CUT_SHORT)
    return Header(height, width, len(data))


def _webp(data: bytes) -> Header:
    size, form, kind = struct.unpack_from("<I4s4s", data, 4)
    if form != b"WEBP":
        raise Refused("has the header of no format that is read here")
    end = 8 + size
    if end > len(data):
        raise Refused(CUT_SHORT)
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    else:
        raise Refused("has a damaged header")
    return Header(height, width, end)


def _tiff(data: Contents) -> Header:
    """Of the first page."""
    directory = tiff.Directory(data)
    for pieces in (tiff.STRIPS, tiff.STRIP_SIZES, tiff.TILES, tiff.TILE_SIZES):
        if directory.count(pieces) > _TIFF_STRIPS:
            raise Refused(f"has more than {_TIFF_STRIPS} pieces")
    width, height = directory.first(tiff.WIDTH), directory.first(tiff.HEIGHT)
    if directory.first(tiff.SAMPLE_FORMAT, 1) not in (1, 4) or directory.first(tiff.BITS, 1) > 16:
        raise Refused("has pixels of another kind than 8 or 16 bits")
    rows = directory.first(tiff.STRIP_ROWS)
    tile = directory.first(tiff.TILE_WIDTH) * directory.first(tiff.TILE_HEIGHT)
    if max(tile, rows * width if rows < height else 0) > pixel_limit():
        raise Refused("is stored in pieces that are too large")
    offsets, sizes = directory.pieces()
    if not offsets or len(offsets) != len(sizes):
        raise Refused("has a damaged header")
    if max(map(sum, zip(offsets, sizes))) > len(data):
        raise Refused(CUT_SHORT)
    return Header(height, width, len(data))


_FORMATS: Dict[bytes, Callable[..., Header]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8": _jpeg,
    b"BM": _bmp,
    b"RIFF": _webp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    **{b"P%d" % k: _ppm for k in range(1, 7)},
}
