"""Settings of ONNX Runtime's GPU providers, and why one of them is missing."""

import dataclasses
import hashlib
import json
import os
import re
from typing import Any, Dict, Optional

from . import gpu
from .configuration import Configuration
from .contract import Contract
from .errors import first_line
from .files import cache_root, writable_cache

#: ONNX Runtime's name of each provider
NAMES = {
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt_rtx": "NvTensorRTRTXExecutionProvider",
}


def cuda_options(precision: str, capture: bool) -> Dict[str, Any]:
    """Settings of the CUDA provider.

    cuDNN's heuristics choose the algorithms. Timing all of them in the first run, the provider's default, chose slower
    ones on an H200, above all in fp16, where the search also failed for some convolutions.

    Args:
        precision: "fp32", "tf32" or "fp16".
        capture: run the network as a CUDA graph.
    """
    return {
        "device_id": 0,
        "use_tf32": int(precision == "tf32"),  # on unless told otherwise
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles its memory whenever it is full
        "enable_cuda_graph": int(capture),
    }


def tensorrt_options(contract: Contract, configuration: Configuration, version: str) -> Dict[str, Any]:
    """Settings of the TensorRT provider; engines are kept in a folder of their own."""
    folder = engine_folder(contract, configuration, version)
    fp16 = configuration.precision == "fp16"
    return {
        "device_id": 0,
        "trt_fp16_enable": fp16,
        "trt_max_workspace_size": contract.tensorrt.workspace_mb << 20,
        "trt_min_subgraph_size": contract.tensorrt.min_subgraph_size,
        "trt_layer_norm_fp32_fallback": fp16 and "layer_norm" in contract.tensorrt.fp32_ops,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": folder,
        **_profile("trt", contract),
    }


def rtx_options(contract: Contract, configuration: Configuration, version: str) -> Dict[str, str]:
    """Settings of the provider of TensorRT for RTX, as its documentation names them."""
    return {"nv_runtime_cache_path": engine_folder(contract, configuration, version), **_profile("nv", contract)}


def _profile(prefix: str, contract: Contract) -> Dict[str, str]:
    """The shapes to build engines for."""
    shape = contract.tensorrt.shape
    ends = {"min": shape.min, "opt": shape.opt, "max": shape.max}
    return {
        f"{prefix}_profile_{end}_shapes": f"{contract.input.name}:{'x'.join(map(str, n))}" for end, n in ends.items()
    }


def engine_folder(contract: Contract, configuration: Configuration, version: str) -> str:
    """The folder for the engines of this model, card, precision, range of shapes and ``version`` of ONNX Runtime.

    Raises:
        InputError: it cannot be written.
    """
    path = contract.onnx_path(configuration.precision)
    key = {
        "model": contract.sha256[os.path.basename(path)],
        "provider": configuration.provider,
        "precision": configuration.precision,
        "tensorrt": dataclasses.asdict(contract.tensorrt),
        "cards": [dataclasses.asdict(card) for card in gpu.cards()[:1]],  # with the driver's version
        "onnxruntime": version,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return writable_cache(os.path.join(cache_root(), "onnxruntime-" + digest[:32]), "RTSEG_CACHE")


def missing_library(log: str) -> Optional[str]:
    """Which library is missing, as ONNX Runtime's log or error says; None if none is."""
    library = re.search(r"(lib[\w.+-]+): cannot open shared object file", log)
    if library:
        return f"{library.group(1)} of CUDA, cuDNN or TensorRT is missing or of another major version"
    return "TensorRT's libraries are missing" if "install TensorRT libraries" in log else None


def why_missing(log: str) -> str:
    """The reason why a provider is missing from a session, out of ONNX Runtime's log."""
    library = missing_library(log)
    if library:
        return library
    driver = re.search(r"CUDA driver version is insufficient[^;\n]*|no CUDA-capable device[^;\n]*", log)
    if driver:
        return driver.group()
    errors = [line for line in log.splitlines() if ":onnxruntime:" in line or "Error" in line]
    return first_line(RuntimeError(re.sub(r"\x1b\[[\d;]*m", "", errors[0]))) if errors else "it gives no reason"
