"""Which frames candidates are chosen by, and which are reported on."""

import numpy as np
import pytest
from tiny_configs import tiny_config, write_config

from paddle_rtseg.config import load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.tune.frames import Frames, halves


@pytest.mark.parametrize("count", [4, 7, 10, 24, 233])
def test_halves_share_nothing_and_few_neighbours(count):
    first, second = halves(range(count))
    assert sorted(first + second) == list(range(count))
    assert abs(len(first) - len(second)) <= max(1, count // 10 + 1)
    neighbours = sum(abs(a - b) == 1 for a in first for b in second)
    assert neighbours <= 9  # at the ends of ten runs
    if count > 20:
        assert first != sorted(first), "a part of them is a random sample"
    assert halves(range(count)) == (first, second), "a resumed search has the same halves"


@pytest.fixture
def config(tiny_images, tmp_path):
    return load_config(write_config(tmp_path / "config.yml", tiny_config(tiny_images)))


def test_count(config):
    frames = Frames(config, 4)
    assert sorted(frames.choosing + frames.reporting) == [0, 2, 5, 7]
    assert [image.rpartition("/")[2] for image, _ in frames.files()] == [f"image{i}.png" for i in (0, 2, 5, 7)]
    assert len(Frames(config).files()) == 8


@pytest.mark.parametrize("count", [0, 3, 9, 10**9])
def test_count_out_of_range(config, count):
    with pytest.raises(InputError, match=f"expected --frames from 4 to 8, the images of the val_dataset, got {count}"):
        Frames(config, count)


def test_survey(config):
    assert Frames(config).survey() == ({(64, 64)}, 4)


def test_counts_leave_ignored_pixels_out(config):
    frames = Frames(config)
    _, label = frames.read(0)
    counts = frames.count(label, np.where(label == 255, 0, label))
    assert counts.shape == (1, 3, 4) and counts[0, 0].sum() == (label != 255).sum()
