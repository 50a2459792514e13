"""INT8 in an exported folder: kept only if it is faster and loses little, on the validation set, which is measured."""

import dataclasses
import math
import os
import statistics
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from rtseg_inference import processor
from rtseg_inference.configuration import Configuration
from rtseg_inference.contract import INT8, Contract
from rtseg_inference.errors import NotInstalled
from rtseg_inference.files import write_image
from rtseg_inference.images import read_image
from rtseg_inference.int8_contract import INT8_BACKENDS, GoldenFrame, Int8, Int8Result
from rtseg_inference.predictor import to_mask
from rtseg_inference.preprocess import Preprocessor
from rtseg_inference.progress import watched
from rtseg_inference.runtime import Runtime, load
from rtseg_inference.timing import REST, measure

from ..data.check import read_pair
from ..data.scores import confusion_matrix, intersection_over_union
from ..errors import InputError

REFERENCE = (INT8_BACKENDS[0], "fp32")  # ONNX Runtime is always there
FRAMES = 4  # that every runtime is checked with
MIN_GAIN = 1.1
TURNS = 9  # of the timing
LARGEST_MARGIN = 0.05  # between the agreement that was measured and the one that is asked for


@dataclass(frozen=True)
class Quantization:
    """How a network is brought to INT8, and what is asked of the result in a backend that is to be kept."""

    images: Sequence[str]  #: files to calibrate with
    dataset: Any  #: PaddleSeg's, of the validation set
    max_drop: float = 1.0  #: points of mIoU that it may lose
    min_gain: Optional[float] = MIN_GAIN  #: how many times as fast as fp32 it has to be; None: it is not timed
    weight_bits: Optional[int] = None  #: None for what this processor needs


@dataclass(frozen=True)
class _Scores:
    """What the validation set shows of a network."""

    miou: float
    agreement: np.ndarray  #: (images,) share of the pixels that keep the class that they have in fp32


def add_int8(contract: Contract, wanted: Quantization) -> Contract:
    """Write the INT8 form and its frames to the folder of ``contract``, and print what it gains and loses.

    Args:
        contract: of an exported network for segmentation with an ONNX form.

    Returns:
        ``contract`` with the section ``int8``, of the backends in which it gains and loses what is asked for.

    Raises:
        InputError: there is no such backend; or an image or a label cannot be read, or the network does not take it.
    """
    bits = wanted.weight_bits or processor.weight_bits()
    name = f"{os.path.splitext(contract.model)[0]}_int8.onnx"
    unmeasured = Int8(name, bits, images=len(wanted.dataset), miou_fp32=0.0, backends={}, frames=())
    networks = _Networks(dataclasses.replace(contract, int8=unmeasured))
    networks.quantise(wanted.images, bits)
    print(f"INT8, weights of {bits} bits, calibrated with {len(wanted.images)} images:")
    refused: List[str] = []
    if wanted.min_gain is not None:
        refused = networks.leave_out_slow(read_pair(wanted.dataset, 0)[0], wanted.min_gain)
        _require_some(networks, refused)
    scores = networks.scores(wanted.dataset)
    refused += networks.leave_out_inaccurate(scores, wanted.max_drop)
    _require_some(networks, refused)
    for sentence in refused:
        print(f"left out: {sentence}")
    kept = {backend: scores[backend, INT8] for backend in networks.quantised}
    int8 = dataclasses.replace(
        unmeasured,
        miou_fp32=scores[REFERENCE].miou,
        backends={
            backend: Int8Result(found.miou, _tolerance(float(found.agreement.min()))) for backend, found in kept.items()
        },
        frames=networks.write_frames(wanted.dataset, _worst(np.min([k.agreement for k in kept.values()], axis=0))),
    )
    return dataclasses.replace(contract, int8=int8)


def _require_some(networks: "_Networks", refused: Sequence[str]) -> None:
    if not networks.quantised:
        raise InputError(f"{'; '.join(refused)}; export without --precision int8, or change --min_gain or --max_drop")


