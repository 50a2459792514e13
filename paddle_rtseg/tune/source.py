"""The trained network that a search starts from, and how each variant of it is exported."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any, Collection, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
from paddleseg.cvlibs import Config
from rtseg_inference.geometry import sizes

from ..config import load_config, load_model
from ..config_checks import check_prediction
from ..errors import InputError
from ..export.from_config import export_config
from ..export.pose import is_pose
from ..export.preprocessing import from_transforms
from .calibration import Calibration
from .candidates import MERGINGS, NONE, Network

MERGING = "model.backbone.token_merging"
TRANSFORMS = "val_dataset.transforms"
MULTIPLE = 8  #: of which height and width are, at other scales than 1
RESIZING = ("Resize", "ResizeByLong", "ResizeByShort", "LimitLong")
CACHE_BYTES = 4 << 30  #: of exports that are kept for their next use

Size = Tuple[int, int]  #: height, width


@dataclass
class Source:
    """A config with trained weights.

    Args:
        path: of the config, or its name.
        weights: file of the weights; None for the config's.
        opts: overrides of the config, KEY=VALUE.
        device: "cpu" or "gpu".

    Raises:
        InputError: the config or the weights cannot be used.
    """

    path: str
    weights: Optional[str]
    opts: Sequence[str] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.config: Config = load_config(self.path, opts=list(self.opts))
        check_prediction(self.config.dic)
        if is_pose(self.config.val_dataset_cfg):
            raise InputError("expected a network for segmentation, got one for poses; tune does not search for these")
        with silent():
            model = load_model(self.config, self.weights)
        self.sha256 = _sha256(model)
        self.output_op = "logits" if hasattr(model, "low_resolution_logits") else "argmax"
        self.transforms: List[Dict[str, Any]] = list(self.config.val_dataset_cfg.get("transforms") or [])
        self.preprocessing = from_transforms(self.transforms)
        own = self.config.dic["model"].get("backbone", {}).get("token_merging") if _merges(model) else None
        #: token mergings by name, that of the config among them
        self.mergings: Dict[str, Any] = MERGINGS if _merges(model) else {NONE: None}
        self.own = next((name for name, value in self.mergings.items() if value == own), "as configured")
        self.mergings = {self.own: own, **self.mergings}
        self.calibration = Calibration()
        #: images that networks are brought to INT8 with
        self.calibrated_with: List[str] = []
        self._fixed = getattr(model, "fixed_size_reason", None) is not None
        #: height and width of the network's input; None where they differ from image to image
        self.size: Optional[Size] = None

    @property
    def original(self) -> Network:
        """The network as the config describes it."""
        return Network(self.own, 1.0)

    def use_images(self, images: Collection[Size]) -> None:
        """Set ``size`` to that of the input for images of these sizes.

        Raises:
            InputError: there are several, and the network takes one only.
        """
        found = {sizes(self.preprocessing, image).network for image in images}
        self.size = next(iter(found)) if len(found) == 1 else None
        if self.size is None and self._fixed:
            raise InputError(
                f"expected images that the val_dataset brings to one size, which this network needs, got {len(found)} "
                "sizes; add a Resize to its transforms"
            )

    def use_calibration(self, calibration: Calibration, num_classes: int, scored: Sequence[str]) -> None:
        """Choose the images to calibrate with; see :meth:`.Calibration.images`."""
        with silent():
            self.calibrated_with = calibration.images(self.config, num_classes, scored)
        self.calibration = calibration

    @property
    def one_scale(self) -> str:
        """Why the network's input has to keep its size; empty if it has not."""
        if self.size is None:
            return "the images of the val_dataset differ in size"
        return "the val_dataset pads its images" if self.preprocessing.pad else ""

    def input_size(self, network: Network) -> Optional[Size]:
        """Height and width of a network's input; None where they differ from image to image."""
        if self.size is None or network.scale == 1:
            return self.size
        height, width = (_multiple(network.scale * side) for side in self.size)
        return height, width

    def options(self, network: Network) -> List[str]:
        """Overrides of the config that make it that of the network, KEY=VALUE, each key once."""
        options: Dict[str, Any] = {}
        if network.merging != self.own:
            options[MERGING] = self.mergings[network.merging]
        if network.scale != 1:
            height, width = self.input_size(network)
            resize = {"type": "Resize", "target_size": [width, height]}
            kept = [transform for transform in self.transforms if transform["type"] not in RESIZING]
            options[TRANSFORMS] = [resize, *kept]
        given = [option for option in self.opts if option.partition("=")[0] not in options]
        # As JSON, which a shell quotes in single quotes.
        return [*given, *(f"{key}={json.dumps(value)}" for key, value in options.items())]

    def input_shape(self, network: Network) -> List[int]:
        """(N, 3, H, W) of the export: fixed where all images have one size, which matching needs."""
        size = self.input_size(network)
        return [1, 3, *size] if size else [-1, 3, -1, -1]

    def export(self, network: Network, folder: str, **form: Any) -> str:
        """Export a network to ``folder``.

        Args:
            form: ``format``, ``onnx`` and ``precision`` of :func:`.export_model`, ``int8`` of :func:`.export_config`.

        Raises:
            InputError: it cannot be exported.
        """
        # Notes on the config were printed when it was first read.
        with silent(), contextlib.redirect_stderr(io.StringIO()), paddle.utils.unique_name.guard():
            config = load_config(self.path, opts=self.options(network))
            return export_config(
                *(config, self.weights, folder),
                device="cpu" if self.device == "cpu" else None,
                output_op=self.output_op,
                input_shape=self.input_shape(network),
                **form,
            )

    def export_command(self, network: Network, folder: str, **form: Any) -> List[str]:
        """The words of the command that does what :meth:`export` does, for a ``form`` without ``onnx``."""
        weights = ["--model_path", self.weights] if self.weights else []
        options = self.options(network)
        flags = {**form, **form.get("int8", {})}
        flags.pop("int8", None)
        return [
            *("python", "-m", "paddleseg.export", "--config", self.path, *weights, "--save_dir", folder),
            *(["--device", "cpu"] if self.device == "cpu" else []),
            *("--output_op", self.output_op, "--input_shape", *map(str, self.input_shape(network))),
            *(word for name, value in flags.items() for word in (f"--{name}", str(value))),
            *(["--opts", *options] if options else []),
        ]


