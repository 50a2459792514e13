"""An ONNX graph in half precision: weights and activations, with casts only where precision really changes.

Kept in float32 are the graph's input and output, so that nothing around the network changes; what happens to the image
before the first convolution; the matching of token merging, whose similarities are ranked and whose tokens are counted;
and what a half-precision number cannot hold. LayerNormalization and Softmax are single nodes, which accumulate in
float32 whatever their input.
"""

from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .onnx_graph import Graph, attributes, batch_norm_line, merge_duplicates, remove_dead, remove_identities

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
INTEGERS = (TensorProto.INT32, TensorProto.INT64)
LARGEST = float(np.finfo(np.float16).max)
SMALLEST = 2.0**-24  # the smallest positive half-precision number
#: The same result in float32 as in half precision, so they never need a cast of their own.
MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Expand", "Concat", "Split", "Flatten")
#: Matching, going back from what is ranked, ends at these: they belong to the network.
NETWORK = ("Conv", "LayerNormalization", "BatchNormalization", "Softmax", "Resize", "Relu", "Erf", "Gemm")
RANKING = ("TopK", "ArgMax", "ArgMin")
#: Inputs that stay float32 by ONNX's definition of the operator, by their position.
FLOAT_INPUTS = {"Resize": (1, 2)}
NO_HALF = ("Range", "GridSample", "RoiAlign", "NonMaxSuppression")  # not in ONNX, or not on CUDA


def to_half(graph: Graph, fp32_ops: Sequence[str] = (), keep_matching: bool = True) -> None:
    """Convert a simplified graph to half precision.

    Args:
        graph: changed in place; its inputs and outputs keep their types.
        fp32_ops: operators that are to stay in float32.
        keep_matching: leave the similarities and counts of token merging in float32.
    """
    _prepare_batch_norms(graph)
    single = _single_precision(graph, fp32_ops, keep_matching)
    types = graph.types
    half_names: Dict[str, str] = {}  # of tensors and constants that exist in float32, in half precision
    float_names: Dict[str, str] = {}  # of tensors that exist in half precision, in float32
    nodes: List[NodeProto] = []
    in_half: Set[str] = set()

    def read(name: str, half: bool) -> str:
        """The tensor in the precision that its reader takes, with a cast where none exists yet."""
        if types.get(name) != FLOAT or (name in in_half) == half:
            return name
        known = half_names if half else float_names
        if name not in known:
            if name in graph.constants:
                known[name] = graph.constant(_half(graph.constants[name]), name)
            else:
                known[name] = graph.name(name)
                nodes.append(helper.make_node("Cast", [name], [known[name]], known[name], to=HALF if half else FLOAT))
        return known[name]

    for node in graph.nodes:
        half = id(node) not in single
        fixed = FLOAT_INPUTS.get(node.op_type, ())
        for k, name in enumerate(node.input):
            if name:
                node.input[k] = read(name, half and k not in fixed)
        if half:
            _set_types(node)
            in_half.update(name for name in node.output if types.get(name) == FLOAT)
        nodes.append(node)
    graph.nodes = nodes
    _cast_outputs(graph, in_half)
    graph.infer()
    _cancel_casts(graph)
    for step in (remove_identities, merge_duplicates, remove_dead):
        step(graph)
    graph.infer()


def _half(value: np.ndarray) -> np.ndarray:
    return np.clip(value, -LARGEST, LARGEST).astype(np.float16)


def _set_types(node: NodeProto) -> None:
    """Turn the float32 that a node's attributes name into half precision."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == FLOAT:
            attribute.i = HALF
        elif attribute.name == "value" and attribute.t.data_type == FLOAT:  # of ConstantOfShape
            value = helper.make_tensor("value", HALF, [1], [float(np.frombuffer(_raw(attribute.t), np.float32)[0])])
            attribute.t.CopyFrom(value)


def _raw(tensor: TensorProto) -> bytes:
    return tensor.raw_data or np.asarray(tensor.float_data, np.float32).tobytes()


def _cast_outputs(graph: Graph, in_half: Set[str]) -> None:
    """The graph's outputs keep their names and their type."""
    for value in graph.outputs:
        if value.name not in in_half:
            continue
        inner = graph.name(value.name)
        for node in graph.nodes:
            for names in (node.input, node.output):
                for k, name in enumerate(names):
                    names[k] = inner if name == value.name else name
        graph.nodes.append(helper.make_node("Cast", [inner], [value.name], "cast_output", to=FLOAT))


def _cancel_casts(graph: Graph) -> None:
    """Read the original of a tensor that was cast to float32 and back."""
    producers = graph.producers()
    for node in graph.nodes:
        before = producers.get(node.input[0]) if node.op_type == "Cast" else None
        if before is None or before.op_type != "Cast":
            continue
        original = graph.types.get(before.input[0])
        if (original, attributes(before)["to"], attributes(node)["to"]) == (HALF, FLOAT, HALF):
            node.input[0] = before.input[0]  # a cast to the type it has, which remove_identities removes


