"""The predictor: camera images in, class ids out."""

import os
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union, cast

import cv2
import numpy as np

from . import drawing, postprocess, results, showing
from .contract import INT8, Contract
from .errors import InputError
from .files import Array, path_text, write_image
from .geometry import Geometry, geometry
from .images import read_image
from .int8_contract import Int8
from .loaded_model import LoadedModel, Path, Timings, Verification, shape_text

Image = Union[Path, Array]
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Result:
    """The segmentation of one image."""

    mask: Array  #: (H, W) class ids at the image's size, uint8 or uint16
    image: Array = field(repr=False)  #: the image, (H, W, 3) uint8 BGR
    timings: Timings
    contract: Contract = field(repr=False)
    output: Optional[Array] = field(repr=False)  #: the network's output without the batch axis; None for tiled images
    blended_confidence: Optional[Array] = field(default=None, repr=False)  #: :attr:`confidence` of a tiled image

    @property
    def scores(self) -> Optional[Array]:
        """(C, H, W) class probabilities at the image's size; None for an export of class ids, and for tiled images."""
        if self.contract.output.op == "argmax" or self.output is None:
            return None
        height, width = self.mask.shape
        planes = restored(self.output, self.contract, (height, width))
        return planes if self.contract.output.op == "softmax" else postprocess.softmax(planes)

    @property
    def confidence(self) -> Optional[Array]:
        """(H, W) float32, the probability of each pixel's class; None for an export of class ids.

        For tiled images, :class:`.Tiles` computes it if asked to, from the blended logits or probabilities.
        """
        if self.contract.output.op == "argmax" or self.output is None:
            return self.blended_confidence
        height, width = self.mask.shape
        sizes = geometry(self.contract, (height, width))
        return postprocess.confidence(self.output, sizes, probabilities=self.contract.output.op == "softmax")

    def overlay(
        self, alpha: float = 0.5, legend: bool = False, outlines: bool = False, clear: str = "background"
    ) -> Array:
        """(H, W, 3) uint8 BGR: the image with the colours of its classes; higher with a legend, which is below it.

        Args:
            alpha, legend, outlines, clear: see :class:`.drawing.Style`.

        Raises:
            InputError: ``alpha`` is not from 0 to 1, or no class has the name ``clear``.
        """
        style = drawing.Style(alpha, legend, outlines, clear)
        return drawing.overlay(self.image, self.mask, self.contract.classes, self.contract.palette, style)

    def save(self, path: Path) -> None:
        """Write the mask as an image of class ids: 8 bits, or 16 for more than 256 classes.

        Raises:
            InputError: the suffix is of a format that would change the ids, or the file cannot be written.
        """
        path = path_text(path, "a file to write")
        if not path.lower().endswith(MASK_SUFFIXES):
            raise InputError(
                f"expected a lossless format for class ids ({', '.join(MASK_SUFFIXES)}), got {path!r}; use .png"
            )
        write_image(path, self.mask)

    def show(self) -> None:
        """Show the overlay with its legend: below the cell of a notebook, or in a window until that is closed.

        Raises:
            InputError: there is no notebook and no display.
        """
        display = showing.notebook_display()
        if display is None:
            showing.in_window(self._repr_png_())
        else:
            display(self)

    def _repr_png_(self) -> bytes:
        """The overlay with its legend as a PNG, by which notebooks show a result."""
        return bytes(cv2.imencode(".png", self.overlay(legend=True))[1].tobytes())

    def polygons(self) -> List[results.Polygon]:
        """The connected regions of each class; see :func:`.results.polygons`."""
        return results.polygons(self.mask)

    def areas(self) -> Dict[str, Any]:
        """The classes of the image with their pixels, shares and scores; see :func:`.results.class_areas`."""
        return results.class_areas(self.mask, self.contract.classes, self.confidence)

    def coco(self, image_id: int, first_id: int = 1) -> List[Dict[str, Any]]:
        """Annotations in COCO's form; see :func:`.results.coco_annotations`."""
        return results.coco_annotations(self.mask, image_id, first_id)

    def detections(self) -> Any:
        """``supervision.Detections``, where that package is installed; see :func:`.results.detections`."""
        return results.detections(self.mask, self.contract.classes)


