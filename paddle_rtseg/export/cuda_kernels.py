"""Which nodes of an ONNX graph ONNX Runtime can run on an NVIDIA GPU.

A node without a kernel there runs on the processor, with a copy there and back, and its graph cannot be captured.
``cuda_kernels.json`` holds the kernels of the operators that segmentation networks use, from ONNX Runtime's own list;
it states the commit that was read.
"""

import json
import os
from typing import Any, Dict, List

from onnx import TensorProto, defs

from .onnx_graph import Graph

OPSET = 17


def kernels() -> Dict[str, Any]:
    """The list: by operator, the ranges of opset versions and the types that each type parameter may have."""
    with open(os.path.join(os.path.dirname(__file__), "cuda_kernels.json"), encoding="utf-8") as f:
        return json.load(f)["kernels"]


def nodes_without_kernel(graph: Graph, opset: int = OPSET) -> List[str]:
    """The nodes that would run on the processor, each as ``name: Operator(types)``.

    A node without a known kernel, with a type that its kernel lacks, or that reads a size while the network runs.
    """
    known = kernels()
    return [
        f"{node.name}: {node.op_type}({', '.join(_types(graph, node))})"
        for node in graph.nodes
        if node.op_type == "Shape" or node.domain not in ("", "ai.onnx") or not _has_kernel(graph, node, known, opset)
    ]


def _has_kernel(graph: Graph, node: Any, known: Dict[str, Any], opset: int) -> bool:
    schema = defs.get_schema(node.op_type, opset)
    version = schema.since_version
    for kernel in known.get(node.op_type, ()):
        if kernel["since"] <= version and (kernel["until"] is None or version <= kernel["until"]):
            return all(
                TensorProto.DataType.Name(graph.types[name]).lower() in kernel["types"].get(parameter.type_str, ANY)
                for name, parameter in _typed(graph, node, schema)
            )
    return False


class _Any:
    def __contains__(self, item: str) -> bool:
        return True


ANY = _Any()  # the list gives no types of this parameter


def _typed(graph: Graph, node: Any, schema: Any) -> List[Any]:
    """The inputs and outputs of known type, with their parameters in the operator's definition."""
    pairs = []
    for names, parameters in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for k, name in enumerate(names):
            if name and graph.types.get(name):
                pairs.append((name, parameters[min(k, len(parameters) - 1)]))  # the last may be variadic
    return pairs


def _types(graph: Graph, node: Any) -> List[str]:
    return [TensorProto.DataType.Name(graph.types.get(name, 0)).lower() for name in node.input if name]
