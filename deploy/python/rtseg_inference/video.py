"""A video's flicker: how much there is, and less of it by a mean over time; and a matching that is held.

Where the picture stands still, a class that changes from one frame to the next is the network's doubt and not the
scene. All parts of this module look for such places in the same way: a frame is shrunk to cells of 4 x 4 pixels, which
averages the camera's noise, and a cell stands still if none of its three colours differs from an earlier frame by more
than a number of grey levels.
"""

import time
from typing import List, Optional, Sequence, Union, cast

import cv2
import numpy as np

from .contract import Contract
from .errors import InputError
from .files import Array
from .geometry import Geometry, Size, geometry
from .held_matching import HeldMatching, check_hold, holding
from .predictor import Predictor, Result, check_output
from .tiling import Tiles

CELL = 4  #: pixels
MOTION = 8  #: grey levels
CHANGE = 0.5  #: share of the picture


class Stillness:
    """Finds where a frame shows what the frame before it shows.

    Args:
        motion: grey levels, of 255, by which a cell that stands still may change.

    Attributes:
        cells: of the last frame, (h, w, 3) uint8.
    """

    def __init__(self, motion: int = MOTION):
        self.motion = motion
        self.cells: Array = np.empty((0, 0, 3), np.uint8)
        self._size: Optional[Size] = None

    def __call__(self, image: Array) -> Optional[Array]:
        """The next frame, (H, W, 3) uint8 -> (h, w) uint8, 1 for cells that stand still; None without one before it.

        A frame of another size has none before it.
        """
        height, width = image.shape[:2]
        before = self.cells if self._size == (height, width) else None
        self._size = height, width
        self.cells = cv2.resize(image, (-(-width // CELL), -(-height // CELL)), interpolation=cv2.INTER_AREA)
        return None if before is None else self.since(before)

    def since(self, cells: Array) -> Array:
        """The same as for the last frame, by comparison with the ``cells`` of an earlier one of its size."""
        return np.asarray(cv2.absdiff(self.cells, cells).max(axis=2) <= self.motion, np.uint8)


class Flicker:
    """Counts the pixels that stand still, and those of them whose class changes.

    Attributes:
        compared: pixels of all frames that have one before them.
        still: those that stand still.
        changed: those that stand still and change their class.
    """

    def __init__(self) -> None:
        self.compared = self.still = self.changed = 0
        self._mask: Optional[Array] = None

    def add(self, mask: Array, still: Optional[Array]) -> None:
        """The next frame's class ids (H, W), and what :class:`Stillness` says of the frame."""
        before, self._mask = self._mask, mask
        if still is None or before is None:
            return
        height, width = mask.shape
        whole = cv2.resize(still, (width, height), interpolation=cv2.INTER_NEAREST)
        self.compared += mask.size
        self.still += cv2.countNonZero(whole)
        self.changed += cv2.countNonZero(whole * (mask != before))

    def __str__(self) -> str:
        """What the log says; empty if no two frames could be compared."""
        if not self.compared:
            return ""
        share = self.still / self.compared
        flicker = self.changed / self.still if self.still else 0.0
        return f"flicker: {flicker:.2%} of the pixels that stand still change their class ({share:.1%} stand still)"


class RunningMean:
    """The mean of a network's outputs over the frames since a place last moved, of up to ``frames`` of them.

    The k-th frame since then has the weight 1 / min(k, ``frames``), and the mean of the frames before it the rest: a
    plain mean at first, which forgets exponentially later. A place that moves has the output of its own frame.
    """

    def __init__(self, frames: int):
        self.frames = frames
        self._mean: Optional[Array] = None
        self._count: Array = np.empty(0, np.float32)

    def __call__(self, output: Array, still: Optional[Array], sizes: Geometry) -> Array:
        """The next frame's logits or probabilities (C, h, w) float32 -> their mean (C, h, w).

        Args:
            output: of the network.
            still: what :class:`Stillness` says of the frame.
            sizes: of the frame; they say where the output's values lie in it.
        """
        if self._mean is None or still is None or self._mean.shape != output.shape:
            self._count = np.ones(output.shape[1:], np.float32)
            self._mean = output
            return output
        count = np.minimum(self._count + 1, np.float32(self.frames))
        self._count = np.where(_at_output(still, output, sizes), count, np.float32(1))
        weight = np.float32(1) / self._count
        self._mean = output * weight + self._mean * (np.float32(1) - weight)
        return self._mean


def _at_output(still: Array, output: Array, sizes: Geometry) -> Array:
    """(h, w) booleans for an output (C, h, w): whether the cell around each value's place stands still."""
    places = []
    for count, network, content, cells in zip(output.shape[1:], sizes.network, sizes.content, still.shape):
        centres = (np.arange(count) + 0.5) * (network / count)  # in pixels of the network's input
        places.append(np.minimum((centres * (cells / content)).astype(np.int64), cells - 1))
    return np.asarray(still[np.ix_(*places)] > 0)


def check_steady(contract: Contract, tiled: bool) -> None:
    """Raise :class:`.InputError` if there is nothing to average: tiles, or a model that gives class ids."""
    if tiled:
        raise InputError(
            "expected --steady with whole frames, got tiles; leave --tile out, or add --fit resize for a model of one "
            "size"
        )
    if contract.output.op == "argmax":
        raise InputError(
            "expected --steady with a model that gives logits or probabilities, got one that gives class ids; export "
            "it with --output_op logits"
        )


class Clip:
    """Segments the frames of a video in their order.

    Args:
        segmenter: what segments a frame.
        steady: how many frames to average where the picture stands still, at most; 1 for none.
        motion: grey levels by which a place that stands still may change.
        hold: how many frames to hold a matching for, at most; see :mod:`.held_matching`.
        change: hold it no longer once more than this share of the picture moved since the frame that was matched.

    Attributes:
        flicker: of the masks so far.
        matched: how many frames were matched, where a matching is held.

    Raises:
        InputError: see :func:`check_steady`, :func:`.check_hold` and :func:`.holding`.
    """

    def __init__(
        self,
        segmenter: Union[Predictor, Tiles],
        steady: int = 1,
        motion: int = MOTION,
        hold: int = 1,
        change: float = CHANGE,
    ):
        if steady > 1:
            check_steady(segmenter.contract, isinstance(segmenter, Tiles))
        self._held: Optional[HeldMatching] = None
        if hold > 1:
            predictor = segmenter.predictor if isinstance(segmenter, Tiles) else segmenter
            check_hold(predictor is not segmenter, predictor.configuration.device, predictor.configuration.backend)
            segmenter, self._held = holding(predictor, hold)
        self.segmenter, self.change = segmenter, change
        self.flicker, self.matched = Flicker(), 0
        self._stillness = Stillness(motion)
        self._mean = RunningMean(steady) if steady > 1 else None
        self._at_match: Array = self._stillness.cells

    def predict(self, images: Sequence[Array]) -> List[Result]:
        """Segment the next frames as one batch, or each alone to hold a matching; raises as Predictor.predict."""
        if self._held is None:
            return self._predict(images)
        results: List[Result] = []
        for image in images:
            results += self._predict([image])
        return results

    def _predict(self, images: Sequence[Array]) -> List[Result]:
        still = [self._stillness(image) for image in images]
        if self._held and self._changed():
            self._held.renew()
        results = self._steadied(images, still) if self._mean else cast(List[Result], self.segmenter.predict(images))
        if self._held and self._held.fresh:
            self.matched += 1
            self._at_match = self._stillness.cells
        for result, where in zip(results, still):
            self.flicker.add(result.mask, where)
        return results

    def _changed(self) -> bool:
        """Whether too much of the picture moved since the frame that was matched."""
        if self._at_match.shape != self._stillness.cells.shape:
            return True
        return 1 - float(self._stillness.since(self._at_match).mean()) > self.change

    def _steadied(self, images: Sequence[Array], still: Sequence[Optional[Array]]) -> List[Result]:
        predictor, mean = cast(Predictor, self.segmenter), cast(RunningMean, self._mean)
        outputs, pre, run = predictor.run(images)
        start = time.perf_counter()
        means = []
        for image, output, where in zip(images, outputs, still):
            sizes = geometry(predictor.contract, (image.shape[0], image.shape[1]))
            check_output(output, predictor.contract, sizes)
            means.append(mean(output, where, sizes))
        return predictor.results(images, means, pre, run, start)
