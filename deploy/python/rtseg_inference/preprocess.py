"""From camera images to the network's input, as described in deploy.yaml: resize, pad, colour order, normalise."""

from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from .contract import Contract, Interpolation, ShapeRange
from .errors import InputError
from .files import Array
from .geometry import geometry
from .images import LARGE, pixel_limit
from .resizing import bands, resize

INTERPOLATION: Dict[Interpolation, int] = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


class Preprocessor:
    """Turns 8-bit BGR images into one batch.

    The result equals that of PaddleSeg's transforms, bit for bit where OpenCV resizes without IPP (see
    :mod:`.resizing`). Like them, it resizes float32 pixels. Pixels that are not resized have one of 256 values per
    channel, so they are normalised by table lookup.
    """

    def __init__(self, contract: Contract, shape: Optional[ShapeRange] = None):
        """``shape``: the inputs that the runtime takes, if those are fewer than the contract allows."""
        self.contract, self.shape = contract, shape or contract.input.shape
        self.order = (2, 1, 0) if contract.input.color == "RGB" else (0, 1, 2)  #: channels of a BGR image
        self.channels = list(zip(contract.preprocess.mean, contract.preprocess.std))
        self.tables: List[Array] = [self._normalise(np.arange(256, dtype=np.float32), m, s) for m, s in self.channels]

    def __call__(self, images: Sequence[Array]) -> Array:
        """(H, W, 3) uint8 BGR images -> (B, 3, h, w) float32, or (B, H, W, 3) uint8 where the graph normalises.

        Raises:
            InputError: an image is of another kind, the images do not come to one size, or the batch lies outside the
                shapes that the model was exported for.
        """
        shape = self.input_shape(images)
        if self.contract.raw_input:
            return np.stack(images)
        batch = np.empty(shape, np.float32)
        for image, out in zip(images, batch):
            self._fill(image, out)
        return batch

    def input_shape(self, images: Sequence[Array]) -> Tuple[int, ...]:
        """The shape of the batch that images of these sizes make; their pixels are not looked at.

        Raises:
            InputError: as for the batch itself.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise InputError(
                    f"expected 8-bit BGR images of shape (H, W, 3), got {image.dtype} {image.shape}; convert it"
                )
        raw = self.contract.raw_input
        sizes = {(i.shape[0], i.shape[1]) for i in images}
        if not raw:
            sizes = {geometry(self.contract, size).network for size in sizes}
        if len(sizes) != 1:
            raise InputError(
                f"expected the images of a batch to have one size, got {sorted(sizes)}; predict them one at a time"
            )
        height, width = sizes.pop()
        shape = (len(images), height, width, 3) if raw else (len(images), 3, height, width)
        if not self.shape.contains(shape):
            raise InputError(
                f"the model takes {self.contract.input.layout} inputs of {self.shape}, got "
                f"{'x'.join(map(str, shape))}; resize the image (in commands: --fit resize or tile), or export the "
                "model for this size"
            )
        if self.shape.min[0] > 1 and len(images) * height * width > pixel_limit():  # filled up with copies
            raise InputError(
                f"expected at most {pixel_limit() // 10**6} million pixels in the model's batch of "
                f"{self.shape.min[0]}, got {len(images)} images of {width} x {height}; shrink them, or raise "
                "RTSEG_MEGAPIXELS"
            )
        return shape

    def _fill(self, image: Array, out: Array) -> None:
        """Write the normalised ``image`` (H, W, 3) to ``out`` (3, h, w)."""
        preprocess = self.contract.preprocess
        height, width = geometry(self.contract, (image.shape[0], image.shape[1])).content
        as_stored = (height, width) == image.shape[:2]
        for channel, (mean, std), table, plane in zip(self.order, self.channels, self.tables, out):
            if preprocess.pad:
                plane[...] = self._normalise(np.array([preprocess.pad.value], np.float32), mean, std)
                plane = plane[:height, :width]
            if as_stored or not preprocess.resize:
                plane[...] = cv2.LUT(cv2.extractChannel(image, channel), table)
                continue
            # One channel at a time, and of a large image a few rows, because floats take much memory.
            method = INTERPOLATION[preprocess.resize.interpolation]
            if method != cv2.INTER_LINEAR or image.shape[0] * image.shape[1] <= LARGE:
                pixels = cv2.extractChannel(image, channel).astype(np.float32)
                pixels = resize(pixels, (height, width), method)
                plane[...] = self._normalise(pixels, mean, std)
                continue
            for band in bands(image.shape[0], height):
                pixels = cv2.extractChannel(image[band.source], channel).astype(np.float32)
                plane[band.rows] = self._normalise(band.resized(pixels, width), mean, std)

    def _normalise(self, pixels: Array, mean: float, std: float) -> Array:
        # As in PaddleSeg: division by 255 in float32, then each step in float64, rounded to float32.
        scale = self.contract.preprocess.scale
        pixels = pixels / np.float32(255) if scale == 1 / 255 else pixels * np.float32(scale)
        centred: Array = (pixels - np.array([mean], np.float64)).astype(np.float32)
        normalised: Array = (centred / np.array([std], np.float64)).astype(np.float32)
        return normalised
