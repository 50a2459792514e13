"""The exported network's ONNX form in ONNX Runtime and OpenVINO, for comparison with Paddle Inference."""

from typing import Callable

import numpy as np
from rtseg_inference import processor

from ..errors import InputError

RUNTIMES = ("onnxruntime", "openvino_runtime")


def load(name: str, path: str, precision: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from an input batch to the network's output.

    Args:
        name: one of :data:`RUNTIMES`.
        path: the .onnx file.
        precision: "fp32", or "bf16" in OpenVINO.
        threads: processor threads.

    Raises:
        InputError: the package is not installed, or does not compute in this precision.
    """
    try:
        return {"onnxruntime": _onnxruntime, "openvino_runtime": _openvino}[name](path, precision, threads)
    except ImportError as e:
        raise InputError(f"{name} needs the package {e.name}, which is not installed; pip install {e.name}") from e


def _onnxruntime(path: str, precision: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    if precision != "fp32":
        raise InputError(f"ONNX Runtime computes in fp32 on a CPU, got {precision}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def _openvino(path: str, precision: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    processor.require(precision)
    kinds = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16}
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": kinds[precision]}
    compiled = openvino.Core().compile_model(path, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda batch: request.infer([batch], share_inputs=True)[0]
