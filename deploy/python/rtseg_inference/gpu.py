"""NVIDIA GPUs: which this machine has, what the installed runtimes can run on, and what to install.

A program for a GPU holds machine code for some compute capabilities. On a card without any of it, the first kernel
fails; so commands ask here before they start. docs/gpu.md has the same facts as a table, and their sources.
"""

import contextlib
import functools
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .errors import InputError

Capability = Tuple[int, int]

TIMEOUT = 5  #: seconds that a query of the driver may take
_ON_THE_CPU = "use --device cpu"


@dataclass(frozen=True)
class Card:
    """One NVIDIA GPU."""

    name: str
    capability: Capability  #: compute capability, (9, 0) for Hopper
    memory_mb: Optional[int] = None  #: MiB; None if the driver does not tell
    driver: str = ""  #: version of the driver, such as "580.65.06"; "" if unknown

    def __str__(self) -> str:
        return f"{self.name} (compute capability {dotted(self.capability)})"


class Code(NamedTuple):
    """The machine code that a build of a runtime holds."""

    binary: Tuple[Capability, ...]  #: runs on this capability and on later ones with the same major number
    exact: Tuple[Capability, ...] = ()  #: runs on this capability only; NVIDIA writes it with an "a", as in sm_100a
    ptx: Tuple[Capability, ...] = ()  #: the driver compiles it for this capability and all later ones

    def runs_on(self, capability: Capability) -> bool:
        """Whether a card of this compute capability can run the code."""
        same = any(major == capability[0] and minor <= capability[1] for major, minor in self.binary)
        return same or capability in self.exact or any(oldest <= capability for oldest in self.ptx)

    def __str__(self) -> str:
        listed = [dotted(capability) for capability in sorted(self.binary + self.exact)]
        return ", ".join([*listed, *(f"PTX {dotted(oldest)}" for oldest in self.ptx)])


class Generation(NamedTuple):
    """GPUs that need the same build of Paddle."""

    name: str
    first: Capability
    last: Capability
    paddle: str  #: arguments of pip; "" if no build is known


class Wheel(NamedTuple):
    """ONNX Runtime's wheels on PyPI that hold the same code."""

    first: Tuple[int, int]  #: release
    end: Tuple[int, int]  #: the first release after them
    requirement: str  #: for pip
    cuda: str  #: major version
    code: Code
    python: Tuple[int, int]  #: the oldest that the newest of them takes


def _code(binary: str, ptx: str = "") -> Code:
    """Code from capabilities as NVIDIA's compilers write them: "75 80 100a"."""

    def capabilities(words: Sequence[str]) -> Tuple[Capability, ...]:
        return tuple((int(word[:-1]), int(word[-1])) for word in words)

    words = binary.split()
    plain, exact = [w for w in words if w[-1] != "a"], [w[:-1] for w in words if w[-1] == "a"]
    return Code(capabilities(plain), capabilities(exact), capabilities(ptx.split()))


# The fat binaries of PyPI's wheels for Linux were listed: paddlepaddle-gpu 2.6.2, onnxruntime-gpu 1.23.2, 1.26.0,
# 1.28.0, 1.29.0, 1.30.0 and 1.31.1. That 100 is 100a was read in ONNX Runtime's pull request 26516.
_PADDLE_26 = {"11.8": _code("61 70 75 80 86")}  # later releases say themselves what they hold
_CUDA_13 = _code("75 80 86 89 90 120")
_CUDA_13_WITH_100 = _code("75 80 86 89 90 100a 120", ptx="120")
_CUDA_12 = _code("60 70 75 80 86 90", ptx="90")
_ONNXRUNTIME = (  # the first that fits is offered
    Wheel((1, 29), (1, 32), '"onnxruntime-gpu[cuda,cudnn]>=1.29"', "13", _CUDA_13, (3, 11)),
    Wheel((1, 28), (1, 29), '"onnxruntime-gpu[cuda,cudnn]==1.28.0"', "13", _CUDA_13_WITH_100, (3, 11)),
    Wheel((1, 23), (1, 27), '"onnxruntime-gpu[cuda,cudnn]<1.27"', "12", _CUDA_12, (3, 9)),
)
_OLDEST_DRIVER = {"11": 450, "12": 525, "13": 580}  # by CUDA's major version; NVIDIA's release notes

_FROM_PYPI = "paddlepaddle-gpu==2.6.2"
_FROM_PADDLE = "paddlepaddle-gpu==3.3.1 -i https://www.paddlepaddle.org.cn/packages/stable/{}/"

