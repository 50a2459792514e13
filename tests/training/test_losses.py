"""PixelCrossEntropyLoss against Paddle's cross entropy."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddleseg.models.losses import CrossEntropyLoss

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


@pytest.mark.parametrize(
    "label, weight, error",
    [
        (np.full((1, 1, 2), 2), None, IndexError),
        (np.full((1, 1, 2), -1), None, IndexError),
        (np.full((1, 1, 2), 254, "uint8"), [1.0, 2.0], IndexError),
        (np.zeros((1, 2, 2), int), None, ValueError),
        (np.zeros((1, 1, 1, 2), int), None, ValueError),
        (np.zeros((1, 1, 2), int), [1.0, 2.0, 3.0], ValueError),
    ],
    ids=["a class too many", "negative", "uint8 with weights", "another size", "four dimensions", "a weight too many"],
)
def test_bad_labels_and_weights_are_refused_as_by_paddleseg(label, weight, error):
    logit = paddle.ones([1, 2, 1, 2])
    for loss in (CrossEntropyLoss(weight), PixelCrossEntropyLoss(weight)):
        with pytest.raises(error):
            loss(logit, paddle.to_tensor(label))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_type_of_labels(dtype):
    logit = paddle.to_tensor(np.random.default_rng(0).standard_normal((1, 3, 200, 200), dtype="float32"))
    label = paddle.to_tensor(np.random.default_rng(1).integers(0, 3, (1, 200, 200)).astype(dtype))
    assert float(PixelCrossEntropyLoss()(logit, label)) == pytest.approx(float(CrossEntropyLoss()(logit, label)), 1e-5)
