"""Images of any size in tiles: each is segmented alone, and neighbours are blended where they overlap.

Along each side, tiles follow each other every ``tile - overlap`` pixels, and the last one ends where the image does.
From one tile to the next, the weights go over linearly within the last ``overlap`` pixels of the first, and always sum
to one. Logits or probabilities are blended before the argmax; of a graph that gives class ids, each pixel gets the id
with the largest sum of weights. Beside image and mask, memory holds one batch of tiles, and ``overlap`` rows of the
image's width for each class. ``deploy/cpp/src/tiling.cpp`` computes the same masks.
"""

import copy
import time
from dataclasses import dataclass, replace
from typing import Iterator, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from . import postprocess
from .contract import Contract, Resize
from .errors import InputError
from .files import Array
from .geometry import Geometry, Size
from .loaded_model import Timings
from .predictor import Image, Predictor, Result, as_batch, restored, to_mask
from .preprocess import Preprocessor

FITS = ("tile", "resize")  #: how a model that takes images of one size takes others
MOST_OVERLAP = 64  #: pixels, unless another overlap is asked for
PADDING = 127  #: of tiles that are smaller than the model takes: mid-grey


@dataclass(frozen=True)
class Piece:
    """A tile's place along one side of the image, in pixels from the image's edge."""

    start: int  #: where the tile begins
    end: int
    first: int  #: where its pixels begin to count
    rising: Array  #: weights of the pixels from ``first`` on, which the piece before shares; empty for the first piece
    falling: Array  #: weights of its last pixels, which the next piece shares; empty for the last piece

    @property
    def final(self) -> int:
        """Where the pixels end that no later piece changes."""
        return self.end - len(self.falling)


def pieces(length: int, tile: int, overlap: int) -> List[Piece]:
    """The places of tiles of ``tile`` pixels along ``length``; a single one if they suffice."""
    ramp = (np.arange(overlap, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, overlap))
    none = ramp[:0]
    found: List[Piece] = []
    while not found or found[-1].end < length:
        first = found[-1].end - overlap if found else 0
        end = min(length, first + tile)
        start = max(0, end - tile)
        last = end == length
        found.append(Piece(start, end, first, ramp if found else none, none if last else 1 - ramp))
    return found