class _Networks:
    """The ONNX forms of ``contract`` in fp32 and INT8, in the runtimes that are installed.

    Attributes:
        quantised: the backends in which INT8 has not been left out.
    """

    def __init__(self, contract: Contract):
        self.contract = contract
        self.preprocess = Preprocessor(contract)
        self.loaded: Dict[Tuple[str, str], Runtime] = {}
        self.quantised: List[str] = []

    def quantise(self, images: Sequence[str], bits: int) -> None:
        """Write the INT8 form, and load all."""
        from .onnx_int8 import to_int8  # which needs onnx

        source, target = self.contract.onnx_path("fp32"), self.contract.path(self.contract.int8.model)
        shown = watched(images, len(images), "calibration")
        to_int8(source, target, self.contract.input.name, (self._batch(read_image(path)) for path in shown), bits)
        for backend in INT8_BACKENDS:
            try:
                for precision in ("fp32", INT8):
                    self.loaded[backend, precision] = load(self.contract, Configuration("cpu", backend, precision))
            except NotInstalled:
                if backend == REFERENCE[0]:
                    raise
                print(f"INT8 is not measured in {backend}, which is not installed, and will not run in it")
            else:
                self.quantised.append(backend)

    def leave_out_slow(self, image: np.ndarray, least: float) -> List[str]:
        """Time the networks in turns and print the medians; leave out INT8 where it gains less than ``least`` times.

        Returns:
            A sentence for each backend where it does.
        """
        batch = self._batch(image)
        runs = {name: (lambda network=network: network.run(batch)) for name, network in self.loaded.items()}
        times = {name: statistics.median(values) for name, values in measure(runs, TURNS, REST).items()}
        refused = []
        for backend in list(self.quantised):
            before, after = times[backend, "fp32"], times[backend, INT8]
            line = f"{before:.1f} ms in fp32, {after:.1f} in INT8, {before / after:.2f} times as fast"
            print(f"{backend}: {line}")
            if before / after < least:
                refused.append(f"expected INT8 at least {least:g} times as fast as fp32 in {backend}, got {line}")
                self.quantised.remove(backend)
        return refused

    def scores(self, dataset: Any) -> Dict[Tuple[str, str], _Scores]:
        """Segment the validation set in fp32, and in INT8 in each backend; print what changed."""
        names = [REFERENCE, *((backend, INT8) for backend in self.quantised)]
        confusion = {name: np.zeros((dataset.num_classes, dataset.num_classes), np.int64) for name in names}
        agreement: Dict[Tuple[str, str], List[float]] = {name: [] for name in names}
        count = len(dataset)
        for i in watched(range(count), count, "validation"):
            image, label = read_pair(dataset, i)
            masks = {name: self._mask(name, image) for name in names}
            for name, mask in masks.items():
                confusion[name] += confusion_matrix(label, mask, dataset.num_classes, dataset.ignore_index)
                agreement[name].append(float((mask == masks[REFERENCE]).mean()))
        scores = {}
        for name in names:
            miou = float(np.nanmean(intersection_over_union(confusion[name])))
            scores[name] = _Scores(miou, np.array(agreement[name]))
            mean, worst = 100 * scores[name].agreement.mean(), 100 * scores[name].agreement.min()
            same = f", {mean:.2f}% of the pixels keep their class, {worst:.2f}% in the worst image"
            print(f"{' '.join(name)}: mIoU {100 * miou:.2f}% on {count} images{same if name != REFERENCE else ''}")
        return scores

    def leave_out_inaccurate(self, scores: Dict[Tuple[str, str], _Scores], most: float) -> List[str]:
        """Leave out INT8 where it loses more than ``most`` points of mIoU.

        Returns:
            A sentence for each backend where it does.
        """
        refused, before = [], 100 * scores[REFERENCE].miou
        for backend in list(self.quantised):
            after = 100 * scores[backend, INT8].miou
            if before - after > most:
                refused.append(
                    f"expected INT8 to lose at most {most:g} points of mIoU in {backend}, got {before - after:.2f} "
                    f"({before:.2f}% before, {after:.2f}% after)"
                )
                self.quantised.remove(backend)
        return refused

    def write_frames(self, dataset: Any, indices: Sequence[int]) -> Tuple[GoldenFrame, ...]:
        """Store these images of the validation set and their masks in fp32."""
        frames = []
        for k, i in enumerate(indices):
            image, _ = read_pair(dataset, i)
            frames.append(GoldenFrame(f"int8_input_{k}.png", f"int8_mask_{k}.png"))
            write_image(self.contract.path(frames[-1].image), image)
            write_image(self.contract.path(frames[-1].mask), self._mask(REFERENCE, image))
        return tuple(frames)

    def _mask(self, name: Tuple[str, str], image: np.ndarray) -> np.ndarray:
        return to_mask(self.loaded[name].run(self._batch(image))[0], self.contract, image.shape[:2])

    def _batch(self, image: np.ndarray) -> np.ndarray:
        return self.preprocess([image] * self.contract.input.shape.min[0])


def _worst(agreement: np.ndarray) -> List[int]:
    """The image that changed most in each quarter of the validation set, whose neighbours may be much alike."""
    parts = np.array_split(np.arange(len(agreement)), min(FRAMES, len(agreement)))
    return [int(part[np.argmin(agreement[part])]) for part in parts]


def _tolerance(worst: float) -> float:
    """The share of a frame's pixels that must keep their class, where ``worst`` did in the worst of the validation set.

    Twice as many may change, as other processors and runtimes round in other ways, but at most five points more.
    """
    allowed = max(1 - 2 * (1 - worst), worst - LARGEST_MARGIN)
    return math.floor(1e4 * allowed) / 1e4
