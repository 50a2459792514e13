"""Building blocks shared by two or more of the networks, against their plain versions."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from paddle_rtseg.models.layers import Constants, DropPath, attend, map_to_tokens, tokens_to_map


def random(*shape: int, seed: int = 0) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape, "float32"))


def plain_attention(q: paddle.Tensor, k: paddle.Tensor, v: paddle.Tensor) -> paddle.Tensor:
    return F.softmax(q @ k.transpose([0, 2, 1]), axis=-1) @ v


@pytest.mark.parametrize("max_scores", [None, 1, 200, 333, 10**6])
def test_attend_equals_plain_attention(max_scores):
    q, k, v = random(3, 50, 8), random(3, 20, 8, seed=1), random(3, 20, 8, seed=2)
    np.testing.assert_allclose(attend(q, k, v, max_scores).numpy(), plain_attention(q, k, v).numpy(), atol=1e-6)


def test_attend_holds_no_more_scores_than_allowed(monkeypatch):
    products, matmul = [], paddle.matmul

    def recorded(*arguments, **options):
        products.append(matmul(*arguments, **options))
        return products[-1]

    monkeypatch.setattr(paddle, "matmul", recorded)
    q, k = random(3, 50, 8), random(3, 20, 8)
    attend(q, k, k, max_scores=200)
    assert max(p.shape[1] * p.shape[2] for p in products) == 200
    assert len(products) == 2 * 5


def test_tokens_are_in_raster_order():
    x = random(2, 3, 4, 5)
    tokens = map_to_tokens(x)
    assert tokens.shape == [2, 20, 3]
    np.testing.assert_array_equal(tokens[:, 7].numpy(), x[:, :, 1, 2].numpy())
    np.testing.assert_array_equal(tokens_to_map(tokens, (4, 5)).numpy(), x.numpy())


def test_constants_are_made_once_and_stay_out_of_the_state():
    constants, made = Constants(), []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(3)

    assert constants.get("table", make) is constants.get("table", make)
    assert len(made) == 1
    assert constants.state_dict() == {}


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    drop = DropPath(0.25)
    x = paddle.ones([4000, 2, 1, 3])
    drop.train()
    y = drop(x).numpy().reshape(4000, 6)
    assert (y == y[:, :1]).all()
    np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(y.mean(), 1, atol=0.05)
    drop.eval()
    assert drop(x) is x