class Tiles:
    """Segments images tile by tile.

    Args:
        predictor: what segments a tile.
        tile: height and width of a tile in pixels, a size that the predictor takes.
        overlap: pixels that neighbours share, less than half a tile; None for :func:`usual_overlap`.
        batch: tiles of a row that are segmented as one batch.
        with_confidence: also give :attr:`.Result.confidence`, which takes 4 bytes for each pixel of the image.

    Raises:
        InputError: the tile or the overlap has no such size.
    """

    def __init__(
        self,
        predictor: Predictor,
        tile: Size,
        overlap: Optional[int] = None,
        batch: int = 1,
        with_confidence: bool = False,
    ):
        self.tile, self.overlap = tile, usual_overlap(tile) if overlap is None else overlap
        check_tile(predictor.preprocess, self.tile, self.overlap)
        self.predictor, self.contract, self.batch = predictor, predictor.contract, batch
        self.with_confidence = with_confidence and predictor.contract.output.op != "argmax"

    def predict(self, images: Union[Image, Sequence[Image]]) -> Union[Result, List[Result]]:
        """Segment an image, or each image of a list; as :meth:`.Predictor.predict`, and of any size."""
        batch, several = as_batch(images)
        found = self.predictor.segment(batch) if self._fit(batch) else [self._segment(image) for image in batch]
        return found if several else found[0]

    def _fit(self, images: List[Array]) -> bool:
        """Whether the model takes images as they are, and none of them is larger than a tile."""
        if any(side > most for image in images for side, most in zip(image.shape, self.tile)):
            return False
        try:
            self.predictor.preprocess.input_shape(images)
        except InputError:
            return False
        return True

    def _segment(self, image: Array) -> Result:
        height, width = image.shape[:2]
        contract = self.predictor.contract
        classes = contract.output.num_classes
        mask = np.empty((height, width), postprocess.id_type(classes))
        confidence = np.empty((height, width), np.float32) if self.with_confidence else None
        spent = np.zeros(2)
        start = time.perf_counter()
        rows, columns = pieces(height, self.tile[0], self.overlap), pieces(width, self.tile[1], self.overlap)
        shared = np.empty((classes, len(rows[0].falling), width), np.float32)  # by a row of tiles and the next
        for row in rows:
            for column, planes in self._blended(image, row, columns, spent):
                at = slice(column.first, column.final)
                overlap = len(row.rising)
                if overlap:
                    planes[:, :overlap] *= row.rising[:, None]
                    planes[:, :overlap] += shared[:, :, at]
                overlap = len(row.falling)
                if overlap:
                    shared[:, :, at] = planes[:, -overlap:] * row.falling[:, None]
                    planes = planes[:, :-overlap]
                part, size = (slice(row.first, row.final), at), (planes.shape[1], planes.shape[2])
                mask[part] = postprocess.largest(planes, size, classes)
                if confidence is not None:
                    probabilities = contract.output.op == "softmax"
                    confidence[part] = postprocess.confidence(planes, Geometry(size, size, size), probabilities)
        post = 1e3 * (time.perf_counter() - start) - spent.sum()
        return Result(mask, image, Timings(spent[0], spent[1], post), contract, None, confidence)

    def _blended(self, image: Array, row: Piece, columns: List[Piece], spent: Array) -> Iterator[Tuple[Piece, Array]]:
        """Each tile of a row, (C, h, w) from its ``first`` to its ``final`` column, blended with the one before."""
        left: Array = np.empty(0, np.float32)
        for column, planes in self._planes(image, row, columns, spent):
            planes = planes[:, row.first - row.start :, column.first - column.start :]
            overlap = len(column.rising)
            if overlap:
                planes[:, :, :overlap] *= column.rising
                planes[:, :, :overlap] += left
            overlap = len(column.falling)
            if overlap:
                left = planes[:, :, -overlap:] * column.falling
                planes = planes[:, :, :-overlap]
            yield column, planes

    def _planes(self, image: Array, row: Piece, columns: List[Piece], spent: Array) -> Iterator[Tuple[Piece, Array]]:
        """Each tile of a row, (C, h, w) float32 logits or probabilities; of class ids, 1 for that class and 0 else."""
        contract = self.predictor.contract
        for start in range(0, len(columns), self.batch):
            together = columns[start : start + self.batch]
            tiles = [self._padded(image[row.start : row.end, c.start : c.end]) for c in together]
            outputs, pre, run = self.predictor.run(tiles)
            spent += pre, run
            for column, tile, output in zip(together, tiles, outputs):
                size = tile.shape[0], tile.shape[1]
                if contract.output.op == "argmax":
                    ids = np.arange(contract.output.num_classes)[:, None, None]
                    planes = np.asarray(to_mask(output, contract, size) == ids, np.float32)
                else:
                    planes = restored(output, contract, size)
                yield column, planes[:, : row.end - row.start, : column.end - column.start]

    def _padded(self, tile: Array) -> Array:
        """A tile, at the right and the bottom padded to the smallest size that the model takes."""
        rules = self.predictor.contract.preprocess
        least = (
            (1, 1) if rules.resize or rules.pad else sides(self.predictor.contract, self.predictor.preprocess.shape.min)
        )
        bottom, right = (max(0, n - length) for n, length in zip(least, tile.shape))
        return cv2.copyMakeBorder(tile, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=[PADDING] * 3)


