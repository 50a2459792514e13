"""Sample order and random numbers of a training run, as functions of its seed and the iteration.

In PaddleSeg, a resumed run restarts its pass through the data and repeats the random numbers of the first start. Here
it continues where the previous run stopped: with the same seed, it sees the same samples and draws the same numbers as
an uninterrupted run. The numbers drawn for a sample do not depend on the number of processes either.
"""

import itertools
import random
from typing import Iterator, List

import numpy as np
import paddle


class Draw(int):
    """The index of a sample, an int to any loader, with the seed for its transforms."""

    seed: int

    def seed_transforms(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed)


class ResumableSampler(paddle.io.DistributedBatchSampler):
    """Batches of :class:`Draw`, starting after ``start_iter`` iterations.

    Args:
        start_iter: iterations that the resumed run has already done.
        dataset, arguments: as for ``paddle.io.DistributedBatchSampler``.
    """

    def __init__(self, start_iter: int, dataset, **arguments):
        super().__init__(dataset, **arguments)
        self._run = np.random.randint(2**31)  # the same for the same --seed
        self.epoch, self._done = divmod(start_iter, max(1, len(self)))

    def __iter__(self) -> Iterator[List[Draw]]:
        epoch, done, self._done = self.epoch, self._done, 0
        for batch in itertools.islice(super().__iter__(), done, None):
            draws = [Draw(index) for index in batch]
            for draw in draws:
                draw.seed = _mix(self._run, epoch, draw)
            yield draws

    def seed_layers(self, iteration: int) -> None:
        """Seed the network's random numbers for this iteration, differently in each process."""
        paddle.seed(_mix(self._run, iteration, self.local_rank))


def _mix(*numbers: int) -> int:
    """A seed below 2**32, unrelated to the seeds of neighbouring numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
