"""What can run a network: devices, the backends of each, and the precisions in which these compute.

``deploy/cpp/src/configuration.hpp`` is the same in C++.
"""

from dataclasses import dataclass
from typing import Collection, Dict, Optional, Tuple

from .arguments import MOST_THREADS
from .contract import Precision
from .errors import InputError, quote

#: device -> backend -> the precisions it computes in
BACKENDS: Dict[str, Dict[str, Tuple[Precision, ...]]] = {
    "cpu": {
        "native": ("fp32",),
        "onednn": ("fp32", "bf16"),
        "openvino": ("fp32", "fp16", "bf16"),
        "onnxruntime": ("fp32", "int8"),
        "openvino_runtime": ("fp32", "bf16", "int8"),
    },
    "gpu": {
        "native": ("fp32", "fp16", "bf16"),
        "tensorrt": ("fp32", "fp16"),
        "onnxruntime": ("fp32", "tf32", "fp16"),
    },
}
AUTO = "auto"  #: the backend, or the precision, that is the fastest of those that reproduce the golden output
#: device -> the precisions among which "auto" chooses. On a CPU the lower ones gain less, and are chosen by name.
AUTO_PRECISIONS: Dict[str, Tuple[Precision, ...]] = {"cpu": ("fp32",), "gpu": ("fp32", "tf32", "fp16")}
DEFAULT_BACKEND = {"cpu": "onednn", "gpu": "native"}
#: what ONNX Runtime may run a network with on a GPU; the first is the default
PROVIDERS = ("cuda", "tensorrt", "tensorrt_rtx")


@dataclass(frozen=True)
class Configuration:
    """What runs the network.

    Raises:
        InputError: there is no such device, backend or provider, it does not compute in this precision, a provider is
            given for another backend than ONNX Runtime on a GPU, or the number of threads is out of range.
    """

    device: str = "cpu"
    backend: str = DEFAULT_BACKEND["cpu"]
    precision: str = "fp32"
    threads: int = 0  #: 0: ``OMP_NUM_THREADS``, or every core that the process may use
    provider: Optional[str] = None  #: of ONNX Runtime on a GPU, one of :data:`PROVIDERS`; None: "cuda"
    strict: bool = False  #: ONNX Runtime on a GPU: it is an error if some operators run on the processor

    def __post_init__(self) -> None:
        check_threads(self.threads)
        _expect("the device", self.device, BACKENDS)
        _expect(f"the {self.device} backend", self.backend, BACKENDS[self.device])
        _expect(f"the precision of {self.device} {self.backend}", self.precision, BACKENDS[self.device][self.backend])
        if self.provider is not None:
            _expect("the provider", self.provider, PROVIDERS)
            if (self.device, self.backend) != ("gpu", "onnxruntime"):
                raise InputError(
                    f"expected a provider only with --device gpu --backend onnxruntime, got '{self.provider}' with "
                    f"{self.device} {self.backend}; leave it out"
                )

    def __str__(self) -> str:
        provider = f" {self.provider}" if self.provider else ""
        return f"{self.device} {self.backend} {self.precision}{provider}"


def check_threads(threads: object) -> None:
    """Raise :class:`.InputError` unless it is a whole number of threads."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 0 <= threads <= MOST_THREADS:
        raise InputError(f"expected threads from 0 to {MOST_THREADS}, got {quote(repr(threads))}; 0 takes every core")


def _expect(what: str, got: str, allowed: Collection[str]) -> None:
    if not isinstance(got, str) or got not in allowed:
        raise InputError(f"expected {what} to be one of {', '.join(allowed)}, got '{got}'")
