"""Building blocks that two or more networks share."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from paddle_rtseg.models.layers import resize


@pytest.mark.parametrize("source, target", [((4, 5), (32, 40)), ((4, 5), (13, 7)), ((9, 8), (4, 3)), ((1, 1), (6, 5))])
def test_resize_and_its_gradient_equal_interpolate(source, target):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 3, *source), dtype="float32")
    gradient = paddle.to_tensor(rng.standard_normal((2, 3, *target), dtype="float32"))
    results = []
    for function in (
        lambda x: resize(x, like=gradient),
        lambda x: F.interpolate(x, list(target), mode="bilinear", align_corners=False),
    ):
        x = paddle.to_tensor(image, stop_gradient=False)
        y = function(x)
        y.backward(gradient)
        results.append((y.numpy(), x.grad.numpy()))
    for got, expected in zip(*results):
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("side", [5, 130])  # by products, and by Paddle's operator
def test_resize_without_gradient_equals_interpolate(side):
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 4, side), dtype="float32"))
    target = paddle.zeros([2, 3, 9, 2 * side])
    expected = F.interpolate(x, target.shape[2:], mode="bilinear", align_corners=False)
    np.testing.assert_allclose(resize(x, like=target).numpy(), expected.numpy(), atol=1e-5)
