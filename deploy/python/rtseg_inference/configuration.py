"""What can run a network: devices, the backends of each, and the precisions in which these compute.

``deploy/cpp/src/configuration.hpp`` is the same in C++.
"""

from dataclasses import dataclass
from typing import Collection, Dict, Tuple

from .contract import Precision
from .errors import InputError

#: device -> backend -> the precisions it computes in
BACKENDS: Dict[str, Dict[str, Tuple[Precision, ...]]] = {
    "cpu": {"native": ("fp32",), "onednn": ("fp32", "bf16"), "openvino": ("fp32", "fp16", "bf16")},
    "gpu": {"native": ("fp32", "fp16", "bf16"), "tensorrt": ("fp32", "fp16")},
}
DEFAULT_BACKEND = {"cpu": "onednn", "gpu": "native"}


@dataclass(frozen=True)
class Configuration:
    """What runs the network.

    Raises:
        InputError: there is no such device or backend, or it does not compute in this precision.
    """

    device: str = "cpu"
    backend: str = DEFAULT_BACKEND["cpu"]
    precision: str = "fp32"
    threads: int = 0  #: 0: ``OMP_NUM_THREADS``, or every core that the process may use

    def __post_init__(self) -> None:
        _expect("the device", self.device, BACKENDS)
        _expect(f"the {self.device} backend", self.backend, BACKENDS[self.device])
        _expect(f"the precision of {self.device} {self.backend}", self.precision, BACKENDS[self.device][self.backend])

    def __str__(self) -> str:
        return f"{self.device} {self.backend} {self.precision}"


def _expect(what: str, got: str, allowed: Collection[str]) -> None:
    if got not in allowed:
        raise InputError(f"expected {what} to be one of {', '.join(allowed)}, got '{got}'")
