"""Pieces of ONNX files, and whether they refer to another file; the readers in Python and C++ are held to the same."""

PIECES = {
    "as programs write it": (b"j\x17\n\x08location\x12\x0b/etc/passwd", True),
    "value before the key": (b"j\x17\x12\x0b/etc/passwd\n\x08location", True),
    "numbers with leading zeros": (b"j\x1b\x8a\x80\x00\x88\x80\x00location\x12\x0b/etc/passwd", True),
    "after names that contain the word": (b"location\n\x0arelocation\n\x08location", True),
    "part of a longer name": (b"\n\x0dlocation.conv", False),
    "end of a longer name": (b"\n\x12\x8a\x88relocation", False),
    "zeros before it": (b"\x00\x80\x80\x00location", False),
    "start of the file": (b"location", False),
    "nothing": (b"", False),
}
