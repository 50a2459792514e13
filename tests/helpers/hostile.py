"""Pickles by hand, as somebody would write them who wants to harm the reader."""

import os
import pickle
from typing import Any

#: Instructions, as in :mod:`pickle`.
REDUCE, BUILD, MARK, TUPLE, STOP = b"R", b"b", b"(", b"t", b"."
EMPTY_DICT, SETITEM, EMPTY_TUPLE, TUPLE2, POP, DUP_MEMO = b"}", b"s", b")", b"\x86", b"0", b"\x94"


def dump(value: Any) -> bytes:
    """The instructions that push a plain value."""
    return pickle.dumps(value, protocol=2)[2:-1]


def named(module: str, name: str) -> bytes:
    """The instruction that pushes a global."""
    return f"c{module}\n{name}\n".encode()


def program(*instructions: bytes) -> bytes:
    return b"\x80\x04" + b"".join(instructions) + STOP


def state(*value: bytes) -> bytes:
    """A pickled dict with the one entry "w"."""
    return program(EMPTY_DICT, dump("w"), *value, SETITEM)


class Command:
    """Unpickling it creates the file ``path``."""

    def __init__(self, path: Any):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)
