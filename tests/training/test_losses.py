"""PixelCrossEntropyLoss against Paddle's cross entropy."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from paddle_rtseg.training.losses import PixelCrossEntropyLoss


@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0, 3.0, 0.1]])
def test_value_and_gradient_equal_paddle(weight):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 5, 6, 7), dtype="float32") * 3
    label = rng.integers(0, 5, (2, 6, 7))
    label[0, :2] = 255
    losses = (
        PixelCrossEntropyLoss(weight=weight),
        lambda x, y: F.cross_entropy(
            x, y, axis=1, ignore_index=255, weight=None if weight is None else paddle.to_tensor(weight)
        ),
    )
    results = []
    for loss in losses:
        x = paddle.to_tensor(logits, stop_gradient=False)
        value = loss(x, paddle.to_tensor(label))
        (3 * value).backward()
        results.append((float(value), x.grad.numpy()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-6)


def test_all_pixels_ignored():
    x = paddle.randn([1, 3, 4, 4])
    x.stop_gradient = False
    loss = PixelCrossEntropyLoss()(x, paddle.full([1, 4, 4], 255, "int64"))
    loss.backward()
    assert float(loss) == 0
    assert not x.grad.numpy().any()


def test_certainly_wrong_pixel():
    x = paddle.to_tensor(np.array([1000.0, 0.0], "float32").reshape(1, 2, 1, 1), stop_gradient=False)
    loss = PixelCrossEntropyLoss()(x, paddle.ones([1, 1, 1], "int64"))
    loss.backward()
    assert np.isfinite(float(loss))
    np.testing.assert_allclose(x.grad.numpy().ravel(), [1, -1])
