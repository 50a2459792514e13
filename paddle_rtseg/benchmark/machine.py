"""Facts about the machine, for bug reports and tables of timings."""

import contextlib
import importlib
import os
import platform
from importlib import metadata
from typing import Callable, Dict

from rtseg_inference import environment, gpu, timing
from rtseg_inference.processor import obstacle
from rtseg_inference.timing import processor_name as processor

import paddle_rtseg


def facts() -> Dict[str, Dict[str, object]]:
    """Versions, CPU settings, Paddle's features on this machine and the state of the plug-in, by group."""
    return {
        "Versions": {
            "paddle_rtseg": paddle_rtseg.__version__,
            "Python": platform.python_version(),
            "platform": platform.platform(),
            **{name: version(name) for name in ("numpy", "cv2", "paddle", "paddleseg", "safetensors")},
            **{name: optional_version(name) for name in ("onnxruntime", "openvino", "paddle2onnx", "tensorrt")},
            **paddle_note(),
        },
        "CPU": {
            "processor": processor(),
            "usable cores": environment.usable_cores(),
            "bf16": obstacle("bf16") or "yes",
            **environment.current(),
        },
        **gpus(),
        "Paddle": features(),
        "Plug-in": plugin(),
    }


def settings(device: str) -> Dict[str, str]:
    """What times depend on besides the network and its backend: the machine, versions and settings."""
    return {**timing.machine(device), "cores": str(environment.usable_cores()), **environment.current()}


def version(name: str) -> str:
    """A module's version, or why it cannot be imported."""
    try:
        return importlib.import_module(name).__version__
    except ImportError as e:
        return f"does not import: {e}"


def optional_version(name: str) -> str:
    """The version of a package that this one can do without; it is not imported."""
    for package in (f"{name}-gpu", name):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return f"{metadata.version(package)} ({package})"
    return "not installed"


def gpus() -> Dict[str, Dict[str, object]]:
    """For each NVIDIA GPU its compute capability, what the installed packages support, and what to install."""
    found = gpu.cards()
    if not found:
        return {"GPU": {"NVIDIA": "none found"}}
    return {
        "GPU" if len(found) == 1 else f"GPU {i}": {
            "card": card,
            "memory": f"{card.memory_mb} MiB" if card.memory_mb else "unknown",
            "driver": card.driver or "unknown",
            **gpu.support(card),
            "what to install": gpu.advice(card),
        }
        for i, card in enumerate(found)
    }


def paddle_note() -> Dict[str, str]:
    """A line for releases of Paddle that this package does not support."""
    from paddle_rtseg.plugin import paddle_problem

    problem = paddle_problem(version("paddle"))
    return {"note": problem} if problem else {}


def features() -> Dict[str, str]:
    """Paddle's features on this machine."""
    try:
        import paddle
        from paddle.base import core
    except ImportError as e:
        return {"paddle": f"does not import: {e}"}

    def gpus() -> str:
        if not paddle.is_compiled_with_cuda():
            return "none: this Paddle is built for the CPU"
        names = [paddle.device.cuda.get_device_name(i) for i in range(paddle.device.cuda.device_count())]
        return ", ".join(names) or "none found"

    def tensorrt() -> str:
        built = ".".join(map(str, paddle.inference.get_trt_compile_version()))
        found = ".".join(map(str, paddle.inference.get_trt_runtime_version()))
        return "not compiled in" if built == "0.0.0" else f"compiled with {built}, found {found}"

    return {
        "CUDA compiled in": str(paddle.is_compiled_with_cuda() and paddle.version.cuda()),
        "GPUs": _ask(gpus),
        "oneDNN": _ask(
            lambda: str(
                core.is_compiled_with_mkldnn()
                if hasattr(core, "is_compiled_with_mkldnn")
                else core.is_compiled_with_onednn()
            )
        ),
        "TensorRT": _ask(tensorrt),
        "device": _ask(paddle.get_device),
    }


def plugin() -> Dict[str, str]:
    """Whether the plug-in is enabled, and the models that it registers."""
    off = os.environ.get("PADDLE_RTSEG_AUTOLOAD") == "0"
    facts = {"PADDLE_RTSEG_AUTOLOAD": "0, disabled" if off else "on"}
    try:
        import paddle_rtseg

        facts["models"] = ", ".join(paddle_rtseg.list_models())
    except ImportError as e:
        facts["models"] = f"not registered: {e}"
    return facts


def _ask(question: Callable[[], str]) -> str:
    """Paddle's answer, or the error that it raised."""
    try:
        return question()
    except (RuntimeError, OSError, AttributeError, ValueError) as e:
        return f"{type(e).__name__}: {e}"
