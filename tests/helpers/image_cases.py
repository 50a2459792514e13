"""Image files that are refused, and names of results; the readers in Python and in C++ are held to the same."""

import struct
import zlib

import cv2
import numpy as np
from image_files import opencv


def png(width, height, pixels=b""):
    """A PNG of 8-bit grey with that header, whatever its pixels are."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(pixels),
        b"IEND": b"",
    }
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff(*entries):
    packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(100)


def many_scans():
    """A progressive JPEG that would be refined 2000 times."""
    whole = opencv(".jpg", np.zeros((2000, 2000), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * 2000 + b"\xff\xd9"


HUGE, MANY = 33000, "at most 100 megapixels"
HUGE_JPEG = b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xda\0\x08\1\1\0\0?\0\xff\xd9"
#: Names and contents of files, and a part of the message that refuses each.
HOSTILE = [
    ("huge.png", png(HUGE, HUGE), MANY + r" and 65500 pixels a side, got 33000 x 33000; shrink '.*huge.png'"),
    ("huge.jpg", HUGE_JPEG, MANY),
    ("huge.bmp", b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, HUGE, -HUGE, 1, 24, 1) + bytes(20), MANY),
    ("huge.ppm", b"P1\n33000 33000\n" + b"1" * 10, "is cut short"),
    ("huge.webp", b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\0\xff\xff\0\0\0\0\0", MANY),
    ("huge.tif", tiff((256, HUGE), (257, HUGE), (273, 8), (279, 8)), MANY),
    ("tiles.tif", tiff((256, 8), (257, 8), (322, HUGE), (323, HUGE), (324, 8), (325, 8)), "too large"),
    ("strip.tif", tiff((256, 9000), (257, 9000), (273, 8), (279, 1 << 30)), "is cut short"),
    ("float.tif", opencv(".tif", np.zeros((4, 4), np.float32)), "another kind than 8 or 16 bits"),
    ("zero.png", png(0, 5), "has no pixels"),
    ("short.png", png(50, 50, bytes(20)), "cannot be decoded"),
    ("gif.png", b"GIF89a" + bytes(50), "the header of no format"),
    ("text.jpg", b"not an image", "the header of no format"),
    ("empty.png", b"", "is empty"),
    ("scans.jpg", many_scans(), "has .* scans"),
    ("segments.jpg", b"\xff\xd8" + b"\xff\xe0\0\2" * 100_001, "has more than 100000 segments"),
]

#: Paths, and the names of their results.
NAMES = [
    (["a.png", "b.jpg"], ["a", "b"]),
    (["x.jpg", "x.png"], ["x.jpg", "x.png"]),
    (["x.jpg", "x.png", "x.png.png"], ["x.jpg", "x.png", "x.png.png"]),
    (["A.png", "a.jpg"], ["A.png", "a.jpg"]),
    (["A.png", "a.png"], ["A.png", "a.png-2"]),
    (["D/a.png", "d/a.png", "d/b.png"], ["D/a.png", "d/a.png-2", "d/b"]),
    (["a.png", "a.png/b.png"], ["a.png", "a.png/b"]),
    (["a.bmp", "A.JPG/b.png"], ["a.bmp", "A.JPG/b"]),
    (["a.bmp", "a.json/b.png"], ["a.bmp", "a.json/b"]),
    (["a.avi", "A.mp4/b.png"], ["a.avi", "A.mp4/b"]),
    (["X.png", "x.png", "x.png-2.jpg"], ["X.png", "x.png-2", "x.png-2-2"]),
    (["\u00c4.png", "\u00e4.png"], ["\u00c4", "\u00e4"]),
]
