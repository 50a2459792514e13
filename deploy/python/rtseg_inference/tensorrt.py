"""TensorRT engines inside Paddle's GPU runtime: built for the shapes in deploy.yaml, and cached.

Paddle 2.6 and 3.0 replace those subgraphs of a pdmodel program that TensorRT supports. For json programs later
releases silently ignore that request and have a converter instead. Either way a missing engine is an error: without
one, the plain GPU runtime would run instead, only slower.

No part of this module has been run on a GPU yet.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import os
import re
import sys
import tempfile
import warnings
from typing import IO, Any, Callable, Dict, Iterator, List

import numpy as np

from .contract import Contract
from .errors import InputError
from .files import Array, cache_root, with_cache, writable_cache

UNRELIABLE = (
    "TensorRT in Paddle 3 (paddle.tensorrt) is unreliable: engines that are built and give nothing (Paddle issue "
    "79449), and no engine with stack or arange from TensorRT 10.8 on (issue 79319)"
)
GPU_MEMORY_MB = 256  # initial pool; Paddle grows it as needed


def create_predictor(contract: Contract, precision: str) -> Any:
    """A Paddle Inference predictor whose network runs in TensorRT, wholly or in part.

    The first call for a model builds engines, which takes minutes; they are kept in :func:`cache_folder`.

    Raises:
        InputError: this Paddle has no TensorRT, or no engine could be built.
    """
    import paddle
    from paddle import inference

    version = inference.get_trt_runtime_version() if any(inference.get_trt_compile_version()) else (0, 0, 0)
    if not any(version):
        raise InputError(
            "TensorRT was requested, but this Paddle is built without it or cannot load its library; install TensorRT "
            "and a paddlepaddle-gpu built with it, or use --backend native"
        )
    folder = cache_folder(contract, precision, _machine(paddle, version))
    writable_cache(folder, "RTSEG_CACHE")
    if contract.program_format == "json":
        return with_cache(folder, lambda: _converted(contract, precision, folder, paddle, inference))
    return with_cache(folder, lambda: _with_subgraphs(contract, precision, folder, inference))


def cache_folder(contract: Contract, precision: str, machine: Dict[str, Any]) -> str:
    """The folder for the engines of this model, machine, precision and range of shapes.

    Everything that an engine depends on is part of its name.
    """
    key = {
        "model": contract.sha256[contract.model],
        "params": contract.sha256[contract.params],
        "precision": precision,
        "tensorrt": dataclasses.asdict(contract.tensorrt),
        **machine,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return os.path.join(cache_root(), digest[:32])


def _machine(paddle: Any, tensorrt_version: Any) -> Dict[str, Any]:
    return {
        "gpu": paddle.device.cuda.get_device_name(0),
        "capability": list(paddle.device.cuda.get_device_capability(0)),
        "tensorrt_version": list(tensorrt_version),
        "paddle_version": paddle.__version__,
    }


def _with_subgraphs(contract: Contract, precision: str, folder: str, inference: Any) -> Any:
    """Paddle 2.6 and 3.0, pdmodel: engines in place of subgraphs."""
    shapes = os.path.join(folder, "shapes.pbtxt")
    if not os.path.isfile(shapes):
        partial = shapes + ".partial"
        config = _gpu_config(contract, inference)
        config.collect_shape_range_info(partial)
        collector = inference.create_predictor(config)
        for batch in _batches(contract):
            handle = collector.get_input_handle(contract.input.name)
            handle.reshape(batch.shape)
            handle.copy_from_cpu(batch)
            collector.run()
        del collector  # its destructor writes the file
        os.replace(partial, shapes)

    config = _gpu_config(contract, inference)
    config.set_optim_cache_dir(folder)
    config.enable_tensorrt_engine(
        workspace_size=contract.tensorrt.workspace_mb << 20,
        max_batch_size=contract.tensorrt.shape.max[0],
        min_subgraph_size=contract.tensorrt.min_subgraph_size,
        precision_mode=inference.PrecisionType.Half if precision == "fp16" else inference.PrecisionType.Float32,
        use_static=True,  # write the engines to the cache
        use_calib_mode=False,
    )
    # Shapes outside the range are refused earlier; building an engine for them would take minutes.
    config.enable_tuned_tensorrt_dynamic_shape(shapes, False)
    if precision == "fp16" and contract.tensorrt.fp32_ops:
        config.exp_disable_tensorrt_ops(list(contract.tensorrt.fp32_ops))
    with native_stderr() as log:
        predictor = inference.create_predictor(config)
    if not subgraph_sizes(log()):
        raise _no_engine(contract, _operators(contract))
    return predictor


def _converted(contract: Contract, precision: str, folder: str, paddle: Any, inference: Any) -> Any:
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
        config = TensorRTConfig(
            inputs=[Input(warmup_data=tuple(_batches(contract)), name=contract.input.name)],
            min_subgraph_size=contract.tensorrt.min_subgraph_size,
            save_model_dir=prefix,
            precision_mode=PrecisionMode.FP16 if precision == "fp16" else PrecisionMode.FP32,
            ops_run_float=["pd_op." + op for op in contract.tensorrt.fp32_ops] if precision == "fp16" else None,
            workspace_size=contract.tensorrt.workspace_mb << 20,
        )
        warnings.warn(UNRELIABLE, stacklevel=2)
        paddle.enable_static()
        try:
            program = convert(contract.path(contract.model), config)
        except Exception as e:  # of whatever kind TensorRT or the converter raises
            reason = " ".join(str(e).split())[:200]
            raise InputError(
                f"Paddle {paddle.__version__} cannot convert {contract.model} for TensorRT ({reason}): {UNRELIABLE}; "
                "use another --backend, or export the model as pdmodel with Paddle 2.6"
            ) from e
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


def _gpu_config(contract: Contract, inference: Any) -> Any:
    config = inference.Config(contract.path(contract.model), contract.path(contract.params))
    config.enable_use_gpu(GPU_MEMORY_MB, 0)
    return config


def _batches(contract: Contract) -> List[Array]:
    """Batches of the smallest, the most common and the largest shape that engines are built for."""
    shape = contract.tensorrt.shape
    return [np.zeros(ends, contract.input.dtype) for ends in (shape.min, shape.opt, shape.max)]


def _operators(contract: Contract) -> List[str]:
    """Types of the operators of a model in pdmodel form."""
    from paddle.base.proto import framework_pb2  # Paddle 3's own Program class is the json form

    with open(contract.path(contract.model), "rb") as f:
        program = framework_pb2.ProgramDesc.FromString(f.read())
    return [op.type for block in program.blocks for op in block.ops]


def _no_engine(contract: Contract, operators: List[str]) -> InputError:
    operators = [op for op in operators if op not in ("feed", "fetch")]
    kinds = ", ".join(sorted(set(operators)))
    return InputError(
        f"TensorRT was requested, but no engine was built for {contract.model}: all {len(operators)} operators stayed "
        f"outside ({kinds}); python -m paddle_rtseg.trt_report lists what it rejects, or use --backend native"
    )


def subgraph_sizes(log: str) -> List[int]:
    """The number of operators in each subgraph that TensorRT took, from Paddle's log."""
    return [int(n) for n in re.findall(r"detect a sub-graph with (\d+) nodes", log)]


@contextlib.contextmanager
def native_stderr() -> Iterator[Callable[[], str]]:
    """Capture what C++ code writes to stderr; yields a function that returns it afterwards.

    If the code fails, it is also shown.
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


def _restore(saved: int, file: IO[bytes], caught: List[str]) -> None:
    ctypes.CDLL(None).fflush(None)
    os.dup2(saved, 2)
    os.close(saved)
    file.seek(0)
    caught.append(file.read().decode(errors="replace"))
