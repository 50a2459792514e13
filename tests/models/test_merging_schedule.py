"""Merging schedules: the paper's token counts, and how settings are read."""

import paddle
import pytest
from comparing import zip_strict

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.layers import Constants
from paddle_rtseg.models.merging_schedule import (
    SCHEDULES,
    Bipartite,
    NoMerging,
    Pooling,
    SequencePooling,
    parse_schedule,
)

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
    reduced = [[side // ratio for side in size] for size, ratio in zip_strict(maps, (8, 4, 2, 1))]
    for name, counts in expected.items():
        stages = parse_schedule(name)
        if name == "2x2":
            assert tuple(s.query.tokens_kept(*size) for s, size in zip_strict(stages, maps)) == counts
            continue
        kept = [s.key_value.tokens_kept(*size) for s, size in zip_strict(stages[:2], reduced[:2])]
        kept += [s.query.tokens_kept(*size) for s, size in zip_strict(stages[2:], maps[2:])]
        assert kept == [counts[0], *counts]


def methods(schedule) -> list:
    """Query and key/value methods of the four stages."""
    return [(stage.query, stage.key_value) for stage in parse_schedule(schedule)]


def test_schedule_of_dicts():
    pooling, sequence = {"kv_mode": "n2d", "kv_stride": [2, 3]}, {"q_mode": "n1d", "q_stride": 3}
    matching = {"q_mode": "bsm", "q_ratio": 1, "q_cell": 4, "kv_mode": None}
    assert methods([None, pooling, sequence, matching]) == [
        (NoMerging(), NoMerging()),
        (NoMerging(), Pooling((2, 3))),
        (SequencePooling(3), NoMerging()),
        (Bipartite(1.0, (4, 4)), NoMerging()),
    ]
    assert methods(None) == methods([{}] * 4) == [(NoMerging(), NoMerging())] * 4


@pytest.mark.parametrize("name", SCHEDULES)
def test_named_schedule_is_its_dicts(name):
    assert methods(name) == methods(SCHEDULES[name])
    assert methods(name) != methods(None)


def options(schedule) -> list:
    """``match_every`` and ``proportional`` of the four stages."""
    return [(stage.match_every, stage.proportional) for stage in parse_schedule(schedule)]


def test_options_of_a_schedule_reach_the_stages_that_can_have_them():
    assert options("hq") == options(None) == options({"schedule": "2x2"}) == [(1, False)] * 4
    both = {"schedule": "hq", "match_every": 2, "proportional": True}
    assert options(both) == [(2, True), (2, True), (2, False), (2, False)]
    assert methods(both) == methods("hq")
    matching = {"q_mode": "bsm", "q_ratio": 1, "q_cell": 4, "match_every": 3}
    keys = {"kv_mode": "bsm", "kv_ratio": 1, "kv_cell": 4, "proportional": True}
    assert options([matching, keys, {}, None]) == [(3, False), (1, True), (1, False), (1, False)]
    assert options("hq") == [(1, False)] * 4  # SCHEDULES is as it was


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
        ({"schedule": "HQ"}, "expected token_merging null, hq, fast, 2x2 or four dicts, got 'HQ'"),
        ({"match_every": 2}, "expected token_merging null, hq, fast, 2x2 or four dicts, got None"),
        ({"schedule": "2x2", "match_every": 2}, "with a schedule that merges by bsm, got 'match_every' with 2x2"),
        ({"schedule": "hq", "every": 2}, "expected match_every or proportional with a schedule .* got 'every' with hq"),
        ({"schedule": "hq", "match_every": 0}, "match_every as a whole number of at least 1, .* got 0; correct it"),
        ({"schedule": "hq", "match_every": True}, "match_every as a whole number of at least 1"),
        ({"schedule": "hq", "match_every": "2"}, "match_every as a whole number of at least 1, .* got '2'"),
        ({"schedule": "hq", "proportional": 1}, "expected proportional true or false, got 1; correct it"),
        ([{"q_mode": "n2d", "q_stride": 2, "match_every": 2}, {}, {}, {}], "a stage with q_mode bsm or kv_mode bsm"),
        (
            [{"q_mode": "bsm", "q_ratio": 0.5, "q_cell": 2, "proportional": True}, {}, {}, {}],
            "expected proportional in a stage with kv_mode bsm, got one without; leave it out",
        ),
        ([{"q_stride": 2}, {}, {}, {}], "does not take 'q_stride' there"),
        ([{"q_mode": "n2d", "q_stride": 2, "ratio": 1}, {}, {}, {}], "does not take 'ratio' there"),
    ],
)
def test_invalid_schedules(schedule, message):
    with pytest.raises(InputError, match=message):
        parse_schedule(schedule)


def test_map_too_small():
    x = paddle.zeros([1, 9, 6])
    with pytest.raises(InputError, match=r"at least one cell of 4 x 4 tokens for bsm merging, got a map of 3 x 3"):
        Bipartite(0.6, (4, 4))(x, (3, 3), Constants())
    with pytest.raises(InputError, match=r"a stride within the map of 3 x 3 tokens, got 2 x 4"):
        Pooling((2, 4))(x, (3, 3), Constants())
    with pytest.raises(InputError, match=r"a stride within the map of 1 x 9 tokens, got 1 x 10"):
        SequencePooling(10)(x, (3, 3), Constants())


def test_bipartite_matching_needs_a_known_size():
    size = [paddle.to_tensor(8), paddle.to_tensor(8)]
    with pytest.raises(InputError, match="needs the image's height and width when a graph is exported"):
        Bipartite(0.6, (2, 2))(paddle.zeros([1, 64, 6]), size, Constants())
