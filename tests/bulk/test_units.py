"""How inputs are split into units, and what a repeated run leaves out."""

import pytest

from paddle_rtseg.bulk.inputs import Item
from paddle_rtseg.bulk.job import shares
from paddle_rtseg.bulk.units import image_units, images_in, video_units
from paddle_rtseg.errors import InputError

ITEMS = [Item(f"{k}.jpg", str(k)) for k in range(10)] + [Item("a.mp4", "a"), Item("b.mp4", "b")]


@pytest.mark.parametrize(
    "finished, size, expected",
    [
        ([], 4, [(0, 4), (4, 8), (8, 10)]),
        ([], 100, [(0, 10)]),
        (["images-000000000-000000004"], 4, [(4, 8), (8, 10)]),
        (["images-000000002-000000003", "images-000000007-000000010"], 4, [(0, 2), (3, 7)]),
        (["images-000000000-000000010", "video-000000010-frames-000000000"], 4, []),
    ],
)
def test_images(finished, size, expected):
    units = list(image_units(ITEMS, finished, size))
    assert [(unit.first, unit.end) for unit in units] == expected
    assert all(unit.paths == [f"{k}.jpg" for k in range(unit.first, unit.end)] for unit in units)
    assert images_in([*finished, *(unit.name for unit in units)]) == set(range(10))


@pytest.mark.parametrize(
    "length, expected",
    [(0, [(0, None)]), (5, [(0, None)]), (10, [(0, None)]), (11, [(0, 10), (10, None)]), (20, [(0, 10), (10, None)])],
)
def test_frames(length, expected):
    units = list(video_units(ITEMS, {11: length}, 10))
    assert [(unit.first, unit.end) for unit in units] == expected
    assert [unit.name for unit in units] == [f"video-000000011-frames-{first:09d}" for first, _ in expected]


@pytest.mark.parametrize(
    "nodes, workers, threads, device, expected",
    [
        ([(2, 0)], None, 0, "cpu", (2, 1)),
        ([(2, 0)], 1, 0, "cpu", (1, 2)),
        ([(8, 0), (4, 0)], 3, 0, "cpu", (3, 4)),
        ([(8, 0), (4, 0)], 5, 0, "cpu", (5, 2)),
        ([(8, 0), (4, 0)], None, 4, "cpu", (3, 4)),
        ([(8, 2), (4, 1)], None, 0, "gpu", (3, 1)),
    ],
)
def test_shares(nodes, workers, threads, device, expected):
    assert shares(nodes, workers, threads, device) == expected


@pytest.mark.parametrize(
    "workers, threads, device, words",
    [
        (3, 0, "cpu", "at most 2, with 1 threads each, got 3"),
        (2, 2, "cpu", "at most 1"),
        (1, 0, "gpu", "at most 0, one for each GPU, got 1"),
        (None, 4, "cpu", "at most 0"),
    ],
)
def test_no_room(workers, threads, device, words):
    with pytest.raises(InputError, match=words):
        shares([(2, 0)], workers, threads, device)
