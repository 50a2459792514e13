"""Labels: what is read from each kind of file, and what is refused."""

import os
import struct
import zlib

import numpy as np
import pytest
from image_files import opencv, pillow
from PIL import Image

from paddle_rtseg.data.labels import read_label
from paddle_rtseg.errors import InputError

IDS = np.random.default_rng(0).integers(0, 2, (30, 40), dtype=np.uint8)
GREY = Image.fromarray(IDS)


def palette(ids, colours):
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette(colours)
    return image


def wide(ids):
    return ids.astype(np.uint16) + 1000


def png_of(height, width, rows, bits=8):
    """A grey PNG that states a size, and holds these rows of bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


GOOD = {
    "grey": (pillow("png", GREY), IDS),
    "grey BMP": (pillow("bmp", GREY), IDS),
    "grey TIFF": (pillow("tiff", GREY, compression="tiff_lzw"), IDS),
    "grey PPM": (pillow("ppm", GREY), IDS),
    "palette": (pillow("png", palette(IDS, [255, 0, 0, 0, 0, 255])), IDS),
    "palette of one colour": (pillow("png", palette(IDS, [0] * 6)), IDS),
    "palette with transparency": (pillow("png", palette(IDS, [0] * 6), transparency=0), IDS),
    "palette BMP": (pillow("bmp", palette(IDS, [255, 0, 0, 0, 0, 255])), IDS),
    "bits": (pillow("png", GREY.point(lambda i: 255 * i).convert("1")), IDS),
    "4 bits": (png_of(1, 4, [[0x01, 0x2F]], bits=4), [[0, 17, 34, 255]]),
    "16 bits": (opencv(".png", wide(IDS)), wide(IDS)),
    "16 bits TIFF": (opencv(".tiff", wide(IDS)), wide(IDS)),
    "16 bits PPM": (b"P5 2 1 65535\n\x03\xe8\x03\xe9", [[1000, 1001]]),
    "bytes after the end": (pillow("png", GREY) + b"\0" * 2000, IDS),
}


def write(tmp_path, content):
    path = tmp_path / "label.png"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("kind", GOOD)
def test_labels(tmp_path, kind):
    content, expected = GOOD[kind]
    ids = read_label(write(tmp_path, content))
    np.testing.assert_array_equal(ids, expected)
    assert ids.dtype == (np.int32 if "16" in kind else np.uint8)


def half(content):
    return content[: len(content) // 2]


COLOURS = Image.fromarray(np.dstack([IDS] * 3))
BAD = {
    "colours": (pillow("png", COLOURS), "3 channels of type RGB; save the ids"),
    "colours PPM": (pillow("ppm", COLOURS), "got colours"),
    "colours WebP": (pillow("webp", COLOURS), "got colours"),
    "alpha": (pillow("png", GREY.convert("LA")), "2 channels of type LA"),
    "palette with alpha": (pillow("tiff", palette(IDS, [0] * 6).convert("PA")), "got"),
    "float": (pillow("tiff", GREY.convert("F")), "8 or 16 bits"),
    "JPEG": (opencv(".jpg", IDS), "got a JPEG, which changes them"),
    "GIF": (pillow("gif", GREY), "the header of no format"),
    "PostScript": (pillow("eps", GREY), "the header of no format"),
    "text": (b"not an image", "the header of no format"),
    "empty": (b"", "is empty"),
    "cut short": (half(pillow("png", GREY)), "is cut short"),
    "cut short TIFF": (half(pillow("tiff", GREY)), "is cut short"),
    "rows missing": (png_of(30, 40, [[0] * 40] * 10), "cannot be decoded"),
    "damaged": (png_of(30, 40, [[0] * 40] * 30).replace(b"\x78\x9c", b"\x78\x00"), "cannot be decoded"),
    "too large": (png_of(10**5, 10**5, [[0] * 40]), "at most 100 megapixels .*, got 100000 x 100000"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_refused(tmp_path, kind):
    content, words = BAD[kind]
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=words) as error:
        read_label(path)
    assert path in str(error.value) and len(str(error.value)) < 300 + len(path)


def test_pipes_and_folders(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="not a regular file"):
            read_label(str(path))


def test_limit_of_pixels(tmp_path, monkeypatch):
    """Ours alone: Pillow has another one."""
    path = write(tmp_path, opencv(".png", np.zeros((1000, 1001), np.uint8)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_label(path).shape == (1000, 1001)
    monkeypatch.setenv("RTSEG_MEGAPIXELS", "1")
    with pytest.raises(InputError, match="at most 1 megapixels"):
        read_label(path)
