"""Token merging against its definition in plain NumPy, and what holds for every method."""

import contextlib

import numpy as np
import paddle
import pytest
from comparing import zip_strict

from paddle_rtseg.models.layers import Constants, attend
from paddle_rtseg.models.merging_schedule import Bipartite, NoMerging, Pooling, SequencePooling
from paddle_rtseg.models.selection import scattering
from paddle_rtseg.models.token_merging import average_pooling, bipartite_soft_matching, counted, per_count

METHODS = [Bipartite(0.6, (2, 2)), Bipartite(0.8, (4, 4)), Bipartite(0.9, (4, 4)), Pooling((2, 2)), SequencePooling(3)]
all_methods = pytest.mark.parametrize("method", METHODS, ids=str)


def tokens(batch: int, count: int, channels: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, count, channels)).astype("float32")


def there_and_back(method, x: np.ndarray, size) -> np.ndarray:
    merging = method(paddle.to_tensor(x), size, Constants())
    return merging.unmerge(merging.merge(paddle.to_tensor(x))).numpy()


def bipartite_by_definition(x: np.ndarray, size, ratio, cell) -> np.ndarray:
    """Tokens (N, C) after merging and unmerging, step by step as in the paper."""
    height, width = size
    position = np.arange(height * width).reshape(size)
    whole = [side // step * step for side, step in zip_strict(size, cell)]
    dst = list(position[: whole[0] : cell[0], : whole[1] : cell[1]].flatten())
    src = [i for i in position.flatten() if i not in dst]
    unit = x.astype("float64") / np.linalg.norm(x, axis=-1, keepdims=True)
    scores = unit[src] @ unit[dst].T
    merged = np.argsort(-scores.max(1))[: min(int(len(x) * ratio), len(src))]
    groups = {d: [d] for d in dst}
    for s in merged:
        groups[dst[scores[s].argmax()]].append(src[s])
    result = x.copy()
    for members in groups.values():
        result[members] = x[members].mean(0)
    return result


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 4)])
@pytest.mark.parametrize("ratio, cell", [(0.6, (2, 2)), (0.8, (4, 4)), (0.9, (4, 2)), (0.25, (1, 3)), (1.0, (2, 2))])
@pytest.mark.parametrize("form", [contextlib.nullcontext, scattering])
def test_bipartite_matching_equals_its_definition(size, ratio, cell, form):
    x = tokens(3, size[0] * size[1])
    expected = np.stack([bipartite_by_definition(image, size, ratio, cell) for image in x])
    assert not np.allclose(expected, x)
    with form():
        found = there_and_back(Bipartite(ratio, cell), x, size)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size, stride", [((6, 8), (2, 2)), ((5, 7), (2, 2)), ((7, 7), (3, 2)), ((1, 10), (1, 3))])
def test_pooling_gives_each_token_the_mean_of_its_window(size, stride):
    x = tokens(2, size[0] * size[1])
    grid, expected = x.reshape(2, *size, -1), np.zeros_like(x).reshape(2, *size, -1)
    for i in range(0, size[0], stride[0]):
        for j in range(0, size[1], stride[1]):
            window = np.s_[:, i : i + stride[0], j : j + stride[1]]
            expected[window] = grid[window].mean((1, 2), keepdims=True)
    np.testing.assert_allclose(there_and_back(Pooling(stride), x, size), expected.reshape(x.shape), atol=1e-6)
    if size[0] == 1:
        np.testing.assert_allclose(
            there_and_back(SequencePooling(stride[1]), x, (2, 5)), expected.reshape(x.shape), atol=1e-6
        )