GENERATIONS = (
    Generation("Pascal", (6, 0), (6, 0), ""),
    Generation("Pascal", (6, 1), (6, 9), _FROM_PYPI),
    Generation("Volta", (7, 0), (7, 4), _FROM_PYPI),
    Generation("Turing", (7, 5), (7, 9), _FROM_PYPI),
    Generation("Ampere", (8, 0), (8, 8), _FROM_PYPI),
    Generation("Ada Lovelace", (8, 9), (8, 9), _FROM_PYPI),
    Generation("Hopper", (9, 0), (9, 9), _FROM_PADDLE.format("cu126")),
    Generation("Blackwell", (10, 0), (10, 9), _FROM_PADDLE.format("cu129")),
    Generation("Blackwell", (12, 0), (12, 9), _FROM_PADDLE.format("cu129")),
)

#: Compute capabilities that TensorRT-RTX 1.7, in ONNX Runtime's plug-in, supports; NVIDIA's support matrix.
TENSORRT_RTX = ((7, 5), (8, 6), (8, 9), (12, 0), (12, 1))
#: The oldest and the newest compute capability by the first release, newest first; NVIDIA's release notes.
_TENSORRT = {
    (10, 8): ((7, 5), (12, 1)),
    (10, 5): ((7, 5), (9, 0)),
    (10, 0): ((7, 0), (9, 0)),
    (8, 5): ((6, 0), (9, 0)),
}


