"""Measuring what a call needs."""

import tracemalloc
from typing import Callable, Tuple, TypeVar

Result = TypeVar("Result")


def peak_bytes(call: Callable[[], Result]) -> Tuple[Result, int]:
    """What ``call`` returns, and the most bytes that arrays and objects of Python took meanwhile."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
