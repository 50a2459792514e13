"""Building blocks that two or more networks share."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from paddle_rtseg.models.layers import resize


@pytest.mark.parametrize("source, target", [((4, 5), (32, 40)), ((4, 5), (13, 7)), ((9, 8), (4, 3)), ((1, 1), (6, 5))])
def test_resize_in_training_equals_interpolate(source, target):
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
