"""Resizes as matrix products against Paddle's operators, which are their plain versions."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from comparing import zip_strict

from paddle_rtseg.models.layers import Constants
from paddle_rtseg.models.resizing import average_to_grids, resize, resize_to_fixed, sum_of_resized


def random(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape, "float32"))


def plain_resize(x: paddle.Tensor, height: int, width: int) -> paddle.Tensor:
    return F.interpolate(x, [height, width], mode="bilinear", align_corners=False)


def assert_equal(actual: paddle.Tensor, expected: paddle.Tensor) -> None:
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), atol=1e-5)


SIZES = [((4, 5), (32, 40)), ((4, 5), (13, 7)), ((9, 8), (4, 3)), ((1, 1), (6, 5)), ((16, 16), (16, 20))]


@pytest.mark.parametrize("source, target", SIZES)
def test_resize_and_its_gradient(source, target):
    image, gradient = random(2, 3, *source).numpy(), random(2, 3, *target)
    results = []
    for function in (lambda x: resize(x, like=gradient), lambda x: plain_resize(x, *target)):
        x = paddle.to_tensor(image, stop_gradient=False)
        y = function(x)
        y.backward(gradient)
        results.append((y, x.grad))
    (actual, actual_gradient), (expected, expected_gradient) = results
    assert_equal(actual, expected)
    assert_equal(actual_gradient, expected_gradient)


@pytest.mark.parametrize("side", [5, 130])  # by products, and by Paddle's operator
def test_resize_without_gradient(side):
    x = random(2, 3, 4, side)
    assert_equal(resize(x, like=paddle.zeros([2, 1, 9, 2 * side])), plain_resize(x, 9, 2 * side))


def test_resize_to_the_same_size_copies_nothing():
    x = random(1, 2, 4, 5)
    assert resize(x, like=paddle.zeros([1, 7, 4, 5])) is x
    assert resize_to_fixed(x, 4, 5, Constants()) is x


@pytest.mark.parametrize("source, target", SIZES)
def test_resize_to_fixed(source, target):
    x = random(2, 3, *source)
    assert_equal(resize_to_fixed(x, *target, Constants()), plain_resize(x, *target))


def test_sum_of_resized():
    maps, like = [random(2, 3, 8, 6), random(2, 3, 4, 3), random(2, 3, 2, 2)], random(2, 5, 16, 12)
    expected = sum(plain_resize(x, 16, 12) for x in maps)
    assert_equal(sum_of_resized(maps, like, Constants()), expected)


def test_average_to_grids():
    x, sizes = random(2, 3, 12, 20), [(12, 20), (11, 18), (5, 8), (16, 27), (1, 1)]
    grids = average_to_grids(x.transpose([0, 2, 3, 1]), sizes, Constants())
    assert len(grids) == len(sizes)
    for grid, size in zip_strict(grids, sizes):
        assert_equal(grid.transpose([0, 3, 1, 2]), F.adaptive_avg_pool2d(x, size))


def test_constants_of_one_layer_serve_several_sizes():
    constants = Constants()
    for height, width in ((12, 20), (20, 12), (9, 20)):
        x = random(1, 3, height, width)
        for size in ((4, 6), (6, 4)):
            (grid,) = average_to_grids(x.transpose([0, 2, 3, 1]), [size], constants)
            assert_equal(grid.transpose([0, 3, 1, 2]), F.adaptive_avg_pool2d(x, size))
            assert_equal(resize_to_fixed(x, *size, constants), plain_resize(x, *size))
            assert_equal(sum_of_resized([x, x], paddle.zeros([1, 1, *size]), constants), 2 * plain_resize(x, *size))
