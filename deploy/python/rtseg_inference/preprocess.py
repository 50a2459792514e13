"""From camera images to the network's input, as deploy.yaml says: resize, pad, colour order, normalise."""

from typing import Optional, Sequence

import cv2
import numpy as np

from .contract import Contract, ShapeRange
from .errors import InputError
from .geometry import geometry
from .resizing import resize

INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


class Preprocessor:
    """Turns 8-bit BGR images into one batch.

    The result is that of PaddleSeg's transforms, bit for bit where OpenCV resizes without IPP (see :mod:`.resizing`).
    These resize float32 pixels, and so does this; pixels that are not resized take one of 256 values per channel, and
    normalising them is a look-up in a table.
    """

    def __init__(self, contract: Contract, shape: Optional[ShapeRange] = None):
        """``shape``: the inputs that the runtime takes, where that is less than the contract allows."""
        self.contract, self.shape = contract, shape or contract.shape
        self.channels = list(zip(contract.mean, contract.std))
        self.tables = [self._normalise(np.arange(256, dtype=np.float32), m, s) for m, s in self.channels]

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(H, W, 3) uint8 BGR images -> (B, 3, h, w) float32, or (B, H, W, 3) uint8 where the graph normalises.

        Raises:
            InputError: an image is of another kind, the images do not come to one size, or the batch lies outside the
                shapes that the model was exported for.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise InputError(
                    f"expected 8-bit BGR images of shape (H, W, 3), got {image.dtype} {image.shape}; convert it"
                )
        raw = self.contract.raw_input
        sizes = {i.shape[:2] if raw else geometry(self.contract, i.shape[:2]).network for i in images}
        if len(sizes) != 1:
            raise InputError(f"expected one batch to come to one size, got {sorted(sizes)}; predict them one at a time")
        height, width = sizes.pop()
        shape = (len(images), height, width, 3) if raw else (len(images), 3, height, width)
        if not self.shape.contains(shape):
            raise InputError(
                f"the model takes {self.contract.input_layout} inputs of {self.shape}, got "
                f"{'x'.join(map(str, shape))}; resize the image, or export the model for this size"
            )
        if raw:
            return np.stack(images)
        batch = np.empty(shape, np.float32)
        for image, out in zip(images, batch):
            self._fill(image, out)
        return batch

    def _fill(self, image: np.ndarray, out: np.ndarray) -> None:
        """Write the normalised ``image`` (H, W, 3) to ``out`` (3, h, w)."""
        height, width = geometry(self.contract, image.shape[:2]).content
        if self.contract.color == "RGB":
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        as_stored = (height, width) == image.shape[:2]
        if not as_stored:
            method = INTERPOLATION[self.contract.resize.get("interpolation", "linear")]
            image = resize(image.astype(np.float32), (height, width), method)
        for channel, ((mean, std), table, plane) in enumerate(zip(self.channels, self.tables, out)):
            if self.contract.pad:
                plane[...] = self._normalise(np.float32(self.contract.pad["value"]), mean, std)
                plane = plane[:height, :width]
            pixels = cv2.extractChannel(image, channel)
            plane[...] = cv2.LUT(pixels, table) if as_stored else self._normalise(pixels, mean, std)

    def _normalise(self, pixels: np.ndarray, mean: float, std: float) -> np.ndarray:
        # As PaddleSeg: division by 255 in float32, then each step in float64, rounded to float32.
        pixels = (
            pixels / np.float32(255) if self.contract.scale == 1 / 255 else pixels * np.float32(self.contract.scale)
        )
        centred = (pixels - np.float64([mean])).astype(np.float32)
        return (centred / np.float64([std])).astype(np.float32)
