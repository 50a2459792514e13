"""An exported model, loaded to run: what predictors of every task share."""

import os
import time
import warnings
from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np

from . import processor
from .configuration import DEFAULT_BACKEND, Configuration
from .contract import INT8, SEGMENTATION, read_contract
from .errors import InputError, Remark
from .files import Array, path_text
from .npy import read_npy
from .preprocess import Preprocessor
from .runtime import load

Path = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Timings:
    """Milliseconds that one call took, for the whole batch."""

    pre: float
    run: float
    post: float


@dataclass(frozen=True)
class Verification:
    """How a configuration compares with the golden output."""

    rms_error: Optional[float]  #: see :class:`.contract.Tolerance`; None where the output is class ids
    agreement: float  #: share of the mask's pixels, or of the person's keypoints, that agree
    passed: bool
    unit: str = "pixels"
    cost: Optional[str] = None  #: what the precision costs on the validation set, where the contract states it

    def __str__(self) -> str:
        error = "" if self.rms_error is None else f"relative error {self.rms_error:.1e}, "
        cost = "" if self.cost is None else f", {self.cost}"
        return f"{error}{100 * self.agreement:.2f}% of the {self.unit} agree{cost}"


class LoadedModel:
    """An exported model, ready to run.

    Args:
        model_dir: folder with deploy.yaml.
        device: "cpu" or "gpu".
        backend: on the CPU "onednn" (the default), "native", "openvino", "onnxruntime" or "openvino_runtime"; on the
            GPU "native" (the default), "tensorrt" or "onnxruntime". Neither "onnxruntime" nor "openvino_runtime" needs
            Paddle.
        precision: "fp32", "tf32", "fp16", "bf16" or "int8", if the backend computes in it.
        threads: processor threads; 0 for ``OMP_NUM_THREADS``, or every core that the process may use.
        provider: what ONNX Runtime runs the network with on a GPU: "cuda" (the default), "tensorrt" or "tensorrt_rtx".
        strict: refuse to run a network in ONNX Runtime on a GPU if some of its operators run on the processor.

    Raises:
        InputError: the folder is damaged, or of another task, or this machine cannot run the model in this
            configuration.
    """

    TASK = SEGMENTATION

    def __init__(
        self,
        model_dir: Path,
        device: str = "cpu",
        backend: Optional[str] = None,
        precision: str = "fp32",
        threads: int = 0,
        provider: Optional[str] = None,
        strict: bool = False,
    ):
        self.configuration = Configuration(
            device, backend or DEFAULT_BACKEND.get(str(device), ""), precision, threads, provider, strict
        )
        self.contract = read_contract(path_text(model_dir, "the folder of an exported model"))
        if self.contract.task != self.TASK:
            fix = "PosePredictor" if self.TASK == SEGMENTATION else "Predictor"
            raise InputError(
                f"expected a model for {self.TASK}, got one for {self.contract.task} in {self.contract.folder!r}; use "
                f"rtseg_inference.{fix}"
            )
        in_int8 = self.contract.int8 if self.configuration.precision == INT8 else None
        if in_int8 is not None:
            in_int8.result(self.configuration.backend)
        self.runtime = load(self.contract, self.configuration)
        if in_int8 is not None:
            remark = processor.int8_warning(in_int8.weight_bits)
            if remark is not None:
                warnings.warn(remark, Remark, stacklevel=2)
        self.preprocess = Preprocessor(self.contract, self.runtime.shape)

    def predict(self, images: Any) -> Any:
        """The task's results for an image, or for each of a list of images."""
        raise NotImplementedError

    def verify(self) -> Verification:
        """Run the golden image and compare with the output that the network gave before its export."""
        raise NotImplementedError

    def run(self, images: Sequence[Array]) -> Tuple[Array, float, float]:
        """The network's outputs for (H, W, 3) uint8 BGR images, before postprocessing.

        Returns:
            The outputs, at least one for each image, and the milliseconds of preprocessing and network.

        Raises:
            InputError: see :class:`.Preprocessor`; or the engine fails, or gives another number of outputs.
        """
        start = time.perf_counter()
        # A graph with a fixed batch is filled up with the last image.
        batch = self.preprocess([*images, *[images[-1]] * (self.contract.input.shape.min[0] - len(images))])
        prepared = time.perf_counter()
        outputs = self.runtime.run(batch)
        if len(outputs) != len(batch):
            raise InputError(
                f"expected outputs for {len(batch)} images of the network, got {len(outputs)}; export the model again"
            )
        return outputs, 1e3 * (prepared - start), 1e3 * (time.perf_counter() - prepared)

    def rms_error(self, output: Array) -> Optional[float]:
        """How far (C, h, w) is from the golden output, by :class:`.contract.Tolerance`; None if none is stored.

        Raises:
            InputError: the stored one has another shape, or is damaged.
        """
        golden = self.contract.golden
        if golden.output is None:
            return None
        expected = read_npy(self.contract.path(golden.output))
        found = output[:, :: golden.step, :: golden.step]
        if found.shape != expected.shape:
            raise InputError(
                f"the golden output has shape {shape_text(expected)}, the network gives {shape_text(found)}; export "
                "the model again"
            )
        with np.errstate(all="ignore"):  # what is infinite or not a number does not pass
            return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def shape_text(array: Array) -> str:
    """``3x512x1024``"""
    return "x".join(map(str, array.shape))