class Predictor(LoadedModel):
    """A model for segmentation, ready to run; :class:`.LoadedModel` has the arguments."""

    def predict(self, images: Union[Image, Sequence[Image]]) -> Union[Result, List[Result]]:
        """Segment an image, or a list of images as one batch.

        Args:
            images: a path or an (H, W, 3) uint8 BGR array, or a list or tuple of these (or a (B, H, W, 3) array). The
                images of a batch may differ in size where the model's resize rule brings them to one.

        Returns:
            A :class:`Result`, or a list of them.

        Raises:
            InputError: there is no image, one is of another kind or cannot be read, or lies outside the shapes that the
                model was exported for.
        """
        batch, several = as_batch(images)
        found = self.segment(batch)
        return found if several else found[0]

    def segment(self, images: Sequence[Array]) -> List[Result]:
        outputs, pre, run = self.run(images)
        return self.results(images, outputs, pre, run, time.perf_counter())

    def results(
        self, images: Sequence[Array], outputs: Union[Array, Sequence[Array]], pre: float, run: float, start: float
    ) -> List[Result]:
        """The results of outputs (C, h, w) of the network for images (H, W, 3).

        Args:
            pre, run: milliseconds of preprocessing and network.
            start: when the postprocessing began, by ``time.perf_counter``.
        """
        masks = [
            to_mask(output, self.contract, (image.shape[0], image.shape[1])) for output, image in zip(outputs, images)
        ]
        timings = Timings(pre, run, 1e3 * (time.perf_counter() - start))
        return [Result(m, image, timings, self.contract, o) for m, image, o in zip(masks, images, outputs)]

    def verify(self) -> Verification:
        """Run the golden image, or those of INT8, and compare with what the network gave before its export."""
        if self.configuration.precision == INT8 and self.contract.int8 is not None:
            return self._verify_int8(self.contract.int8)
        golden = self.contract.golden
        tolerance = golden.tolerance_of(self.configuration.precision)
        assert golden.mask is not None
        result, agreement = self._compare(golden.image, golden.mask)
        error = None if result.output is None else self.rms_error(result.output)
        # A comparison with NaN is False: an output that overflowed does not pass.
        passed = agreement >= self.least_agreement and (error is None or error <= tolerance.rms_error)
        return Verification(error, agreement, passed)

    def verify_batch(self, images: Sequence[Array]) -> Verification:
        """Run ``images`` as one batch, and compare each mask with that of the image alone.

        :meth:`verify` runs a batch of one; a GPU has other kernels for larger ones.
        """
        together = self.segment(images)
        shares = [float((r.mask == self.segment([image])[0].mask).mean()) for r, image in zip(together, images)]
        agreement = min(shares)
        return Verification(None, agreement, agreement >= self.least_agreement, f"pixels in a batch of {len(images)}")

    @property
    def least_agreement(self) -> float:
        """The smallest share of a mask's pixels that must keep their class in this precision."""
        precision, int8 = self.configuration.precision, self.contract.int8
        if precision == INT8 and int8 is not None:
            return int8.result(self.configuration.backend).agreement
        return self.contract.golden.tolerance_of(precision).agreement

    def _verify_int8(self, int8: Int8) -> Verification:
        agreement = min(self._compare(frame.image, frame.mask)[1] for frame in int8.frames)
        unit = f"pixels in the worst of {len(int8.frames)} frames"
        cost = int8.cost(self.configuration.backend)
        return Verification(None, agreement, agreement >= self.least_agreement, unit, cost)

    def _compare(self, image: str, mask: str) -> Tuple[Result, float]:
        """The result of an image of the folder, and the share of its pixels that agree with a mask there."""
        result = self.segment([read_image(self.contract.path(image))])[0]
        expected = read_image(self.contract.path(mask), cv2.IMREAD_UNCHANGED)
        if expected.shape != result.mask.shape or expected.dtype != result.mask.dtype:
            raise InputError("the golden mask has another size or type than the network's; export the model again")
        return result, float((result.mask == expected).mean())


def as_batch(images: Union[Image, Sequence[Image]]) -> Tuple[List[Array], bool]:
    """The images that were given, each (H, W, 3) uint8 BGR, and whether they were given as a batch.

    Raises:
        InputError: there is none, or one is of another kind.
    """
    several = isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim == 4)
    batch = [as_pixels(i) for i in (cast(Sequence[Image], images) if several else [cast(Image, images)])]
    if not batch:
        raise InputError("expected at least one image, got none; give a path or an (H, W, 3) uint8 BGR array")
    return batch, several


def as_pixels(image: Image) -> Array:
    """(H, W, 3) uint8 BGR of an image that is a path, such an array, or an image of PIL.

    Raises:
        InputError: it is of another type or shape, or the file cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(path_text(image, "an image file"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    if hasattr(image, "convert"):  # PIL's, without importing it
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
    fix = "convert it"
    if isinstance(image, np.ndarray) and image.ndim == 2:
        fix = "for a grey image, give cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
    raise InputError(f"expected a path or 8-bit BGR images of shape (H, W, 3), got {described(image)}; {fix}")


def described(value: object) -> str:
    """What a value is, in words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    if value is None:
        return "None"
    return f"an object of the type {type(value).__module__.partition('.')[0]}.{type(value).__name__}"


def to_mask(output: Array, contract: Contract, size: Tuple[int, int]) -> Array:
    """The network's output for one image -> (H, W) class ids at the image's size.

    Logits and probabilities are resized before the argmax, as in PaddleSeg's predict; class ids are resized by
    nearest-neighbour.
    """
    sizes = geometry(contract, size)
    check_output(output, contract, sizes)
    if contract.output.op == "argmax":
        return postprocess.restore_ids(output.astype(postprocess.id_type(contract.output.num_classes)), sizes)
    return postprocess.argmax(output, sizes)


def restored(output: Array, contract: Contract, size: Tuple[int, int]) -> Array:
    """The network's output for one image -> (C, H, W) float32 logits or probabilities at the image's size."""
    sizes = geometry(contract, size)
    check_output(output, contract, sizes)
    return np.stack([postprocess.restore(plane, sizes) for plane in output])


def check_output(output: Array, contract: Contract, sizes: Geometry) -> None:
    """Raise :class:`.InputError` unless the network's output for one image is what the contract states."""
    classes = contract.output.num_classes
    if contract.output.op != "argmax":
        if output.ndim != 3 or len(output) != classes:
            raise InputError(
                f"expected {classes} classes of the network, got {shape_text(output)} of logits; export the model again"
            )
    elif output.shape != sizes.network:
        height, width = sizes.network
        raise InputError(
            f"expected class ids for {height}x{width} pixels of the network, got {shape_text(output)}; export the "
            "model again"
        )
    elif output.min() < 0 or output.max() >= classes:
        raise InputError(
            f"expected class ids from 0 to {classes - 1} of the network, got others; export the model again"
        )
