"""Selections of tokens against plain NumPy."""

import contextlib

import numpy as np
import paddle
import pytest

from paddle_rtseg.models.layers import Constants
from paddle_rtseg.models.selection import Selection, gather_tokens, scattering

SIZES = [(4, 6), (1, 7), (5, 1), (16, 13)]
all_sizes = pytest.mark.parametrize("size", SIZES)


def values(size, levels: int) -> np.ndarray:
    """(3, N) with ties."""
    return np.random.default_rng(0).integers(0, levels, (3, size[0] * size[1])).astype("float32")


@all_sizes
@pytest.mark.parametrize("levels", [1, 4, 1000])
def test_smallest_takes_the_first_of_equal_values(size, levels):
    x = values(size, levels)
    for k in {1, x.shape[1] // 2 + 1, x.shape[1]}:
        expected = np.zeros(x.shape, bool)
        np.put_along_axis(expected, np.argsort(x, axis=1, kind="stable")[:, :k], True, axis=1)
        mask = Selection(size, Constants()).smallest(paddle.to_tensor(x), k)
        np.testing.assert_array_equal(mask.numpy(), expected)


@all_sizes
def test_running_count_is_the_cumulative_sum(size):
    mask = values(size, 2) > 0
    counts = Selection(size, Constants()).running_count(paddle.to_tensor(mask))
    np.testing.assert_array_equal(counts.numpy(), np.cumsum(mask, axis=1))


@pytest.mark.parametrize("size", [*SIZES, (175, 176)])  # the last has more tokens than float16 has such numbers
def test_positions_are_in_raster_order(size):
    total = size[0] * size[1]
    k = total // 2 + 1
    expected = np.sort(np.stack([np.random.default_rng(i).permutation(total)[:k] for i in range(2)]), axis=1)
    mask = np.zeros((2, total), bool)
    np.put_along_axis(mask, expected, True, axis=1)
    positions = Selection(size, Constants()).positions(paddle.to_tensor(mask), k)
    np.testing.assert_array_equal(positions.numpy(), expected)


def test_descending_numbers_survive_float16():
    numbers = Selection((160, 192), Constants())  # 30720 tokens, the most
    numbers.positions(paddle.ones([1, 30720], dtype="bool"), 1)
    (table,) = [buffer.numpy() for buffer in numbers.constants.buffers()]
    np.testing.assert_array_equal(table.astype("float16").astype("float32"), table)
    assert (np.diff(table[0]) < 0).all() and (table > 0).all()


def test_group_sizes():
    membership = (np.random.default_rng(0).random((2, 12, 5)) < 0.3).astype("float32")
    sizes = Selection((3, 4), Constants()).group_sizes(paddle.to_tensor(membership))
    np.testing.assert_array_equal(sizes.numpy()[..., 0], membership.sum(axis=1))


@pytest.mark.parametrize("batch", [1, 3])
def test_gather_tokens_is_take_along_axis(batch):
    rng = np.random.default_rng(0)
    x, index = rng.standard_normal((batch, 10, 4), "float32"), rng.integers(0, 10, (batch, 7))
    expected = np.take_along_axis(x, index[..., None], axis=1)
    np.testing.assert_array_equal(gather_tokens(paddle.to_tensor(x), paddle.to_tensor(index)).numpy(), expected)


@all_sizes
@pytest.mark.parametrize("form", [contextlib.nullcontext, scattering])
def test_split_takes_the_smallest_and_tells_where_they_are(size, form):
    x = np.stack([np.random.default_rng(i).permutation(size[0] * size[1]) for i in range(3)]).astype("float32")
    for k in {1, x.shape[1] // 2 + 1, x.shape[1]}:
        before = np.tile(np.arange(x.shape[1]) + 1000, (3, 1))
        with form():
            taken, place = Selection(size, Constants()).split(paddle.to_tensor(x), k, paddle.to_tensor(before))
        expected = before.copy()
        np.put_along_axis(expected, taken.numpy(), np.tile(np.arange(k), (3, 1)), axis=1)
        np.testing.assert_array_equal(np.sort(taken.numpy(), axis=1), np.sort(np.argsort(x, axis=1)[:, :k], axis=1))
        np.testing.assert_array_equal(place.numpy(), expected)


@pytest.mark.parametrize("form", [contextlib.nullcontext, scattering])
def test_maximum(form):
    x = np.random.default_rng(0).random((2, 5, 7)).astype("float32")
    with form():
        found = Selection((1, 5), Constants()).maximum(paddle.to_tensor(x), paddle.to_tensor(x.argmax(-1)))
    np.testing.assert_array_equal(found.numpy(), x.max(-1))


def test_membership_is_one_at_a_tokens_place():
    place = np.array([[3, 0, 4], [5, 5, 2]])
    found = Selection((1, 3), Constants()).membership(paddle.to_tensor(place), 3, 3)
    expected = [[[1, 0, 0], [0, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1], [0, 0, 0]]]
    np.testing.assert_array_equal(found.numpy(), expected)
