"""The order of training samples and the random numbers of a run, as functions of its seed and of the iteration.

A resumed run of PaddleSeg starts its first pass from the beginning and draws the random numbers with which the run
began. Here it continues where the previous run stopped: with the same seed, it gives bit-identical results. The random
numbers of a sample do not depend on the number of processes either.
"""

import itertools
import random
from typing import Iterator, List

import numpy as np
import paddle


class Draw(int):
    """The index of a sample, which any loader understands, with the seed of what its transforms are to draw."""

    seed: int

    def seed_transforms(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)


class ResumableSampler(paddle.io.DistributedBatchSampler):
    """Batches of :class:`Draw`, from the one on that follows ``start_iter`` iterations.

    Args:
        start_iter: iterations that the resumed run has behind it.
        dataset, arguments: as for ``paddle.io.DistributedBatchSampler``.
    """

    def __init__(self, start_iter: int, dataset, **arguments):
        super().__init__(dataset, **arguments)
        self._run = np.random.randint(2**31)  # the same for the same --seed
        self.epoch, self._behind = divmod(start_iter, max(1, len(self)))

    def __iter__(self) -> Iterator[List[Draw]]:
        epoch, behind, self._behind = self.epoch, self._behind, 0
        for batch in itertools.islice(super().__iter__(), behind, None):
            draws = [Draw(index) for index in batch]
            for draw in draws:
                draw.seed = _mix(self._run, epoch, draw)
            yield draws

    def seed_layers(self, iteration: int) -> None:
        """Seed what the network draws in this iteration: differently in each process, which sees other samples."""
        paddle.seed(_mix(self._run, iteration, self.local_rank))


def _mix(*numbers: int) -> int:
    """A seed below 2**32 that has nothing to do with those of neighbouring numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