def cards() -> List[Card]:
    """The NVIDIA GPUs that this process may use, in the driver's order; empty if there is none.

    ``nvidia-smi`` is asked, and where it has no answer the driver's library, in a process of its own: no CUDA package
    is needed, and neither can hang or crash the caller. ``CUDA_VISIBLE_DEVICES`` is respected.
    """
    return _visible(_installed(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def generation(card: Card) -> Optional[Generation]:
    """The generation of a card; None for cards older than Pascal and those newer than this table."""
    return next((g for g in GENERATIONS if g.first <= card.capability <= g.last), None)


def advice(card: Card) -> str:
    """Which command installs what runs on a card: one line, without a full stop."""
    found, wheel = generation(card), _wheel(card)
    if found is None or wheel is None:
        return f"no package is known that supports compute capability {dotted(card.capability)}, so {_ON_THE_CPU}"
    parts = [f"for inference run 'pip install {wheel.requirement}' and use --backend onnxruntime"]
    if found.paddle:
        parts.append(f"for training run 'pip install {found.paddle}'")
    if not _new_enough(card.driver, wheel.cuda):
        parts.append(f"and update the NVIDIA driver from {card.driver} to {_OLDEST_DRIVER[wheel.cuda]} or later")
    return ", ".join(parts)


def _wheel(card: Card) -> Optional[Wheel]:
    """The ONNX Runtime to offer for a card; one that needs a newer driver if there is no other."""
    runs = [w for w in _ONNXRUNTIME if w.code.runs_on(card.capability) and w.python <= sys.version_info[:2]]
    now = [wheel for wheel in runs if _new_enough(card.driver, wheel.cuda)]
    return next(iter(now + runs[-1:]), None)


def obstacle_paddle(card: Card) -> Optional[str]:
    """Why the installed Paddle cannot run on a card, in one sentence with the fix; None if it can. Imports Paddle."""
    return _with_advice(_what_paddle_lacks(card), card)


def obstacle_onnxruntime(card: Card) -> Optional[str]:
    """Why the installed ONNX Runtime cannot run on a card, in one sentence with the fix; None if it can.

    Imports ONNX Runtime. Whether its CUDA libraries are installed is not asked here.
    """
    return _with_advice(_what_onnxruntime_lacks(card), card)


def support(card: Card) -> Dict[str, str]:
    """Whether the installed runtimes can run on a card, by their names, and why not."""
    answers = {
        "Paddle": _what_paddle_lacks(card) if _module("paddle") else "not installed",
        "ONNX Runtime": _what_onnxruntime_lacks(card) if _module("onnxruntime") else "not installed",
        "TensorRT": _tensorrt(card),
        "TensorRT-RTX": "runs on it" if card.capability in TENSORRT_RTX else "does not run on it",
    }
    return {name: answer or "can run on it" for name, answer in answers.items()}


def _with_advice(lack: Optional[str], card: Card) -> Optional[str]:
    return lack and f"{lack}; {advice(card)}"


def _what_paddle_lacks(card: Card) -> Optional[str]:
    """What was expected of the installed Paddle for a card, and what it is; None if nothing is missing."""
    paddle = _module("paddle")
    if paddle is None:
        return f"expected Paddle, to use {card}, got none that can be imported"
    build = _paddle_build(paddle)
    if not paddle.is_compiled_with_cuda():
        return f"expected a Paddle with CUDA, to use {card}, got {build} for the CPU"
    code = paddle_code(paddle)
    if code is not None and not code.runs_on(card.capability):
        return f"expected a Paddle with code for {card}, got {build}, which has it for {code}"
    return _old_driver(card, str(paddle.version.cuda()), build)


def _what_onnxruntime_lacks(card: Card) -> Optional[str]:
    """What was expected of the installed ONNX Runtime for a card, and what it is; None if nothing is missing."""
    runtime = _module("onnxruntime")
    if runtime is None:
        return f"expected ONNX Runtime, to use {card}, got none that can be imported"
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        version = f"ONNX Runtime {runtime.__version__}"
        return f"expected an ONNX Runtime with CUDA, to use {card}, got {version} for the CPU, to be uninstalled first"
    cuda = str(getattr(runtime, "cuda_version", "") or "")
    build = f"ONNX Runtime {runtime.__version__} for CUDA {cuda or 'of an unknown version'}"
    code = onnxruntime_code(runtime.__version__, cuda)
    if code is not None and not code.runs_on(card.capability):
        return f"expected an ONNX Runtime with code for {card}, got {build}, which has it for {code}"
    return _old_driver(card, cuda, build)


def _tensorrt(card: Card) -> str:
    """What is known of the installed TensorRT and a card."""
    runtime = _module("tensorrt")
    if runtime is None:
        return "not installed"
    version = str(runtime.__version__)
    known = next((cards for since, cards in _TENSORRT.items() if _release(version) >= since), None)
    if known is None:
        return f"{version}, of which it is not known"
    oldest, newest = known
    runs = oldest <= card.capability < (newest[0] + 1, 0)
    return f"{version} {'runs' if runs else 'does not run'} on it: it supports {dotted(oldest)} to {dotted(newest)}"


def require_paddle(index: int = 0) -> None:
    """Raise :class:`InputError` unless the installed Paddle can run on a GPU of this machine; no kernel is started.

    Args:
        index: the GPU's number in Paddle.
    """
    found, paddle = cards(), _module("paddle")
    if paddle is not None and paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > index:
        reason = obstacle_paddle(_paddles_card(paddle, index, found))  # CUDA's order may differ from the driver's
    elif found:
        reason = obstacle_paddle(found[0])
        reason = reason or f"expected Paddle to find GPU {index}, got none; check the driver and CUDA_VISIBLE_DEVICES"
    else:
        reason = "expected an NVIDIA GPU, got a machine without one; check the driver"
    if reason:
        raise InputError(reason if reason.endswith(_ON_THE_CPU) else f"{reason}, or {_ON_THE_CPU}")


def paddle_code(paddle: Any) -> Optional[Code]:
    """What a build of Paddle holds: what it says itself, or what was listed; None if neither is known."""
    numbers: List[str] = []
    if hasattr(paddle.version, "cuda_archs"):  # since Paddle 3.0
        numbers = re.findall(r"\d{2,3}", str(paddle.version.cuda_archs()))
    if numbers:
        return _code(" ".join(numbers))
    return _PADDLE_26.get(str(paddle.version.cuda())) if paddle.__version__.startswith("2.6") else None


def onnxruntime_code(version: str, cuda: str) -> Optional[Code]:
    """What PyPI's wheel of this release of ONNX Runtime, for this version of CUDA, holds; None if that is not known."""
    release, major = _release(version), cuda.partition(".")[0]
    return next((w.code for w in _ONNXRUNTIME if w.first <= release < w.end and w.cuda == major), None)


def _release(version: str) -> Tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def dotted(capability: Capability) -> str:
    """A compute capability as NVIDIA writes it: 9.0."""
    return f"{capability[0]}.{capability[1]}"


def _paddle_build(paddle: Any) -> str:
    cuda = paddle.version.cuda() if paddle.is_compiled_with_cuda() else ""
    return f"Paddle {paddle.__version__}" + (f" for CUDA {cuda}" if cuda else "")


def _paddles_card(paddle: Any, index: int, known: Sequence[Card]) -> Card:
    """A GPU as Paddle sees it; the driver's version from a card that is known."""
    found = paddle.device.cuda.get_device_properties(index)
    driver = known[0].driver if known else ""
    return Card(_printable(found.name), (found.major, found.minor), found.total_memory >> 20, driver)


def _old_driver(card: Card, cuda: str, build: str) -> Optional[str]:
    """Why not, if the driver is older than a build's CUDA needs."""
    cuda = cuda.partition(".")[0]
    if _new_enough(card.driver, cuda):
        return None
    return f"expected an NVIDIA driver {_OLDEST_DRIVER[cuda]} or later for {build}, got {card.driver}, too old"


def _new_enough(driver: str, cuda: str) -> bool:
    """Whether a driver can run programs for a major version of CUDA; an unknown driver is taken to be."""
    match = re.match(r"\d+", driver)
    return match is None or int(match.group()) >= _OLDEST_DRIVER.get(cuda, 0)


def _module(name: str) -> Any:
    """An installed module, or None if it cannot be imported."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: a library that it needs is missing
        return None


# --- the driver ------------------------------------------------------------------------------------------------------

_FIELDS = "uuid,compute_cap,memory.total,driver_version,name"
_NO_UUID = "-"

# Prints what nvidia-smi would, from the driver's library. Attributes 75 and 76 are the compute capability.
_ASK_LIBRARY = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
def check(status):
    if status:
        raise SystemExit(1)
count, device, major, minor = (ctypes.c_int() for _ in range(4))
size, name = ctypes.c_size_t(), ctypes.create_string_buffer(256)
check(cuda.cuInit(0))
check(cuda.cuDeviceGetCount(ctypes.byref(count)))
for i in range(count.value):
    check(cuda.cuDeviceGet(ctypes.byref(device), i))
    check(cuda.cuDeviceGetName(name, len(name), device))
    check(cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device))
    check(cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device))
    check(cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device))
    text = name.value.decode(errors="replace")
    print("-, %d.%d, %d, -, %s" % (major.value, minor.value, size.value >> 20, text))
"""


@functools.lru_cache(maxsize=1)
def _installed() -> Tuple[Tuple[str, Card], ...]:
    """The cards that the driver tells of, each with its UUID, or "-" where only visible ones are told."""
    program = shutil.which("nvidia-smi")
    said = answer([program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]) if program else ""
    return _parse(said) or _parse(answer([sys.executable or "python3", "-I", "-c", _ASK_LIBRARY]))


def answer(command: Sequence[str]) -> str:
    """What a command prints; "" if it fails or takes longer than ``TIMEOUT``."""
    with tempfile.TemporaryFile() as output:  # a pipe would keep waiting for children of a command that was killed
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError:
            return ""
        try:
            failed = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a process that waits for a broken driver stays
                process.wait(1)
            return ""
        output.seek(0)
        return "" if failed else output.read(1 << 16).decode(errors="replace")


def _parse(text: str) -> Tuple[Tuple[str, Card], ...]:
    """Cards from lines of ``_FIELDS``; lines that do not look like a card are left out."""
    found = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",", 4)]  # the name is last, because it may have a comma
        capability = re.fullmatch(r"(\d{1,2})\.(\d)", fields[1]) if len(fields) == 5 else None
        if capability is None:
            continue
        memory = int(fields[2]) if re.fullmatch(r"\d{1,9}", fields[2]) else None
        driver = fields[3] if re.fullmatch(r"\d[\d.]{0,20}", fields[3]) else ""
        name = _printable(fields[4]) or "an NVIDIA GPU"
        found.append((fields[0], Card(name, (int(capability[1]), int(capability[2])), memory, driver)))
    return tuple(found)


def _printable(name: str) -> str:
    """A name from outside, short and without control characters."""
    return re.sub(r"[^ -~]+", " ", name).strip()[:80]


def _visible(installed: Sequence[Tuple[str, Card]], variable: Optional[str]) -> List[Card]:
    """The cards that CUDA_VISIBLE_DEVICES leaves, read as CUDA does: up to the first entry that names none."""
    everything = [card for _, card in installed]
    if variable is None or any(uuid == _NO_UUID for uuid, _ in installed):
        return everything
    chosen = []
    for entry in (entry.strip() for entry in variable.split(",")):
        if entry.startswith("MIG-"):  # a part of one of the cards, which the driver does not name
            return everything
        match = _named(entry, installed)
        if match is None:
            break
        chosen.append(match)
    return chosen


def _named(entry: str, installed: Sequence[Tuple[str, Card]]) -> Optional[Card]:
    """The card that an index or the beginning of a UUID names."""
    if re.fullmatch(r"\d{1,4}", entry):
        return installed[int(entry)][1] if int(entry) < len(installed) else None
    return next((card for uuid, card in installed if entry.startswith("GPU-") and uuid.startswith(entry)), None)
