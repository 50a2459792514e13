"""Images of any size in tiles: each is segmented alone, and neighbours are blended where they overlap.

Along each side, tiles follow each other every ``tile - overlap`` pixels, and the last one ends where the image does.
From one tile to the next, the weights go over linearly within the last ``overlap`` pixels of the first, and always sum
to one. Logits or probabilities are blended before the argmax; of a graph that gives class ids, each pixel keeps the id
of the tile with the larger weight. Beside image and mask, memory holds one tile, and strips of ``overlap`` pixels.
"""

from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

import numpy as np

from . import postprocess
from .errors import InputError
from .files import Array
from .geometry import geometry
from .loaded_model import Timings
from .predictor import Predictor, Result


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
        overlap: pixels that neighbours share, at most half a tile.

    Raises:
        InputError: the tile or the overlap has no such size.
    """

    def __init__(self, predictor: Predictor, tile: Tuple[int, int], overlap: int = 64):
        height, width = tile
        if height < 1 or width < 1 or not 0 <= overlap <= min(tile) // 2:
            raise InputError(
                f"expected an overlap from 0 to half a tile of {height} x {width} pixels, got {overlap}; lower it"
            )
        self.predictor, self.tile, self.overlap = predictor, tile, overlap

    def predict(self, image: Array) -> Result:
        """Segment an (H, W, 3) uint8 BGR image.

        Raises:
            InputError: the predictor does not take a tile of this size.
        """
        height, width = image.shape[:2]
        contract = self.predictor.contract
        mask = np.zeros((height, width), postprocess.id_type(contract.output.num_classes))
        spent = np.zeros(3)
        columns = pieces(width, self.tile[1], self.overlap)
        above: Optional[Array] = None  # (C, overlap, W): the strip that the next row of tiles shares
        for row in pieces(height, self.tile[0], self.overlap):
            below = None
            for column, planes in self._blended(image, row, columns, spent):
                if below is None:
                    below = np.empty((len(planes), len(row.falling), width), np.float32)
                at = slice(column.first, column.final)
                share = len(row.rising)
                if above is not None:
                    planes[:, :share] *= row.rising[:, None]
                    planes[:, :share] += above[:, :, at]
                if len(row.falling):
                    below[:, :, at] = planes[:, -len(row.falling) :] * row.falling[:, None]
                    planes = planes[:, : -len(row.falling)]
                mask[row.first : row.final, at] = planes.argmax(axis=0)
            above = below
        return Result(mask, image, Timings(*spent), contract, None)

    def _blended(self, image: Array, row: Piece, columns: List[Piece], spent: Array) -> Iterator[Tuple[Piece, Array]]:
        """Each tile of a row, (C, h, w) from its ``first`` to its ``final`` column, blended with the one before."""
        left: Optional[Array] = None
        for column in columns:
            planes = self._planes(image, row, column, spent)[:, row.first - row.start :, column.first - column.start :]
            share = len(column.rising)
            if left is not None:
                planes[:, :, :share] *= column.rising
                planes[:, :, :share] += left
            if len(column.falling):
                left = planes[:, :, -len(column.falling) :] * column.falling
                planes = planes[:, :, : -len(column.falling)]
            yield column, planes

    def _planes(self, image: Array, row: Piece, column: Piece, spent: Array) -> Array:
        """(C, h, w) float32 logits or probabilities of a tile; of ids, 1 for that class and 0 else."""
        tile = np.ascontiguousarray(image[row.start : row.end, column.start : column.end])
        result = self.predictor.predict(tile)
        assert isinstance(result, Result) and result.output is not None
        spent += result.timings.pre, result.timings.run, result.timings.post
        contract = self.predictor.contract
        if contract.output.op == "argmax":
            ids = np.arange(contract.output.num_classes)[:, None, None]
            return np.asarray(result.mask == ids, np.float32)
        sizes = geometry(contract, (tile.shape[0], tile.shape[1]))
        return np.stack([postprocess.restore(plane, sizes) for plane in result.output])
