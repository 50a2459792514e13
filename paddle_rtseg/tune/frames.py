"""The labelled frames of a config's validation data, in two halves: one to choose by, one to report on."""

from typing import List, Optional, Sequence, Set, Tuple

import numpy as np
from paddleseg.cvlibs import Config
from rtseg_inference.progress import watched

from ..config import Builder, reporting
from ..data.check import read_pair
from ..errors import InputError
from .accuracy import Counts, counts_of
from .source import silent

BLOCKS = 10  #: runs of consecutive frames that go to the two halves in turn
LEAST = 4
SEED = 0


class Frames:
    """Images with their labels.

    The frames of the list are split into :data:`BLOCKS` runs of consecutive ones, which go to the two halves in turn:
    lists are often made of videos, in which a frame resembles its neighbours, and frames to report on should not
    resemble those that candidates are chosen by. Within each half the order is random, from a fixed seed.

    Args:
        config: with a ``val_dataset``.
        count: how many of the frames to use, evenly spread over the list; None for all.

    Raises:
        InputError: the data cannot be read, or ``count`` is out of range.
    """

    def __init__(self, config: Config, count: Optional[int] = None):
        with silent(), reporting("the config's validation data cannot be read"):
            self._dataset = Builder(config).val_dataset
        if self._dataset is None:
            raise InputError("expected a val_dataset in the config, got none; add one with labels")
        self.num_classes, self._ignore = self._dataset.num_classes, self._dataset.ignore_index
        self._files = self._dataset.file_list
        total = len(self._files)
        count = total if count is None else count
        if not LEAST <= count <= total:
            raise InputError(
                f"expected --frames from {LEAST} to {total}, the images of the val_dataset, got {count}; correct it or "
                "leave it out"
            )
        self.choosing, self.reporting = halves(np.linspace(0, total - 1, count).round().astype(int))

    def read(self, index: int) -> Tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 BGR and label (H, W) of a frame; see :func:`.read_pair`."""
        return read_pair(self._dataset, index)

    def files(self) -> List[Tuple[str, str]]:
        """The paths of image and label of each frame."""
        return [tuple(self._files[i]) for i in sorted([*self.choosing, *self.reporting])]

    def survey(self) -> Tuple[Set[Tuple[int, int]], int]:
        """Read every frame once.

        Returns:
            The heights and widths of the images, and how many classes are labelled in those that candidates are chosen
            by.

        Raises:
            InputError: a frame cannot be read, or has labels that are no classes.
        """
        indices = [*self.choosing, *self.reporting]
        found: Set[Tuple[int, int]] = set()
        labelled = np.zeros(self.num_classes, bool)
        for done, index in enumerate(watched(indices, len(indices), "reading")):
            image, label = self.read(index)
            found.add(image.shape[:2])
            counts = self.count(label, np.zeros_like(label))
            if done < len(self.choosing):
                labelled |= counts[0, 2] > 0
        if not labelled.any():
            raise InputError("expected labelled pixels in the val_dataset, got none; correct its labels")
        return found, int(labelled.sum())

    def count(self, label: np.ndarray, mask: np.ndarray) -> Counts:
        """(1, 3, C) of a mask; see :mod:`.accuracy`."""
        return counts_of(label, mask, self.num_classes, self._ignore)


def halves(indices: Sequence[int]) -> Tuple[List[int], List[int]]:
    """The indices of the two halves, each in random order; see :class:`Frames`."""
    blocks = np.array_split(np.asarray(indices), min(BLOCKS, len(indices)))
    random = np.random.default_rng(SEED)
    return tuple([int(i) for i in random.permutation(np.concatenate(blocks[half::2]))] for half in (0, 1))
