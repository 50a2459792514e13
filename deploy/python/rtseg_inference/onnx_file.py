"""What an ONNX file may refer to: nothing. ``deploy/cpp/src/onnx_file.cpp`` refuses the same files."""

import mmap
import os
import re

from .errors import InputError

#: A tensor names the file of its data under the key "location": field 1 of an entry, of 8 bytes, both numbers in base
#: 128 with as many leading zeros as a reader accepts. Only an input or output named "location" looks the same.
_KEY = b"location"
_BEFORE_KEY = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)\Z")
_LONGEST = 20


def check_self_contained(path: str) -> None:
    """Refuse an ONNX file with tensors in other files, which may lie anywhere.

    Raises:
        InputError: it has some.
    """
    if not os.path.getsize(path):
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_KEY)
        while at >= 0:
            if _BEFORE_KEY.search(data[max(0, at - _LONGEST) : at]):
                raise InputError(
                    f"expected {path} to hold all tensors itself, got one that names another file; export the model "
                    "again"
                )
            at = data.find(_KEY, at + 1)