class Exports:
    """Exported networks in a folder, each made when it is asked for, and removed when there are too many.

    Args:
        folder: of temporary files.
    """

    def __init__(self, source: Source, folder: str):
        self._source, self._folder = source, folder
        self._made: Dict[Tuple[Network, str], str] = {}
        self._count = 0

    def get(self, network: Network, **form: Any) -> str:
        """The folder of the network in this form; see :meth:`Source.export`."""
        key = network, repr(sorted(form.items()))
        if key not in self._made:
            self._count += 1
            self._made[key] = self._source.export(network, os.path.join(self._folder, str(self._count)), **form)
            self._make_room()
        return self._made[key]

    def _make_room(self) -> None:
        while len(self._made) > 1 and sum(map(_bytes, self._made.values())) > CACHE_BYTES:
            shutil.rmtree(self._made.pop(next(iter(self._made))))


def _bytes(folder: str) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder))


def _multiple(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)


def _merges(model: paddle.nn.Layer) -> bool:
    return hasattr(getattr(model, "backbone", None), "merging")


def _sha256(model: paddle.nn.Layer) -> str:
    """SHA-256 of the weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.numpy()))
    return digest.hexdigest()


def silent() -> "contextlib.AbstractContextManager[Any]":
    """Leave out what PaddleSeg logs while it builds something."""
    return contextlib.redirect_stdout(io.StringIO())
