"""The ONNX form of the tiny network, written operator by operator, because paddle2onnx needs Paddle 3."""

import dataclasses
import pathlib

import numpy as np
from comparing import zip_strict
from rtseg_inference import contract
from tiny_network import PREPROCESSING

from paddle_rtseg.export.exporter import export_model


def export_with_onnx(model, save_dir, input_shape=None):
    """Export the tiny network's logits, with its ONNX form in fp32 and in half precision; returns ``save_dir``."""
    folder = export_model(
        model, str(save_dir), PREPROCESSING, input_shape, output_op="logits", format=_paddles_own_format()
    )
    found = contract.read_contract(folder)
    names = {"onnx": "model.onnx", "onnx_fp16": "model_fp16.onnx"}
    size = (input_shape or [-1, 3, -1, -1])[2:]
    for key, name in names.items():
        pathlib.Path(folder, name).write_bytes(_graph(model, size, half=key == "onnx_fp16"))
    sums = {**found.sha256, **{name: contract.sha256(found.path(name)) for name in names.values()}}
    contract.write_contract(dataclasses.replace(found, sha256=sums, **names), {})
    return folder


def _paddles_own_format():
    import paddle

    return "pdmodel" if paddle.__version__.startswith("2.") else "json"


def _graph(model, size, half):
    from onnx import TensorProto, checker, helper, numpy_helper

    kind = np.float16 if half else np.float32
    state = {key: value.numpy().astype(kind) for key, value in model.state_dict().items()}
    norm = [f"body.1.{key}" for key in ("weight", "bias", "_mean", "_variance")]
    down = {"strides": [2, 2], "pads": [1] * 4}
    height, width = (name if n == -1 else n for name, n in zip_strict(("height", "width"), size))

    def node(operator, inputs, output, **attributes):
        return helper.make_node(operator, inputs, [output], name=output, **attributes)

    nodes = [
        node("Cast", ["x"], "entered", to=TensorProto.FLOAT16 if half else TensorProto.FLOAT),
        node("Conv", ["entered", "body.0.weight", "body.0.bias"], "conv_a", **down),
        node("BatchNormalization", ["conv_a", *norm], "norm"),
        node("Relu", ["norm"], "relu_a"),
        node("Conv", ["relu_a", "body.3.weight", "body.3.bias"], "conv_b", **down),
        node("Relu", ["conv_b"], "relu_b"),
        node("Conv", ["relu_b", "head.weight", "head.bias"], "conv_c"),
        node("Cast", ["conv_c"], "logits", to=TensorProto.FLOAT),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, height, width])
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", state["head.bias"].size, "h", "w"])
    weights = [numpy_helper.from_array(value, key) for key, value in state.items()]
    graph = helper.make_graph(nodes, "tiny", [given], [result], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made)
    return made.SerializeToString()
