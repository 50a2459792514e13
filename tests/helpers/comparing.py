"""Comparisons that cannot pass by comparing less than they should."""

import itertools
from typing import Any, Dict, Iterable, Iterator, Mapping, Tuple

import numpy as np
import paddle

_MISSING = object()


def zip_strict(*iterables: Iterable[Any]) -> Iterator[Tuple[Any, ...]]:
    """``zip(*iterables, strict=True)``, which Python 3.9 does not have.

    Raises:
        ValueError: one of the iterables is shorter than another.
    """
    for items in itertools.zip_longest(*iterables, fillvalue=_MISSING):
        if any(item is _MISSING for item in items):
            raise ValueError("expected iterables of the same length, one is shorter")
        yield items


def load_arrays(path: Any) -> Dict[str, np.ndarray]:
    """The arrays of a ``.pdparams`` file."""
    return {key: np.asarray(value) for key, value in paddle.load(str(path)).items()}


def same_state(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two states have the same names and exactly the same values."""
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def assert_states_close(a: Mapping[str, Any], b: Mapping[str, Any], rtol: float = 1e-4, atol: float = 1e-6) -> None:
    assert a and a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=rtol, atol=atol, err_msg=key)


def largest_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The largest absolute difference of two states' values."""
    assert a and a.keys() == b.keys()
    return max(float(np.abs(np.asarray(a[key]) - np.asarray(b[key])).max()) for key in a)
