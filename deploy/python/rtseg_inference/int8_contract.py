"""The int8 section of deploy.yaml; ``deploy/cpp/src/int8_contract.cpp`` is the same in C++."""

from dataclasses import dataclass
from typing import Dict, List, Tuple

from .errors import NotInstalled
from .node import Node

MAX_FRAMES = 100
WEIGHT_BITS = (7, 8)
INT8_BACKENDS = ("onnxruntime", "openvino_runtime")  #: that compute in INT8


@dataclass(frozen=True)
class GoldenFrame:
    """A frame of the validation set, and its mask before the network was quantised."""

    image: str  #: 8-bit BGR image file
    mask: str  #: image file with the class id of each pixel


@dataclass(frozen=True)
class Int8Result:
    """What is left in INT8 in one backend."""

    miou: float  #: on the validation set, as a share of 1
    agreement: float  #: smallest share of each frame's pixels that must keep their class


@dataclass(frozen=True)
class Int8:
    """The ONNX form whose convolutions compute in 8-bit integers, and what that costs."""

    model: str  #: file name
    weight_bits: int  #: 8, or 7 for processors that need them; see :func:`.processor.weight_bits`
    images: int  #: of the validation set
    miou_fp32: float  #: on the validation set, as a share of 1
    backends: Dict[str, Int8Result]  #: those of :data:`INT8_BACKENDS` in which it was measured and is kept
    frames: Tuple[GoldenFrame, ...]

    def result(self, backend: str) -> Int8Result:
        """What is left in ``backend``.

        Raises:
            NotInstalled: the export did not measure it there, or did not keep it.
        """
        if backend not in self.backends:
            raise NotInstalled(
                f"expected INT8 in {' or '.join(self.backends)}, got {backend}, where the export did not measure it or "
                "did not keep it; use another backend, or export the model again"
            )
        return self.backends[backend]

    def cost(self, backend: str) -> str:
        """Such as "mIoU 60.35% instead of 60.36%"."""
        return f"mIoU {100 * self.result(backend).miou:.2f}% instead of {100 * self.miou_fp32:.2f}%"

    def files(self) -> List[str]:
        """Names of the files that the section names."""
        return [self.model, *(name for frame in self.frames for name in (frame.image, frame.mask))]


def read_int8(node: Node) -> Int8:
    """The section, checked.

    Raises:
        InputError: a key is missing, or its value is not what the schema allows.
    """
    frames, backends = node["frames"].items_of_list(), node["backends"]
    if not 0 < len(frames) <= MAX_FRAMES:
        raise node["frames"].error(f"1 to {MAX_FRAMES} frames")
    found = {name: _read_result(backends[name]) for name in INT8_BACKENDS if backends.has(name)}
    if not found:
        raise backends.error(f"results in {' or '.join(INT8_BACKENDS)}")
    return Int8(
        model=node["model"].file_name(".onnx"),
        weight_bits=node["weight_bits"].whole(*WEIGHT_BITS),
        images=node["images"].whole(),
        miou_fp32=node["miou_fp32"].number(least=0, most=1),
        backends=found,
        frames=tuple(GoldenFrame(frame["image"].file_name(), frame["mask"].file_name()) for frame in frames),
    )


def _read_result(node: Node) -> Int8Result:
    return Int8Result(
        miou=node["miou"].number(least=0, most=1),
        agreement=node["agreement"].number(least=0, most=1),
    )
