"""A predictor without an engine, to test tiles with."""

from dataclasses import dataclass
from typing import Any, List, Tuple

import numpy as np
from comparing import zip_strict
from rtseg_inference.contract import FREE, Input, Output, OutputOp, Preprocessing, ShapeRange
from rtseg_inference.files import Array
from rtseg_inference.loaded_model import Timings
from rtseg_inference.predictor import Result
from rtseg_inference.preprocess import Preprocessor


@dataclass(frozen=True)
class Rules:
    """As much of a contract as tiles need."""

    input: Input
    preprocess: Preprocessing
    output: Output
    raw_input: bool = False


class ToyPredictor:
    """A predictor of three classes: logits are the channels of a pixel, and of class 1 also the tile's first pixel.

    Args:
        local: leave out what does not belong to the pixel.
        least, most: smallest and largest height and width.
        rules: of :class:`.Preprocessing`.
    """

    def __init__(
        self,
        op: OutputOp = "none",
        local: bool = False,
        least: Tuple[int, int] = (1, 1),
        most: Tuple[int, int] = (FREE, FREE),
        **rules: Any,
    ):
        shape = ShapeRange((1, 3, *least), (1, 3, *least), (FREE, 3, *most))
        given = Input("x", "float32", "NCHW", "RGB", shape)
        self.contract = Rules(given, Preprocessing(**rules), Output(op, "float32", 3))
        self.preprocess = Preprocessor(self.contract)  # type: ignore[arg-type]
        self.local, self.sizes, self.batches = local, set(), []

    def logits(self, tile: Array) -> Array:
        """(3, H, W) float32 for an (H, W, 3) uint8 tile."""
        x = tile.astype(np.float32) / 255
        context = 0 if self.local else x[0, 0, 0] * np.float32(0.5)
        return np.stack([x[..., 0], x[..., 1] + context, x[..., 2] * np.float32(1.1)])

    def segment(self, images: List[Array]) -> List[Result]:
        """See :meth:`.Predictor.segment`."""
        outputs, pre, run = self.run(images)
        masks = outputs if self.contract.output.op == "argmax" else outputs.argmax(axis=1)
        timings = Timings(pre, run, 0)
        contract: Any = self.contract
        return [Result(m.astype(np.uint8), i, timings, contract, o) for m, i, o in zip_strict(masks, images, outputs)]

    def run(self, tiles: List[Array]) -> Tuple[Array, float, float]:
        """See :meth:`.Predictor.run`."""
        self.preprocess.input_shape(tiles)
        self.batches.append(len(tiles))
        self.sizes.update(tile.shape[:2] for tile in tiles)
        outputs = np.stack([self.logits(tile) for tile in tiles])
        return outputs.argmax(axis=1) if self.contract.output.op == "argmax" else outputs, 1, 2
