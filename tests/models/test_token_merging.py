"""Token merging against its definition in plain NumPy, and what every merge must keep."""

import numpy as np
import paddle
import pytest

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.layers import Constants
from paddle_rtseg.models.token_merging import (
    Bipartite,
    Pooling,
    SequencePooling,
    average_pooling,
    bipartite_soft_matching,
    parse_schedule,
)

METHODS = [Bipartite(0.6, (2, 2)), Bipartite(0.8, (4, 4)), Bipartite(0.9, (4, 4)), Pooling((2, 2)), SequencePooling(3)]
all_methods = pytest.mark.parametrize("method", METHODS, ids=str)


def tokens(batch: int, count: int, channels: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, count, channels)).astype("float32")


def there_and_back(method, x: np.ndarray, size) -> np.ndarray:
    merge, unmerge = method(paddle.to_tensor(x), size)
    return unmerge(merge(paddle.to_tensor(x))).numpy()


def bipartite_by_definition(x: np.ndarray, size, ratio, cell) -> np.ndarray:
    """Tokens (N, C) after merging and un-merging, step by step as the paper says."""
    height, width = size
    position = np.arange(height * width).reshape(size)
    whole = [side // step * step for side, step in zip(size, cell)]
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
def test_bipartite_matching_equals_its_definition(size, ratio, cell):
    x = tokens(3, size[0] * size[1])
    expected = np.stack([bipartite_by_definition(image, size, ratio, cell) for image in x])
    assert not np.allclose(expected, x)
    np.testing.assert_allclose(there_and_back(Bipartite(ratio, cell), x, size), expected, atol=1e-5)


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
def test_unmerging_a_stride_of_2_is_the_nearest_neighbour_resize(size):
    # floor(i * n / N), PyTorch's and Paddle's rule, which is what the reference calls.
    x = tokens(1, -(-size[0] // 2) * -(-size[1] // 2), 1)
    small = [-(-side // 2) for side in size]
    index = [np.arange(side) * n // side for side, n in zip(size, small)]
    expected = x.reshape(small)[np.ix_(*index)]
    _, unmerge = average_pooling(size, (2, 2))
    np.testing.assert_array_equal(unmerge(paddle.to_tensor(x)).numpy().reshape(size), expected)


# The paper's token counts: keys and values of stages 1 and 2, queries of stage 3, queries of stage 4; 2x2: stages 1-4.
COUNTS = [
    ((1024, 1024), {"hq": (410, 820, 205), "fast": (103, 410, 103), "2x2": (16384, 4096, 1024, 256)}),
    ((640, 640), {"hq": (160, 320, 80), "fast": (40, 160, 40), "2x2": (6400, 1600, 400, 100)}),
    ((512, 512), {"hq": (103, 205, 52), "fast": (26, 103, 26), "2x2": (4096, 1024, 256, 64)}),
    ((480, 640), {"hq": (120, 240, 60), "fast": (30, 120, 30), "2x2": (4800, 1200, 300, 80)}),
    ((288, 384), {"hq": (44, 87, 22), "fast": (11, 44, 11), "2x2": (1728, 432, 108, 30)}),
]


@pytest.mark.parametrize("image, expected", COUNTS, ids=[f"{h}x{w}" for (h, w), _ in COUNTS])
def test_token_counts_of_the_paper(image, expected):
    maps = [[-(-side // step) for side in image] for step in (4, 8, 16, 32)]
    reduced = [[side // ratio for side in size] for size, ratio in zip(maps, (8, 4, 2, 1))]
    for name, counts in expected.items():
        stages = parse_schedule(name)
        if name == "2x2":
            assert tuple(s.query.tokens_kept(*size) for s, size in zip(stages, maps)) == counts
            continue
        kept = [s.key_value.tokens_kept(*size) for s, size in zip(stages[:2], reduced)]
        assert (*kept, *(s.query.tokens_kept(*size) for s, size in zip(stages[2:], maps[2:]))) == (counts[0], *counts)


@all_methods
@pytest.mark.parametrize("size", [(8, 12), (9, 5)])
def test_merging_leaves_as_many_tokens_as_announced(method, size):
    x = paddle.to_tensor(tokens(2, size[0] * size[1]))
    merge, unmerge = method(x, size)
    assert merge(x).shape == [2, method.tokens_kept(*size), x.shape[-1]]
    assert merge(x).shape[1] < x.shape[1]
    assert unmerge(merge(x)).shape == x.shape


@all_methods
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_equal_tokens_stay_what_they_are(method, value):
    # All similarities are equal, and those of zeros have no direction.
    x = np.full((2, 8 * 12, 6), value, "float32")
    np.testing.assert_allclose(there_and_back(method, x, (8, 12)), x, atol=1e-6)


@all_methods
def test_images_do_not_influence_each_other(method):
    x = tokens(3, 8 * 12)
    alone = np.concatenate([there_and_back(method, image[None], (8, 12)) for image in x])
    np.testing.assert_allclose(there_and_back(method, x, (8, 12)), alone, atol=1e-6)


@all_methods
def test_each_token_gets_a_gradient_through_the_merge(method):
    x = paddle.to_tensor(tokens(2, 8 * 12), stop_gradient=False)
    merge, _ = method(x, (8, 12))
    merged = merge(x)
    (merged * paddle.to_tensor(1 + tokens(*merged.shape) ** 2)).sum().backward()
    assert x.grad.abs().min() > 0


def test_every_merged_token_gets_a_gradient_through_the_unmerge():
    x = paddle.to_tensor(tokens(2, 8 * 12))
    merge, unmerge = bipartite_soft_matching(x, (8, 12), 0.6, (2, 2))
    merged = merge(x)
    merged.stop_gradient = False
    unmerge(merged).sum().backward()
    received = merged.grad.numpy()[..., 0]  # how many tokens copy each merged one
    assert received.min() == 1
    assert received.sum() == 2 * 8 * 12


def test_nothing_merges_at_ratio_0():
    x = tokens(1, 8 * 12)
    np.testing.assert_array_equal(there_and_back(Bipartite(0.0, (2, 2)), x, (8, 12)), x)


def places(x: paddle.Tensor) -> np.ndarray:
    """For each token, which merged token it becomes."""
    method, size = Bipartite(0.6, (2, 2)), (16, 16)
    _, unmerge = method(x, size)
    numbers = paddle.arange(method.tokens_kept(*size), dtype="float32")
    return unmerge(numbers.expand([len(x), -1]).unsqueeze(-1)).numpy()


def test_tokens_of_half_precision_are_matched_in_float32():
    x = paddle.to_tensor(tokens(2, 16 * 16, 32))
    half = x.astype("bfloat16")
    assert not np.array_equal(places(half), places(x))  # the rounding of the tokens themselves is seen
    assert np.array_equal(places(half), places(half.astype("float32")))


def test_tables_are_shared_between_calls():
    constants, x = Constants(), paddle.to_tensor(tokens(1, 8 * 12))
    for _ in range(2):
        bipartite_soft_matching(x, (8, 12), 0.6, (2, 2), constants)
        made = {name: buffer.numpy() for name, buffer in constants.named_buffers()}
    bipartite_soft_matching(x, (12, 8), 0.6, (2, 2), constants)  # another map, other tables
    assert made
    assert len(made) < len(list(constants.named_buffers()))
    assert constants.state_dict() == {}


@pytest.mark.parametrize(
    "schedule, message",
    [
        ("HQ", "expected token_merging null, hq, fast, 2x2 or four dicts, got 'HQ'"),
        ([{}], "one dict for each of the four stages"),
        ([{"q_mode": "bsm_hq"}, {}, {}, {}], "expected q_mode null, bsm, n2d or n1d, got 'bsm_hq'"),
        ([{"q_mode": "bsm", "q_ratio": 1.5, "q_cell": 2}, {}, {}, {}], "expected q_ratio from 0 to 1"),
        ([{"q_mode": "bsm", "q_ratio": -0.1, "q_cell": 2}, {}, {}, {}], "expected q_ratio from 0 to 1"),
        ([{"q_mode": "bsm", "q_ratio": 0.5}, {}, {}, {}], "q_mode bsm needs q_cell"),
        ([{"q_mode": "n2d", "q_stride": 0}, {}, {}, {}], "expected q_stride as whole numbers of at least 1"),
        ([{"q_mode": "n2d", "q_stride": [2, 2, 2]}, {}, {}, {}], "expected q_stride as whole numbers"),
        ([{"kv_mode": "n1d", "kv_stride": 2}, {}, {}, {}], "n1d merges queries only"),
        ([{"q_stride": 2}, {}, {}, {}], "does not take 'q_stride' there"),
        ([{"q_mode": "n2d", "q_stride": 2, "ratio": 1}, {}, {}, {}], "does not take 'ratio' there"),
    ],
)
def test_schedules_that_are_none(schedule, message):
    with pytest.raises(InputError, match=message):
        parse_schedule(schedule)


def test_maps_that_are_too_small():
    x = paddle.to_tensor(tokens(1, 9))
    with pytest.raises(InputError, match=r"at least one cell of 4 x 4 tokens for bsm merging, got a map of 3 x 3"):
        bipartite_soft_matching(x, (3, 3), 0.6, (4, 4))
    with pytest.raises(InputError, match=r"a stride within the map of 3 x 3 tokens, got 2 x 4"):
        average_pooling((3, 3), (2, 4))
