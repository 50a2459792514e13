"""Small ONNX models for the tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(nodes, constants, shape=("n", 4, 6, 8), output=TensorProto.FLOAT):
    """A model from "x" to "y" with a free batch."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, outputs, **settings) for op, inputs, outputs, settings in nodes],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def operators(graph):
    return sorted(node.op_type for node in graph.nodes)
