"""Record the answers of Paddle 2.6.2's own TensorRT tellers in tests/fixtures/trt_verdicts.json.

Needs an environment of its own with ``paddlepaddle-gpu==2.6.2``, ``numpy<2``, OpenCV and PyYAML, but no GPU:

    python tests/trt_report/make_trt_verdicts.py [NAME=PREFIX ...]

where PREFIX.pdmodel and PREFIX.pdiparams are models exported by Paddle 2.6.2 elsewhere. The tellers are C++ functions
that libpaddle.so exports. Before they are called, Paddle's passes prepare the graph as they do before partitioning.
Left out are ``split_layernorm_to_math_ops_pass``, which needs the shapes of a run and replaces one accepted operator by
others, and group_norm, for which the teller aborts unless TensorRT is installed.
"""

import collections
import ctypes
import json
import os
import sys
import zlib  # noqa: F401  before paddle, which embeds an old one

import numpy as np
import paddle
from paddle.base import core
from paddle.base.framework import IrGraph, Program

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path[:0] = [os.path.join(HERE, "..", "helpers"), ROOT, os.path.join(ROOT, "deploy", "python")]
from trt_cases import CASES, build  # noqa: E402

from paddle_rtseg.trt_report.program import TensorAttribute, parse_pdmodel  # noqa: E402

PASSES = """trt_remove_amp_strategy_op_pass trt_support_nhwc_pass adaptive_pool2d_convert_global_pass
trt_map_ops_to_matrix_multiply_pass shuffle_channel_detect_pass identity_op_clean_pass simplify_with_basic_ops_pass
trt_multihead_matmul_fuse_pass_v2 trt_multihead_matmul_fuse_pass_v3 constant_folding_pass conv_bn_fuse_pass"""
FIXTURE = os.path.join(HERE, "..", "fixtures", "trt_verdicts.json")
NOT_RELEVANT = {"op_device", "op_role", "op_role_var", "with_quant_attr", "name", "use_mkldnn", "use_cudnn"}


class Tellers:
    """``operator()(OpDesc, no_calib_int8, with_dynamic_shape, explicit_quantization)`` of the two tellers."""

    def __init__(self):
        library = ctypes.CDLL(os.path.join(os.path.dirname(paddle.__file__), "base", "libpaddle.so"))

        def function(name: str, *arguments, returns=None):
            found = getattr(library, "_ZN6paddle9inference8tensorrt" + name)
            found.argtypes, found.restype = arguments, returns
            return found

        call = "clERKNS_9framework6OpDescEbbb"
        flags = [ctypes.c_bool] * 3
        self.converter, self.plugin = (ctypes.create_string_buffer(4096) for _ in range(2))
        function("21SimpleOpTypeSetTellerC1Ev", ctypes.c_void_p)(self.converter)
        pointer = ctypes.c_void_p
        self.has_converter = function("21SimpleOpTypeSetTeller" + call, pointer, pointer, *flags, returns=ctypes.c_bool)
        self.has_plugin = function("19GenericPluginTeller" + call, pointer, pointer, *flags, returns=ctypes.c_bool)

    def __call__(self, op) -> str:
        description = ctypes.c_void_p.from_address(id(op) + object.__basicsize__).value  # what pybind11 holds
        if self.has_converter(self.converter, description, False, True, False):
            return "accepted"
        return "plugin" if self.has_plugin(self.plugin, description, False, True, False) else "rejected"


def prepare(program: Program) -> Program:
    """The program after Paddle's passes; its weights must be in the global scope."""
    graph = IrGraph(core.Graph(program.desc), for_test=True).graph
    graph.set_not_owned("__param_scope__", paddle.static.global_scope())
    for name in PASSES.split():
        one = core.get_pass(name)
        one.set("with_dynamic_shape", True)
        one.apply(graph)
    return IrGraph(graph, for_test=True).to_program()


def set_weights(program: Program) -> None:
    """Set every weight to ones, because the passes compute with them."""
    for var in program.list_vars():
        if var.persistable and var.type == core.VarDesc.VarType.LOD_TENSOR:
            tensor = paddle.static.global_scope().var(var.name).get_tensor()
            tensor.set(np.ones(var.shape, "float32"), paddle.CPUPlace())


def answers(program: Program, tellers: Tellers) -> list:
    """Every operator after the passes, as plain data, with its verdict."""
    program = prepare(program)
    block = program.desc.block(0)
    # The reader expects a program with an output.
    block.append_op().set_type("fetch")
    operators = parse_pdmodel(program.desc.serialize_to_string())
    asked = [block.op(i) for i in range(block.op_size())]
    asked = [op for op in asked if op.type() not in ("feed", "fetch")]
    assert [op.type for op in operators] == [op.type() for op in asked]
    return [
        {
            "operator": op.type,
            "attrs": {k: plain(v) for k, v in sorted(op.attrs.items()) if k not in NOT_RELEVANT},
            "inputs": {k: [[t.shape, t.dtype, t.constant] for t in v] for k, v in sorted(op.inputs.items()) if v},
            "outputs": {k: len(v) for k, v in sorted(op.outputs.items()) if v},
            "verdict": tellers(description),
        }
        for op, description in zip(operators, asked)
    ]


def plain(value):
    return {"tensor": value} if isinstance(value, TensorAttribute) else value


def summary(rows: list) -> dict:
    """Number of operators of each type that are not simply accepted."""
    return dict(
        sorted(
            collections.Counter(f"{r['verdict']} {r['operator']}" for r in rows if r["verdict"] != "accepted").items()
        )
    )


def main() -> None:
    paddle.enable_static()
    tellers, operators, cases, models = Tellers(), {}, {}, {}
    for name, case in CASES.items():
        program = build(case)
        set_weights(program)
        rows = answers(program, tellers)
        cases[name] = summary(rows)
        operators.update((json.dumps(row, sort_keys=True), row) for row in rows)
    for argument in sys.argv[1:]:
        name, _, prefix = argument.partition("=")
        executor = paddle.static.Executor(paddle.CPUPlace())
        program = paddle.static.load_inference_model(prefix, executor)[0]
        rows = answers(program, tellers)
        models[name] = {"operators": len(rows), **summary(rows)}
        operators.update((json.dumps(row, sort_keys=True), row) for row in rows if row["verdict"] != "accepted")
    with open(FIXTURE, "w") as f:
        about = f"Paddle {paddle.__version__}'s tellers, asked by tests/trt_report/make_trt_verdicts.py"
        f.write(f'{{\n"about": {json.dumps(about)},\n"models": {lines(models)},\n"cases": {lines(cases)},\n')
        f.write('"operators": [\n' + ",\n".join(operators) + "\n]\n}\n")


def lines(entries: dict) -> str:
    """JSON with one line for each entry."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items()) + "\n}"


if __name__ == "__main__":
    main()
