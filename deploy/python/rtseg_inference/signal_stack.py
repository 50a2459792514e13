"""The memory on which this thread handles signals, kept while a library runs that replaces it.

Python handles signals on the stack that is set for them, if there is one, as ``faulthandler`` and pytest set it. An
exception inside OpenVINO, in a process that has loaded Paddle, leaves another stack in its place, whose memory is then
returned: the next signal, such as Ctrl-C or the end of a child process, ends Python with a segmentation fault.
"""

import contextlib
import ctypes
from typing import Iterator, Tuple


class _Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]  # stack_t


_sigaltstack = getattr(ctypes.CDLL(None), "sigaltstack", None)


def current() -> Tuple[int, int, int]:
    """Address, flags and size of this thread's stack for signals; flags of 2 mean that there is none."""
    stack = _Stack()
    if _sigaltstack is not None:
        _sigaltstack(None, ctypes.byref(stack))
    return stack.address or 0, stack.flags, stack.size


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Set this thread's stack for signals again when leaving, whatever happened inside."""
    address, flags, size = current()
    try:
        yield
    finally:
        if _sigaltstack is not None and (address, flags, size) != current():
            _sigaltstack(ctypes.byref(_Stack(address, flags, size)), None)