def _prepare_batch_norms(graph: Graph) -> None:
    """Write the statistics of batch normalisation into its scale and shift: a variance may exceed half precision."""
    for node in graph.nodes:
        if node.op_type == "BatchNormalization" and all(map(graph.is_constant, node.input[1:])):
            factor, shift = batch_norm_line(graph, node)
            factor = factor * np.sqrt(1 + attributes(node).get("epsilon", 1e-5))
            values = (factor, shift, np.zeros_like(factor), np.ones_like(factor))
            for k, value in enumerate(values, start=1):
                node.input[k] = graph.constant(value.astype(np.float32), node.input[k])


def _single_precision(graph: Graph, fp32_ops: Sequence[str], keep_matching: bool) -> Set[int]:
    """The nodes that stay in float32, by ``id``."""
    chosen = [node for node in graph.nodes if node.op_type in (*fp32_ops, *NO_HALF) or _exceeds_half(graph, node)]
    chosen += _before_first_convolution(graph)
    if keep_matching:
        chosen += _matching(graph)
    single = {id(node) for node in chosen}
    _grow(graph, single)
    return single


def _exceeds_half(graph: Graph, node: NodeProto) -> bool:
    """Whether a constant of the node, other than weights, is too large or too small for half precision."""
    if node.op_type in ("Conv", "MatMul", "Gemm", "LayerNormalization", "BatchNormalization", "Resize"):
        return False
    for name in node.input:
        value = graph.constants.get(name)
        if value is not None and value.dtype == np.float32 and value.size:
            size = np.abs(value[np.isfinite(value) & (value != 0)])
            if size.size and (size.max() > LARGEST or size.min() < SMALLEST):
                return True
    return False


def _before_first_convolution(graph: Graph) -> List[NodeProto]:
    """The nodes between the graph's input and the first convolutions: normalisation of 8-bit images."""
    reached = {value.name for value in graph.inputs}
    found = []
    for node in graph.nodes:
        if node.op_type not in NETWORK and node.op_type != "MatMul" and reached.intersection(node.input):
            found.append(node)
            reached.update(node.output)
    # A network may also show its input to later layers, which are no part of this.
    return found


def _matching(graph: Graph) -> List[NodeProto]:
    """The nodes that compute what is ranked or becomes an integer, back to the network's own layers."""
    producers = graph.producers()
    found: Dict[int, NodeProto] = {}
    waiting = [
        node
        for node in graph.nodes
        if (node.op_type in RANKING and not _ranks_classes(node, producers)) or _makes_integers(graph, node)
    ]
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        before = (producers.get(name) for name in node.input)
        waiting += [n for n in before if n is not None and n.op_type not in NETWORK and not _is_layer(graph, n)]
    return list(found.values())


def _makes_integers(graph: Graph, node: NodeProto) -> bool:
    """Whether floats become integers: half precision counts to 2048 only."""
    return node.op_type == "Cast" and graph.types.get(node.input[0]) == FLOAT and attributes(node)["to"] in INTEGERS


def _ranks_classes(node: NodeProto, producers: Dict[str, NodeProto]) -> bool:
    """Whether the network's own output is ranked, as for a mask."""
    before: Optional[NodeProto] = producers.get(node.input[0])
    return node.op_type == "ArgMax" and before is not None and before.op_type in NETWORK


def _is_layer(graph: Graph, node: NodeProto) -> bool:
    """Whether this is a linear layer, with weights, and not a product of two activations."""
    return node.op_type == "MatMul" and any(name in graph.constants for name in node.input)


def _grow(graph: Graph, single: Set[int]) -> None:
    """Add what lies between nodes in float32 alone, so that nothing is cast there and back."""
    producers, consumers, outputs = graph.producers(), graph.consumers(), graph.output_names()
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if id(node) in single or node.op_type not in MOVING:
                continue
            floats = [name for name in node.input if graph.types.get(name) == FLOAT and name not in graph.constants]
            before = [producers.get(name) for name in floats]
            after = [reader for name in node.output for reader in consumers[name]]
            if (
                before
                and all(n is None or id(n) in single for n in before)
                and all(id(n) in single for n in after)
                and not outputs.intersection(node.output)
            ):
                single.add(id(node))
                changed = True


def cast_count(graph: Graph) -> Tuple[int, int]:
    """How many casts to half precision and to float32 there are."""
    targets = [attributes(node)["to"] for node in graph.nodes if node.op_type == "Cast"]
    return targets.count(HALF), targets.count(FLOAT)
