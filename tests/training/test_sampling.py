"""The samples and random numbers of a training run, also resumed and in several processes."""

import random

import numpy as np
import paddle
import pytest

from paddle_rtseg.training.loading import CheckedLoader
from paddle_rtseg.training.sampling import ResumableSampler

IMAGES = 12


class Drawing(paddle.io.Dataset):
    """Samples that consist of their index and two random numbers."""

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        return {"img": np.array([index, np.random.rand(), random.random()])}


def samples(start_iter=0, passes=3, seed=5, workers=0, **settings):
    """The batches of some passes: (batches, samples, 3)."""
    np.random.seed(seed)
    settings = {"batch_size": 5, "shuffle": True, "drop_last": True, **settings}
    sampler = ResumableSampler(start_iter, Drawing(), **settings)
    loader = CheckedLoader(Drawing(), batch_sampler=sampler, num_workers=workers)
    return np.stack([batch["img"].numpy() for _ in range(passes) for batch in loader])


def test_passes_differ():
    batches = samples()
    assert len(batches) == 3 * 2
    assert len(np.unique(batches[..., 1])) == len(np.unique(batches[..., 2])) == batches[..., 0].size
    assert not np.array_equal(batches[:2, :, 0], batches[2:4, :, 0])


def test_seed():
    assert not np.isin(samples(seed=6)[..., 1], samples()[..., 1]).any()


@pytest.mark.parametrize("behind", [1, 2, 3, 5])
def test_resumed(behind):
    whole = samples()
    rest = samples(behind)  # three passes: the rest of the interrupted one, and two more
    np.testing.assert_array_equal(rest[: len(whole) - behind], whole[behind:])


def test_workers():
    np.testing.assert_array_equal(samples(3, workers=2), samples(3))


def test_two_processes():
    shares = [samples(batch_size=2, num_replicas=2, rank=rank) for rank in (0, 1)]
    whole = samples(batch_size=4)
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)


def test_random_numbers_of_layers():
    def drawn(iteration, rank):
        np.random.seed(5)
        ResumableSampler(0, Drawing(), batch_size=2, num_replicas=2, rank=rank).seed_layers(iteration)
        return float(paddle.rand([1]))

    assert drawn(7, 0) == drawn(7, 0)
    assert len({drawn(i, rank) for i in (7, 8) for rank in (0, 1)}) == 4
