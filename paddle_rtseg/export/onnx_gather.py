"""Gathers that follow the batch: one GatherND for the rows of a flattened batch and their offsets.

Paddle gathers tokens fastest from the flattened batch, with an offset for each image. In ONNX such offsets are computed
from the batch's size, on the processor, and sent to the GPU for each gather, which also keeps the graph from being
captured. GatherND with ``batch_dims`` of 1 needs none.
"""

from typing import Dict, List, NamedTuple, Optional

from onnx import NodeProto, helper

from .onnx_graph import Graph, attributes


class _Gather(NamedTuple):
    """Rows ``index`` (B, m) of ``data`` (B, n, C), found in a graph as ``result`` (B, m, C)."""

    data: str
    index: str
    result: str


def gather_per_image(graph: Graph) -> bool:
    """Replace each gather from a flattened batch by one from every image of the batch; return whether there was one."""
    producers, consumers = graph.producers(), graph.consumers()
    matches = [_match(graph, node, producers, consumers) for node in graph.nodes if node.op_type == "Gather"]
    replaced = {match.result: match for match in matches if match is not None}
    nodes = []
    for node in graph.nodes:
        match = replaced.get(node.output[0])
        if match is None:
            nodes.append(node)
            continue
        index, axis = graph.name(match.index), graph.constant([-1], "axes")
        nodes.append(helper.make_node("Unsqueeze", [match.index, axis], [index], index))
        nodes.append(helper.make_node("GatherND", [match.data, index], [match.result], match.result, batch_dims=1))
    graph.nodes = nodes
    graph.infer()
    return bool(replaced)


def _match(
    graph: Graph, node: NodeProto, producers: Dict[str, NodeProto], consumers: Dict[str, List[NodeProto]]
) -> Optional[_Gather]:
    rows, flat = (producers.get(name) for name in node.input)
    readers = consumers.get(node.output[0], [])
    if attributes(node).get("axis", 0) != 0 or len(readers) != 1:
        return None
    if not all(other is not None and other.op_type == "Reshape" for other in (rows, flat, readers[0])):
        return None
    total = producers.get(flat.input[0])
    if total is None or total.op_type != "Add":
        return None
    (last,) = readers
    for index, offsets in (total.input, reversed(total.input)):
        shapes = [graph.shapes.get(name) for name in (rows.input[0], index, last.output[0])]
        if None in shapes or not _counts_images(graph, offsets, producers):
            continue
        data, places, result = shapes
        if (len(data), len(places), result[1:]) == (3, 2, (places[-1], data[-1])):
            return _Gather(rows.input[0], index, last.output[0])
    return None


def _counts_images(graph: Graph, name: str, producers: Dict[str, NodeProto]) -> bool:
    """Whether a tensor is a multiple of 0, 1, 2, ..., as far as the nodes before it tell."""
    while name in producers:
        node = producers[name]
        if node.op_type == "Range":
            return True
        computed = [source for source in node.input if not graph.is_constant(source)]
        if node.op_type not in ("Unsqueeze", "Reshape", "Cast", "Mul") or len(computed) != 1:
            return False
        (name,) = computed
    return False
