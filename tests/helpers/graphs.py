"""Exported graphs, for the tests: writing, running and reading them on either version of Paddle."""

import os
from typing import Callable, Optional, Set, Tuple

import numpy as np
import paddle
from paddle import inference

# By the rules of Paddle 2.6 (names of both Paddle's program formats); what it computes from constants alone is folded.
REJECTED_BY_TENSORRT = {
    *("max_pool2d_with_index", "put_along_axis", "index_add", "pixel_shuffle", "log_softmax", "linspace"),
    *("reduce_amax", "amax", "reduce_amin", "amin", "assign_value", "meshgrid", "linear_interp", "bicubic_interp"),
}


def save_static(model: paddle.nn.Layer, prefix: str, size: Optional[Tuple[int, int]]) -> None:
    """Export with a free batch and a fixed or, if ``size`` is None, a free height and width."""
    model.eval()
    spec = paddle.static.InputSpec([None, 3, *(size or (None, None))], "float32", name="x")
    paddle.jit.save(paddle.jit.to_static(model, input_spec=[spec], full_graph=True), prefix)


def predictor(prefix: str, onednn: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Images -> logits, by Paddle Inference on the CPU."""
    program = next(prefix + e for e in (".json", ".pdmodel") if os.path.exists(prefix + e))
    config = inference.Config(program, prefix + ".pdiparams")
    config.disable_glog_info()
    if onednn:
        config.enable_mkldnn()
        config.delete_pass("onednn_placement_pass")
    elif hasattr(config, "disable_mkldnn"):
        config.disable_mkldnn()
    session = inference.create_predictor(config)

    def run(x: np.ndarray) -> np.ndarray:
        handle = session.get_input_handle(session.get_input_names()[0])
        handle.reshape(x.shape)
        handle.copy_from_cpu(x)
        session.run()
        return session.get_output_handle(session.get_output_names()[0]).copy_to_cpu()

    return run


def operator_names(prefix: str) -> Set[str]:
    """The operators of an exported graph, without the suffixes that set Paddle's versions of one apart."""
    paddle.enable_static()
    try:
        program, _, _ = paddle.static.load_inference_model(prefix, paddle.static.Executor(paddle.CPUPlace()))
        block = program.global_block()
        names = [op.type if hasattr(op, "type") else op.name() for op in block.ops]
    finally:
        paddle.disable_static()
    return {name.rpartition(".")[2].rstrip("_").replace("_interp_v2", "_interp") for name in names}