def usual_overlap(tile: Size) -> int:
    """The overlap of tiles where none is asked for: :data:`MOST_OVERLAP`, or a quarter of a small tile."""
    return min(MOST_OVERLAP, min(tile) // 4)


def check_tile(preprocess: Preprocessor, tile: Size, overlap: int) -> None:
    """Raise :class:`.InputError` unless a model takes tiles of that size, which overlap by less than half of it."""
    height, width = tile
    try:
        preprocess.input_shape([np.broadcast_to(np.uint8(0), (height, width, 3))] * max(1, preprocess.shape.min[0]))
    except InputError as e:
        raise InputError(
            f"expected tiles of a size that the model takes, {preprocess.contract.input.layout} inputs of "
            f"{preprocess.shape}, got {height}x{width}; choose another --tile"
        ) from e
    if not 0 <= 2 * overlap < min(tile):
        raise InputError(
            f"expected an overlap of less than half a tile of {height}x{width} pixels, got {overlap}; lower --overlap"
        )


@dataclass(frozen=True)
class Fit:
    """How images are brought to the sizes that a model takes; without ``tile`` and ``resize`` they are left alone."""

    tile: Optional[Size] = None  #: height and width
    overlap: int = 0
    resize: Optional[Size] = None

    def __str__(self) -> str:
        """What the log says; empty if there is nothing to say."""
        if self.resize:
            return f"resizing images to {self.resize[0]}x{self.resize[1]} pixels"
        if self.tile:
            return f"segmenting in tiles of {self.tile[0]}x{self.tile[1]} pixels that overlap by {self.overlap}"
        return ""

    def part_of(self, image: Array) -> Array:
        """As much of an (H, W, 3) image as the model sees at once."""
        return np.ascontiguousarray(image[: self.tile[0], : self.tile[1]]) if self.tile else image

    def applied(self, predictor: Predictor, batch: int = 1, with_confidence: bool = False) -> Union[Predictor, Tiles]:
        """What segments images of any size with ``predictor``.

        Args:
            batch: tiles that are segmented as one batch.
            with_confidence: see :class:`Tiles`.
        """
        if self.tile:
            return Tiles(predictor, self.tile, self.overlap, batch, with_confidence)
        return resizing(predictor, self.resize) if self.resize else predictor


def choose_fit(
    preprocess: Preprocessor, tile: Optional[Size] = None, overlap: Optional[int] = None, fit: str = FITS[0]
) -> Fit:
    """How a model is to take images of any size.

    Args:
        preprocess: of the model.
        tile: height and width of tiles, if they are asked for.
        overlap: pixels that tiles share, if it is asked for.
        fit: for a model that takes images of one size, and has no rule to resize others: "tile" segments them in tiles
            of that size, padded where the image is smaller; "resize" resizes them to it, whatever their proportions.

    Raises:
        InputError: the model takes no such tiles, or what is asked for does not go together.
    """
    contract = preprocess.contract
    size = only_size(contract)
    if fit not in FITS:
        raise InputError(f"expected --fit tile or resize, got {fit!r}; choose one")
    if fit == "resize" and (tile is not None or overlap is not None):
        raise InputError("expected --tile and --overlap without --fit resize, got both; leave one out")
    if fit == "resize" and size and contract.raw_input:
        raise InputError("expected --fit tile with a model that takes camera images of one size, got resize; change it")
    if fit == "resize":
        return Fit(resize=size)
    if tile is None and contract.preprocess.resize is None:
        tile = size
    if tile is None and overlap is not None:
        raise InputError("expected --overlap with --tile, or with a model of one size, got it alone; add --tile")
    if tile is None:
        return Fit()
    overlap = usual_overlap(tile) if overlap is None else overlap
    check_tile(preprocess, tile, overlap)
    return Fit(tile, overlap)


def only_size(contract: Contract) -> Optional[Size]:
    """Height and width of the only input that the model takes, or None if it takes several."""
    pad, shape = contract.preprocess.pad, contract.input.shape
    if pad is not None:
        return pad.height, pad.width
    least = sides(contract, shape.min)
    return least if least == sides(contract, shape.max) else None


def sides(contract: Contract, shape: Sequence[int]) -> Size:
    """Height and width in a shape of the model's input."""
    return (shape[1], shape[2]) if contract.input.layout == "NHWC" else (shape[2], shape[3])


def resizing(predictor: Predictor, size: Size) -> Predictor:
    """The same network, for images that are resized to ``size`` and not padded."""
    changed = copy.copy(predictor)
    rules = replace(predictor.contract.preprocess, resize=Resize("exact", height=size[0], width=size[1]), pad=None)
    changed.contract = replace(predictor.contract, preprocess=rules)
    changed.preprocess = Preprocessor(changed.contract, predictor.preprocess.shape)
    return changed
