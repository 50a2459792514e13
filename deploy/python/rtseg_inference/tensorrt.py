"""TensorRT engines inside Paddle's GPU runtime: built for the shapes that deploy.yaml states, and kept.

Paddle 2.6 and 3.0 cut the subgraphs that TensorRT can take out of a pdmodel program. Later releases ignore that
request for json programs, without a word, and have a converter instead. Either way an engine is either there or an
error says so: without one, the plain GPU runtime would answer, only slower.

No part of this module has been run on a GPU yet.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from typing import Any, Dict, Iterator, List

import numpy as np

from .contract import Contract
from .errors import InputError
from .files import cache_root, make_folder

GPU_MEMORY_MB = 256  # to begin with; Paddle takes more when it needs more


def create_predictor(contract: Contract, precision: str):
    """A Paddle Inference predictor whose network runs in TensorRT, wholly or in part.

    The first call for a model builds engines, which takes minutes; they are kept in ``cache_folder``.

    Raises:
        InputError: this Paddle has no TensorRT, or no engine could be built.
    """
    import paddle
    from paddle import inference

    version = inference.get_trt_runtime_version() if any(inference.get_trt_compile_version()) else (0, 0, 0)
    if not any(version):
        raise InputError(
            "TensorRT was asked for but this Paddle has none or cannot load its library; install TensorRT and a "
            "paddlepaddle-gpu built with it, or use --backend native"
        )
    folder = cache_folder(contract, precision, _machine(paddle, version))
    make_folder(folder)
    if contract.program_format == "json":
        return _converted(contract, precision, folder, paddle, inference)
    return _with_subgraphs(contract, precision, folder, inference)


def cache_folder(contract: Contract, precision: str, machine: Dict[str, Any]) -> str:
    """Where the engines of this model, machine, precision and range of shapes are kept.

    Whatever an engine depends on is in the name.
    """
    key = {
        "model": contract.sha256[contract.model],
        "params": contract.sha256[contract.params],
        "precision": precision,
        "tensorrt": contract.tensorrt,
        **machine,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return os.path.join(cache_root(), digest[:32])


def _machine(paddle, tensorrt_version) -> Dict[str, Any]:
    return {
        "gpu": paddle.device.cuda.get_device_name(0),
        "capability": list(paddle.device.cuda.get_device_capability(0)),
        "tensorrt_version": list(tensorrt_version),
        "paddle_version": paddle.__version__,
    }


def _with_subgraphs(contract: Contract, precision: str, folder: str, inference):
    """Paddle 2.6 and 3.0, pdmodel: engines in place of subgraphs."""
    shapes = os.path.join(folder, "shapes.pbtxt")
    if not os.path.isfile(shapes):
        partial = shapes + ".partial"
        config = _gpu_config(contract, inference)
        config.collect_shape_range_info(partial)
        collector = inference.create_predictor(config)
        for batch in _batches(contract):
            handle = collector.get_input_handle(contract.input_name)
            handle.reshape(batch.shape)
            handle.copy_from_cpu(batch)
            collector.run()
        del collector  # it writes the file when it goes
        os.replace(partial, shapes)

    config = _gpu_config(contract, inference)
    config.set_optim_cache_dir(folder)
    config.enable_tensorrt_engine(
        workspace_size=contract.tensorrt["workspace_mb"] << 20,
        max_batch_size=contract.tensorrt_shape.max[0],
        min_subgraph_size=contract.tensorrt["min_subgraph_size"],
        precision_mode=inference.PrecisionType.Half if precision == "fp16" else inference.PrecisionType.Float32,
        use_static=True,  # keep the engines
        use_calib_mode=False,
    )
    # Shapes outside the range are refused before they come here; building an engine for them would take minutes.
    config.enable_tuned_tensorrt_dynamic_shape(shapes, False)
    if precision == "fp16" and contract.tensorrt["fp32_ops"]:
        config.exp_disable_tensorrt_ops(contract.tensorrt["fp32_ops"])
    with native_stderr() as log:
        predictor = inference.create_predictor(config)
    if not subgraph_sizes(log()):
        raise _no_engine(contract, _operators(contract))
    return predictor


def _converted(contract: Contract, precision: str, folder: str, paddle, inference):
    """Later Paddle, json: a converted program whose operators include engines."""
    prefix, complete = os.path.join(folder, "model"), os.path.join(folder, "complete")
    if not os.path.isfile(complete):
        try:
            from paddle.tensorrt import Input, PrecisionMode, TensorRTConfig, convert
        except ImportError as e:
            raise InputError(
                f"Paddle {paddle.__version__} cannot convert {contract.model} for TensorRT here ({e}); install the "
                "tensorrt package, or export the model as pdmodel with Paddle 2.6 or 3.0"
            ) from e
        shutil.rmtree(folder)  # of a conversion that was broken off
        os.makedirs(folder)
        config = TensorRTConfig(
            inputs=[Input(warmup_data=tuple(_batches(contract)), name=contract.input_name)],
            min_subgraph_size=contract.tensorrt["min_subgraph_size"],
            save_model_dir=prefix,
            precision_mode=PrecisionMode.FP16 if precision == "fp16" else PrecisionMode.FP32,
            ops_run_float=["pd_op." + op for op in contract.tensorrt["fp32_ops"]] if precision == "fp16" else None,
            workspace_size=contract.tensorrt["workspace_mb"] << 20,
        )
        paddle.enable_static()
        try:
            program = convert(contract.path(contract.model), config)
        finally:
            paddle.disable_static()
        operators = [op.name() for op in program.global_block().ops]
        if "pd_op.tensorrt_engine" not in operators:
            raise _no_engine(contract, operators)
        with open(complete, "w"):
            pass
    config = inference.Config(prefix + ".json", prefix + ".pdiparams")
    config.disable_glog_info()
    config.enable_use_gpu(GPU_MEMORY_MB, 0)
    return inference.create_predictor(config)


def _gpu_config(contract: Contract, inference):
    config = inference.Config(contract.path(contract.model), contract.path(contract.params))
    config.enable_use_gpu(GPU_MEMORY_MB, 0)
    return config


def _batches(contract: Contract) -> List[np.ndarray]:
    """A batch of the smallest, the usual and the largest shape that engines are built for."""
    shape = contract.tensorrt_shape
    return [np.zeros(ends, contract.input_dtype) for ends in (shape.min, shape.opt, shape.max)]


def _operators(contract: Contract) -> List[str]:
    """Types of the operators of a model in pdmodel form."""
    from paddle.base.proto import framework_pb2  # Paddle 3's own Program is that of json

    with open(contract.path(contract.model), "rb") as f:
        program = framework_pb2.ProgramDesc.FromString(f.read())
    return [op.type for block in program.blocks for op in block.ops]


def _no_engine(contract: Contract, operators: List[str]) -> InputError:
    operators = [op for op in operators if op not in ("feed", "fetch")]
    kinds = ", ".join(sorted(set(operators)))
    return InputError(
        f"TensorRT was asked for but no engine was built for {contract.model}: all {len(operators)} operators stayed "
        f"outside ({kinds}); ask python -m paddle_rtseg.trt_report which it rejects, or use --backend native"
    )


def subgraph_sizes(log: str) -> List[int]:
    """Operators in each subgraph that TensorRT took, by Paddle's log."""
    return [int(n) for n in re.findall(r"detect a sub-graph with (\d+) nodes", log)]


@contextlib.contextmanager
def native_stderr() -> Iterator:
    """Catch what C++ code writes to stderr; yields a function that gives it afterwards.

    It is shown as well if the code fails.
    """
    caught: List[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: "".join(caught)
        except BaseException:
            _restore(saved, file, caught)
            sys.stderr.write("".join(caught))
            raise
        _restore(saved, file, caught)


def _restore(saved: int, file, caught: List[str]) -> None:
    ctypes.CDLL(None).fflush(None)
    os.dup2(saved, 2)
    os.close(saved)
    file.seek(0)
    caught.append(file.read().decode(errors="replace"))
