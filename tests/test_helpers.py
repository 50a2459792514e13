"""The helpers of the tests fail where they should."""

import ast
import pathlib

import numpy as np
import pytest
from comparing import assert_states_close, largest_difference, same_state, zip_strict
from processes import python

TESTS = pathlib.Path(__file__).parent


def test_zip_strict():
    assert list(zip_strict([1, 2], "ab")) == [(1, "a"), (2, "b")]
    for shorter, longer in (([], [None]), ([1], [1, 2])):
        with pytest.raises(ValueError, match="same length"):
            list(zip_strict(shorter, longer))
        with pytest.raises(ValueError, match="same length"):
            list(zip_strict(longer, shorter))


def test_tests_pair_values_strictly():
    """A plain ``zip`` in a test hides results that are missing."""
    plain = [
        f"{path.relative_to(TESTS)}:{node.lineno}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name != "make_trt_verdicts.py"  # a program for another environment, which checks lengths itself
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip"
    ]
    assert plain == []


def test_states():
    state = {"a": np.ones(3), "b": np.zeros(2)}
    near, far, short = {**state, "b": np.full(2, 1e-8)}, {**state, "b": np.full(2, 0.5)}, {"a": np.ones(3)}
    assert_states_close(state, near)
    assert same_state(state, dict(state)) and not same_state(state, near)
    assert largest_difference(state, far) == 0.5
    for other in (far, short):
        with pytest.raises(AssertionError):
            assert_states_close(state, other)
    assert not same_state(state, short)
    for nothing in (assert_states_close, largest_difference):
        with pytest.raises(AssertionError):
            nothing({}, {})


def test_process_that_fails():
    program = "import os, sys; print(os.environ.get('GIVEN'), os.environ.get('HOME')); sys.exit(3)"
    done = python("-c", program, GIVEN="a value", HOME=None)
    assert (done.returncode, done.stdout) == (3, "a value None\n")
    with pytest.raises(AssertionError, match="a value"):
        python("-c", program, check=True, GIVEN="a value")
