"""The subset of NumPy's .npy format that the golden output needs, float32 in C order, bounded before it is read.

``deploy/cpp/src/npy.cpp`` is the same in C++: both read and refuse the same files.
"""

import math
import os
import re

import numpy as np

from .errors import InputError
from .files import Array

MAX_HEADER = 1000
MAX_AXES = 4
MAX_DIGITS = 9  #: of the length of an axis
_PREFIX = re.compile(rb"\x93NUMPY\x01\x00(..)", re.DOTALL)
_HEADER = re.compile(rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \}[ \n]*")


def read_npy(path: str) -> Array:
    """Read a regular .npy file of float32.

    Raises:
        InputError: it cannot be read, is damaged or of another type.
    """
    try:
        with open(path, "rb") as f:
            return _read(f.read(os.fstat(f.fileno()).st_size), path)
    except OSError as e:
        raise InputError(f"cannot read {path} ({e.strerror}); copy the whole folder of the exported model") from e


def _read(data: bytes, path: str) -> Array:
    def damaged(why: str) -> InputError:
        return InputError(f"{path} is not a .npy file of float32 in C order ({why}); export the model again")

    prefix = _PREFIX.match(data)
    if not prefix:
        raise damaged("no NumPy header")
    start, length = prefix.end(), int.from_bytes(prefix[1], "little")
    header = _HEADER.fullmatch(data, start, start + length)
    axes = re.findall(b"[0-9]+", header[1]) if header else []
    if not header or length > MAX_HEADER or len(data) < start + length:
        raise damaged("another header")
    if len(axes) > MAX_AXES or any(len(axis) > MAX_DIGITS for axis in axes):
        raise damaged("another header")
    shape = [int(axis) for axis in axes]
    if len(data) - start - length != 4 * math.prod(shape):
        raise damaged("cut short")
    return np.frombuffer(data, "<f4", offset=start + length).reshape(shape)