@pytest.mark.parametrize("size", [(s, s) for s in range(2, 30)])
def test_unmerging_a_stride_of_2_is_a_nearest_neighbour_resize(size):
    # floor(i * n / N), PyTorch's and Paddle's rule, which is what the reference calls.
    x = tokens(1, -(-size[0] // 2) * -(-size[1] // 2), 1)
    small = [-(-side // 2) for side in size]
    index = [np.arange(side) * n // side for side, n in zip_strict(size, small)]
    expected = x.reshape(small)[np.ix_(*index)]
    unmerge = average_pooling(size, (2, 2)).unmerge
    np.testing.assert_array_equal(unmerge(paddle.to_tensor(x)).numpy().reshape(size), expected)


@all_methods
@pytest.mark.parametrize("size", [(8, 12), (9, 5)])
def test_number_of_tokens_kept(method, size):
    x = paddle.to_tensor(tokens(2, size[0] * size[1]))
    merge, unmerge, _ = method(x, size, Constants())
    assert merge(x).shape == [2, method.tokens_kept(*size), x.shape[-1]]
    assert merge(x).shape[1] < x.shape[1]
    assert unmerge(merge(x)).shape == x.shape


@all_methods
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_equal_tokens_are_unchanged(method, value):
    # All similarities are equal, and tokens of zeros have no direction.
    x = paddle.full([2, 8 * 12, 6], value)
    merge, unmerge, _ = method(x, (8, 12), Constants())
    np.testing.assert_allclose(merge(x).numpy(), value, atol=1e-6)
    np.testing.assert_allclose(unmerge(merge(x)).numpy(), value, atol=1e-6)


@all_methods
def test_images_do_not_influence_each_other(method):
    x = tokens(3, 8 * 12)
    alone = np.concatenate([there_and_back(method, image[None], (8, 12)) for image in x])
    np.testing.assert_allclose(there_and_back(method, x, (8, 12)), alone, atol=1e-6)


@all_methods
def test_each_token_gets_a_gradient_through_the_merge(method):
    x = paddle.to_tensor(tokens(2, 8 * 12), stop_gradient=False)
    merged = method(x, (8, 12), Constants()).merge(x)
    (merged * paddle.to_tensor(1 + tokens(*merged.shape) ** 2)).sum().backward()
    assert x.grad.abs().min() > 0


def test_every_merged_token_gets_a_gradient_through_the_unmerge():
    x = paddle.to_tensor(tokens(2, 8 * 12))
    merge, unmerge, _ = bipartite_soft_matching(x, (8, 12), (2, 2), 57, Constants())
    merged = merge(x)
    merged.stop_gradient = False
    unmerge(merged).sum().backward()
    received = merged.grad.numpy()[..., 0]  # how many tokens copy each merged one
    assert received.min() == 1
    assert received.sum() == 2 * 8 * 12


@pytest.mark.parametrize("method", [Bipartite(0.0, (2, 2)), NoMerging()], ids=str)
def test_nothing_is_merged(method):
    x = tokens(1, 8 * 12)
    merge, unmerge, sizes = method(paddle.to_tensor(x), (8, 12), Constants())
    np.testing.assert_array_equal(merge(paddle.to_tensor(x)).numpy(), x)
    np.testing.assert_array_equal(unmerge(paddle.to_tensor(x)).numpy(), x)
    assert sizes is None
    assert method.tokens_kept(8, 12) == 8 * 12


@pytest.mark.parametrize("size, ratio, cell", [((8, 12), 0.6, (2, 2)), ((9, 5), 1.0, (2, 2)), ((7, 10), 0.25, (3, 1))])
@pytest.mark.parametrize("form", [contextlib.nullcontext, scattering])
def test_sizes_count_the_tokens_of_each_group(size, ratio, cell, form):
    method, x = Bipartite(ratio, cell), paddle.to_tensor(tokens(3, size[0] * size[1]))
    with form():
        _, unmerge, sizes = method(x, size, Constants())
        kept = method.tokens_kept(*size)
        place = unmerge(paddle.arange(kept, dtype="float32").expand([3, -1]).unsqueeze(-1)).numpy()[..., 0]
        found = sizes().numpy()
    expected = np.stack([np.bincount(image.astype(int), minlength=kept) for image in place])[..., None]
    assert expected.max() > 1
    np.testing.assert_array_equal(found, expected)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def test_proportional_attention_equals_its_definition():
    """softmax(q k^T + log s) v, equation 1 of Bolya et al., in NumPy."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, n, 4)) for n in (7, 5, 5))  # (B, heads, tokens, channels)
    sizes = rng.integers(1, 30, (2, 5, 1))
    expected = softmax(q @ k.swapaxes(-1, -2) + np.log(sizes)[:, None, :, 0][:, :, None]) @ v
    assert abs(expected - softmax(q @ k.swapaxes(-1, -2)) @ v).max() > 0.1
    q, k, v, sizes = (paddle.to_tensor(x.astype("float32")) for x in (q, k, v, sizes))
    values = counted(v, sizes)
    for pieces in (None, 10):
        found = per_count(attend(q.flatten(0, 1), k.flatten(0, 1), values.flatten(0, 1), pieces))
        np.testing.assert_allclose(found.numpy().reshape(expected.shape), expected, atol=1e-5)


def test_a_merged_key_counts_as_often_as_its_copies():
    """Proportional attention to merged keys is plain attention to all keys after unmerging."""
    size, x = (8, 12), paddle.to_tensor(tokens(2, 8 * 12))
    merge, unmerge, sizes = Bipartite(0.6, (2, 2))(x, size, Constants())
    merged = merge(x)
    found = per_count(attend(x, merged, counted(merged.unsqueeze(1), sizes()).squeeze(1)))
    np.testing.assert_allclose(found.numpy(), attend(x, unmerge(merged), unmerge(merged)).numpy(), atol=1e-5)
    assert float((found - attend(x, merged, merged)).abs().max()) > 0.01


def places(x: paddle.Tensor) -> np.ndarray:
    """For each token, which merged token it becomes."""
    method, size = Bipartite(0.6, (2, 2)), (16, 16)
    numbers = paddle.arange(method.tokens_kept(*size), dtype="float32")
    return method(x, size, Constants()).unmerge(numbers.expand([len(x), -1]).unsqueeze(-1)).numpy()


def test_tokens_of_half_precision_are_matched_in_float32():
    x = paddle.to_tensor(tokens(2, 16 * 16, 32))
    half = x.astype("bfloat16")
    assert not np.array_equal(places(half), places(x))  # the rounding of the tokens themselves is seen
    assert np.array_equal(places(half), places(half.astype("float32")))


def test_tables_are_shared_between_calls():
    constants, x = Constants(), paddle.to_tensor(tokens(1, 8 * 12))
    for _ in range(2):
        bipartite_soft_matching(x, (8, 12), (2, 2), 57, constants)
        made = {name: buffer.numpy() for name, buffer in constants.named_buffers()}
    bipartite_soft_matching(x, (12, 8), (2, 2), 57, constants)  # another map, other tables
    assert made
    assert len(made) < len(list(constants.named_buffers()))
    assert constants.state_dict() == {}
