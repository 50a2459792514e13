"""An ONNX graph that can be edited, and what makes a converted graph smaller without changing what it computes.

paddle2onnx translates operator by operator: a third of what it writes are constants, a third identities, and sizes are
computed while the network runs, which ONNX Runtime does on the processor even if the network runs on a GPU.
:func:`simplify` computes everything that depends on constants and fixed sizes alone, once and for all.
"""

import copy
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper, shape_inference

LARGE = 1 << 12  # elements; sizes and indices that shape inference has to see are smaller
LARGEST_FOLDED = 1 << 20  # elements; a larger constant is not made out of smaller ones
ROUNDS = 8  # at most; sizes that one round finds let the next round find more
RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")


@dataclass(frozen=True)
class Size:
    """A free dimension, or a multiple of it."""

    symbol: str
    factor: int = 1

    def __mul__(self, other: Any) -> Any:
        """The size times an integer."""
        return Size(self.symbol, self.factor * int(other)) if isinstance(other, (int, np.integer)) else NotImplemented

    __rmul__ = __mul__


Dim = Union[int, Size]


class Graph:
    """The nodes, constants, types and shapes of an ONNX model, for editing.

    Attributes:
        nodes: in the order in which they run.
        constants: values by name; there are no Constant nodes.
        types: element types (``onnx.TensorProto.FLOAT`` ...) by name, of everything that inference could determine.
        shapes: sizes by name, an ``int`` or a :class:`Size` for each axis.
    """

    def __init__(self, model: onnx.ModelProto):
        self._header = onnx.ModelProto(
            ir_version=model.ir_version,
            opset_import=model.opset_import,
            producer_name=model.producer_name,
            producer_version=model.producer_version,
        )
        graph = model.graph
        self.inputs, self.outputs = copy.deepcopy(list(graph.input)), list(graph.output)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.nodes: List[NodeProto] = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _constant_value(node)
            else:
                self.nodes.append(copy.deepcopy(node))
        self.inputs = [value for value in self.inputs if value.name not in self.constants]
        self.types: Dict[str, int] = {}
        self.shapes: Dict[str, Tuple[Dim, ...]] = {}
        self._new_names = 0
        self.infer()

    def infer(self) -> None:
        """Determine types and shapes again."""
        small, inputs = [], list(self.inputs)
        for name, value in self.constants.items():
            if value.size > LARGE:
                element = helper.np_dtype_to_tensor_dtype(value.dtype)
                inputs.append(helper.make_tensor_value_info(name, element, value.shape))
            else:
                small.append(numpy_helper.from_array(value, name))
        outputs = [helper.make_tensor_value_info(v.name, v.type.tensor_type.elem_type, None) for v in self.outputs]
        graph = helper.make_graph(self.nodes, "graph", inputs, outputs, small)
        model = self._with_header(graph)
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
        self.types, self.shapes = {}, {}
        for value in (*inferred.input, *inferred.output, *inferred.value_info):
            tensor = value.type.tensor_type
            self.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self.shapes[value.name] = tuple(
                    dim.dim_value if dim.HasField("dim_value") else Size(dim.dim_param or f"{value.name}.{axis}")
                    for axis, dim in enumerate(tensor.shape.dim)
                )
        for name, value in self.constants.items():
            self.types[name] = helper.np_dtype_to_tensor_dtype(value.dtype)
            self.shapes[name] = value.shape

    def model(self) -> onnx.ModelProto:
        """The graph as a model, with the opset and the producer of the original."""
        used = {name for node in self.nodes for name in node.input} | {value.name for value in self.outputs}
        tensors = [numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used]
        outputs = [self._output(value) for value in self.outputs]
        return self._with_header(helper.make_graph(self.nodes, "network", self.inputs, outputs, tensors))

    def _with_header(self, graph: onnx.GraphProto) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self._header)
        model.graph.CopyFrom(graph)
        return model

    def _output(self, value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        """An output with the shape that was inferred; free sizes of the input keep their names."""
        shape = self.shapes.get(value.name)
        if shape is None:
            return value
        sizes = [(n.symbol if n.factor == 1 else None) if isinstance(n, Size) else n for n in shape]
        return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, sizes)

    def is_constant(self, name: str) -> bool:
        """Whether the value of ``name`` is known; an input that is left out is."""
        return not name or name in self.constants

    def constant(self, value: Any, hint: str) -> str:
        """Name of a new constant of this value."""
        name, value = self.name(hint), np.asarray(value)
        self.constants[name], self.shapes[name] = value, value.shape
        self.types[name] = helper.np_dtype_to_tensor_dtype(value.dtype)
        return name

    def name(self, hint: str) -> str:
        """A name that is not in use."""
        while True:
            self._new_names += 1
            name = f"{hint}.rtseg{self._new_names}"
            if name not in self.constants and name not in self.types:  # as those of a graph that was edited before
                return name

    def consumers(self) -> Dict[str, List[NodeProto]]:
        """The nodes that read each tensor."""
        found = defaultdict(list)
        for node in self.nodes:
            for name in set(node.input):
                found[name].append(node)
        return found

    def producers(self) -> Dict[str, NodeProto]:
        """The node that computes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def output_names(self) -> Set[str]:
        """Names of the graph's outputs."""
        return {value.name for value in self.outputs}

    def rename(self, names: Dict[str, str]) -> None:
        """Let every reader of a key of ``names`` read its value instead; values may be keys themselves."""
        for node in self.nodes:
            for k, name in enumerate(node.input):
                while name in names:
                    name = names[name]
                node.input[k] = name

    def remove(self, nodes: Sequence[NodeProto]) -> None:
        """Remove these nodes, whatever reads them."""
        gone = {id(node) for node in nodes}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def count(self) -> Counter:
        """How many nodes of each operator there are."""
        return Counter(node.op_type for node in self.nodes)


def attributes(node: NodeProto) -> Dict[str, Any]:
    """The attributes of ``node`` as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def simplify(graph: Graph, input_sizes: Optional[Sequence[Optional[str]]] = None) -> None:
    """Fold, remove and fuse until nothing changes; what the graph computes stays the same.

    Args:
        graph: changed in place.
        input_sizes: names for the free dimensions of the graph's input; None keeps one's name.
    """
    if input_sizes:
        _name_sizes(graph, input_sizes)
    for _ in range(ROUNDS):
        before = [node.SerializeToString() for node in graph.nodes]
        for step in STEPS:
            step(graph)
        if before == [node.SerializeToString() for node in graph.nodes]:
            break
        graph.infer()


def _name_sizes(graph: Graph, names: Sequence[Optional[str]]) -> None:
    """Name the free dimensions of the input; those of the output, which depend on them, become anonymous."""
    for dim, name in zip(graph.inputs[0].type.tensor_type.shape.dim, names):
        if name and not dim.HasField("dim_value"):
            dim.dim_param = name
    graph.infer()


def _constant_value(node: NodeProto) -> np.ndarray:
    (attribute,) = node.attribute
    if attribute.name == "value":
        return numpy_helper.to_array(attribute.t)
    kind = np.float32 if "float" in attribute.name else np.int64
    return np.asarray(helper.get_attribute_value(attribute), kind)


# --- Constants and sizes


def fold_constants(graph: Graph) -> None:
    """Compute the nodes that depend on constants and fixed sizes alone."""
    sizes: Dict[str, np.ndarray] = {}  # one-dimensional arrays of integers and `Size`s
    kept = []
    for node in graph.nodes:
        if not _foldable(graph, node):
            kept.append(node)
            continue
        value = _evaluate(graph, node) if all(map(graph.is_constant, node.input)) else _sizes_of(graph, node, sizes)
        if value is None:
            kept.append(node)
        elif value.dtype == object and any(isinstance(n, Size) for n in value.flat):
            sizes[node.output[0]] = value
            kept.append(node)
        else:
            kind = helper.tensor_dtype_to_np_dtype(graph.types.get(node.output[0], onnx.TensorProto.INT64))
            graph.constants[node.output[0]] = value.astype(kind) if value.dtype == object else value
    graph.nodes = kept
    _fold_reshapes(graph, sizes)
    _fold_resizes(graph, sizes)


def _foldable(graph: Graph, node: NodeProto) -> bool:
    subgraphs = any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)
    return not subgraphs and len(node.output) == 1 and node.op_type not in RANDOM


def _evaluate(graph: Graph, node: NodeProto) -> Optional[np.ndarray]:
    """The value of a node whose inputs are constants; None for one that would only make the model larger."""
    from onnx.reference import ReferenceEvaluator

    values = {name: graph.constants[name] for name in node.input if name}
    result = np.asarray(ReferenceEvaluator(node, opsets=None).run(None, values)[0]) if node.input else None
    if result is None or result.size > max([LARGEST_FOLDED, *(value.size for value in values.values())]):
        return None
    return result


def _sizes_of(graph: Graph, node: NodeProto, sizes: Dict[str, np.ndarray]) -> Optional[np.ndarray]:
    """The value of a node that computes with sizes, as an array of integers and :class:`Size`; None if unknown."""
    if node.op_type == "Shape" and node.input[0] in graph.shapes:
        slicing = attributes(node)
        return _objects(graph.shapes[node.input[0]][slicing.get("start", 0) : slicing.get("end")])
    compute = SIZE_OPS.get(node.op_type)
    values = [sizes.get(name, graph.constants.get(name)) for name in node.input]
    if compute is None or any(value is None for value in values):
        return None
    try:
        return compute(attributes(node), *(np.asarray(value, object) for value in values))
    except TypeError:  # such as the sum of two sizes
        return None


def _objects(items: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    for k, item in enumerate(items):
        array[k] = item
    return array


def _slice(_: Dict[str, Any], data: np.ndarray, starts: np.ndarray, ends: np.ndarray, *more: np.ndarray) -> np.ndarray:
    step = int(more[1][0]) if len(more) > 1 else 1
    return data[int(starts[0]) : int(ends[0]) : step]


def _reshape(_: Dict[str, Any], data: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return data.reshape([int(n) for n in shape])


SIZE_OPS: Dict[str, Callable[..., np.ndarray]] = {
    "Slice": _slice,
    "Gather": lambda _, data, indices: (
        data[indices.astype(int)] if indices.ndim else np.asarray(data[int(indices)], object)
    ),
    "Concat": lambda _, *parts: np.concatenate([part.reshape(-1) for part in parts]),
    "Squeeze": lambda _, data, *axes: data.reshape(()) if data.size == 1 else data,
    "Unsqueeze": lambda _, data, axes: data.reshape(-1),
    "Reshape": _reshape,
    "Cast": lambda _, data: data,
    "Identity": lambda _, data: data,
    "Mul": lambda _, a, b: np.asarray(a * b, object),
}


def _fold_reshapes(graph: Graph, sizes: Dict[str, np.ndarray]) -> None:
    """Write the target of each Reshape as a constant: 0 keeps a free size, -1 is what remains."""
    for node in graph.nodes:
        if node.op_type != "Reshape" or node.input[0] not in graph.shapes or attributes(node).get("allowzero"):
            continue
        target = sizes.get(node.input[1], graph.constants.get(node.input[1]))
        if target is None:
            continue
        written = _target(graph.shapes[node.input[0]], list(target))
        if written is not None and not np.array_equal(graph.constants.get(node.input[1]), written):
            node.input[1] = graph.constant(np.asarray(written, np.int64), "shape")


def _target(shape: Tuple[Dim, ...], target: List[Any]) -> Optional[List[int]]:
    """A Reshape's target in constants, for an input of this shape; None if it needs a size that is free."""
    remaining = _remaining(shape, target)
    written = []
    for axis, n in enumerate(target):
        size = remaining if not isinstance(n, Size) and n == -1 else n
        if isinstance(size, Size):
            written.append(0 if axis < len(shape) and shape[axis] == size else -1)
        else:
            written.append(-1 if size is None else int(size))
    return written if written.count(-1) <= 1 else None


def _remaining(shape: Tuple[Dim, ...], target: List[Any]) -> Optional[Dim]:
    """The size that -1 stands for, if it can be told."""
    total = _product(shape)
    known = _product([shape[axis] if n == 0 else n for axis, n in enumerate(target) if isinstance(n, Size) or n != -1])
    if total is None or known is None:
        return None
    if isinstance(known, Size):
        same = isinstance(total, Size) and total.symbol == known.symbol and total.factor % known.factor == 0
        return total.factor // known.factor if same else None
    if isinstance(total, Size):
        return Size(total.symbol, total.factor // known) if total.factor % known == 0 else None
    return total // known if known else None


def _product(sizes: Sequence[Dim]) -> Optional[Dim]:
    """None for a product of two free sizes."""
    product: Any = 1
    for size in sizes:
        if isinstance(size, Size) and isinstance(product, Size):
            return None
        product = product * size if isinstance(size, Size) else product * int(size)
    return product


def _fold_resizes(graph: Graph, sizes: Dict[str, np.ndarray]) -> None:
    """Give a Resize that leaves a free batch alone its scales instead of its sizes, which have to be computed."""
    for node in graph.nodes:
        if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3]:
            continue
        before = graph.shapes.get(node.input[0])
        after = sizes.get(node.input[3], graph.constants.get(node.input[3]))
        if before is None or after is None or len(after) != len(before):
            continue
        scales = [_scale(a, b) for a, b in zip(before, after)]
        if None not in scales:
            node.input[2] = graph.constant(np.asarray(scales, np.float32), "scales")
            del node.input[3]


def _scale(before: Dim, after: Dim) -> Optional[float]:
    """The scale that turns a size into another; None if there is none, or no float that gives exactly this size."""
    if isinstance(before, Size) or isinstance(after, Size):
        return 1.0 if before == after else None
    scale = np.float32(after / before)
    if float(scale) * before < after:
        scale = np.nextafter(scale, np.float32(np.inf))
    # Runtimes multiply in either precision.
    exact = {int(float(scale) * before), int(scale * np.float32(before))} == {after}
    return float(scale) if exact else None


# --- What computes nothing, or the same again


def remove_identities(graph: Graph) -> None:
    """Remove nodes that return their input: Identity, Dropout, and casts, reshapes and so on that change nothing."""
    outputs, fixed = graph.output_names(), {value.name for value in graph.inputs} | set(graph.constants)
    producers, names, kept, renamed = graph.producers(), {}, [], {}
    for node in graph.nodes:
        source, target = (node.input[0] if node.input else ""), node.output[0]
        while source in names:
            source = names[source]
        if not _is_identity(graph, node):
            kept.append(node)
        elif target not in outputs:
            names[target] = source
        elif source in fixed or source in outputs or source in renamed or source not in producers:
            kept.append(node)
        else:  # the source takes the output's name
            renamed[source] = target
    graph.nodes = kept
    graph.rename({**names, **renamed})
    for node in graph.nodes:
        for k, name in enumerate(node.output):
            node.output[k] = renamed.get(name, name)


def _is_identity(graph: Graph, node: NodeProto) -> bool:
    source = node.input[0] if node.input else ""
    shape = graph.shapes.get(source)
    if node.op_type == "Identity":
        return True
    if node.op_type == "Cast":
        return graph.types.get(source) == attributes(node)["to"]
    if node.op_type in ("Reshape", "Expand"):
        return shape is not None and shape == graph.shapes.get(node.output[0])
    if node.op_type == "Transpose":
        perm = attributes(node).get("perm")
        return perm is not None and list(perm) == sorted(perm)
    neutral = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}.get(node.op_type)
    value = graph.constants.get(node.input[1]) if neutral is not None else None
    return value is not None and value.size == 1 and value.flat[0] == neutral and value.ndim <= len(shape or ())


def remove_dead(graph: Graph) -> None:
    """Remove nodes and constants that nothing reads."""
    needed = graph.output_names()
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    graph.nodes = kept[::-1]
    graph.constants = {name: value for name, value in graph.constants.items() if name in needed}


def merge_duplicates(graph: Graph) -> None:
    """Keep one of several equal small constants, and one of several nodes that compute the same."""
    first: Dict[Any, str] = {}
    names: Dict[str, str] = {}
    for name, value in graph.constants.items():
        if value.size <= LARGE and name not in graph.output_names():
            kept = first.setdefault((value.dtype.str, value.shape, value.tobytes()), name)
            if kept != name:
                names[name] = kept
    outputs, kept_nodes = graph.output_names(), []
    seen: Dict[Any, NodeProto] = {}
    for node in graph.nodes:
        for k, name in enumerate(node.input):
            node.input[k] = names.get(name, name)
        settings = tuple(sorted(attribute.SerializeToString() for attribute in node.attribute))
        key = (node.domain, node.op_type, tuple(node.input), settings, len(node.output))
        same = seen.setdefault(key, node)
        if same is node or outputs.intersection(node.output) or node.op_type in RANDOM:
            kept_nodes.append(node)
        else:
            names.update(zip(node.output, same.output))
    graph.nodes = kept_nodes


# --- Fusing


def fuse_biases(graph: Graph) -> None:
    """Make a constant that is added to all pixels of a convolution's channel its bias."""
    consumers, outputs, producers = graph.consumers(), graph.output_names(), graph.producers()
    for node in list(graph.nodes):
        if node.op_type != "Add":
            continue
        for source, bias in (tuple(node.input), tuple(node.input)[::-1]):
            conv = producers.get(source)
            if conv is None or conv.op_type != "Conv" or not _only_reader(source, consumers, outputs):
                continue
            if bias not in graph.constants or not graph.is_constant(conv.input[1]):
                continue
            channels = graph.constants[conv.input[1]].shape[0]
            if graph.constants[bias].shape not in ((1, channels, 1, 1), (channels, 1, 1)):
                continue
            value = graph.constants[bias].reshape(channels)
            if len(conv.input) > 2 and conv.input[2]:
                value = value + graph.constants[conv.input[2]]
            _set_bias(graph, conv, value)
            graph.remove([node])
            conv.output[0] = node.output[0]
            producers[node.output[0]] = conv
            break


def fuse_batch_norms(graph: Graph) -> None:
    """Multiply batch normalisation into the weights of the convolution before it, or of several that are added up."""
    consumers, outputs, producers = graph.consumers(), graph.output_names(), graph.producers()

    def summed(name: str) -> List[NodeProto]:
        """The convolutions whose sum ``name`` is, some of them resized; none if it is more than that."""
        node = producers.get(name)
        if node is None or not _only_reader(name, consumers, outputs):
            return []
        if node.op_type == "Conv":
            return [node] if all(map(graph.is_constant, node.input[1:])) else []
        if node.op_type == "Resize":
            return summed(node.input[0]) if attributes(node).get("mode") == b"linear" else []
        if node.op_type != "Add" or node.input[0] == node.input[1]:
            return []
        first, second = map(summed, node.input)
        return first + second if first and second else []

    for node in list(graph.nodes):
        if node.op_type != "BatchNormalization" or not all(map(graph.is_constant, node.input[1:])):
            continue
        convolutions = summed(node.input[0])
        if not convolutions:
            continue
        factor, shift = batch_norm_line(graph, node)
        for conv in convolutions:
            _multiply(graph, conv, factor, shift)
            shift = np.zeros_like(shift)  # in one of them; a resize leaves it as it is
        last = producers[node.input[0]]
        graph.remove([node])
        last.output[0] = node.output[0]
        producers[node.output[0]] = last


def _multiply(graph: Graph, conv: NodeProto, factor: np.ndarray, shift: np.ndarray) -> None:
    """Let a convolution give ``factor * y + shift`` instead of y; one value a channel."""
    weight = graph.constants[conv.input[1]]
    bias = graph.constants[conv.input[2]] if len(conv.input) > 2 and conv.input[2] else 0.0
    scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    conv.input[1] = graph.constant(scaled.astype(weight.dtype), conv.input[1])
    _set_bias(graph, conv, (bias * factor + shift).astype(weight.dtype))


def fuse_scales(graph: Graph) -> None:
    """Multiply a constant factor, or one for each channel, into the convolution or linear layer before it."""
    consumers, outputs, producers = graph.consumers(), graph.output_names(), graph.producers()
    for node in list(graph.nodes):
        factor = graph.constants.get(node.input[1]) if node.op_type == "Mul" else None
        last = producers.get(node.input[0])
        if factor is None or last is None or not _only_reader(node.input[0], consumers, outputs):
            continue
        if factor.ndim > len(graph.shapes.get(node.input[0], ())):
            continue
        if last.op_type == "Conv" and all(map(graph.is_constant, last.input[1:])):
            channels = len(graph.constants[last.input[1]])
            if factor.size != 1 and factor.shape not in ((1, channels, 1, 1), (channels, 1, 1)):
                continue
            factors = np.broadcast_to(factor.astype(np.float64).reshape(-1), channels)
            _multiply(graph, last, factors, np.zeros(channels))
        elif not _scale_linear(graph, last, factor, consumers, outputs):
            continue
        graph.remove([node])
        last.output[0] = node.output[0]
        producers[node.output[0]] = last


def _scale_linear(
    graph: Graph, last: NodeProto, factor: np.ndarray, consumers: Dict[str, List[NodeProto]], outputs: Set[str]
) -> bool:
    """Multiply ``factor`` into a product with constant weights, and into the bias that ``last`` adds to it, if it does.

    Returns:
        Whether ``last`` is such a product or sum.
    """
    product = graph.producers().get(last.input[0]) if last.op_type == "Add" else last
    if product is None or product.op_type != "MatMul" or product.input[1] not in graph.constants:
        return False
    if factor.size != 1 and factor.shape != graph.constants[product.input[1]].shape[-1:]:
        return False
    if product is not last:
        if last.input[1] not in graph.constants or not _only_reader(last.input[0], consumers, outputs):
            return False
        last.input[1] = _scaled(graph, last.input[1], factor)
    product.input[1] = _scaled(graph, product.input[1], factor)
    return True


def _scaled(graph: Graph, name: str, factor: np.ndarray) -> str:
    value = graph.constants[name]
    return graph.constant((value * factor.reshape(-1)).astype(value.dtype), name)


def batch_norm_line(graph: Graph, node: NodeProto) -> Tuple[np.ndarray, np.ndarray]:
    """Batch normalisation as ``x * factor + shift``: both in float64, one value a channel."""
    scale, bias, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:])
    factor = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
    return factor, bias - mean * factor


def _set_bias(graph: Graph, conv: NodeProto, value: np.ndarray) -> None:
    name = graph.constant(value, "bias")
    inputs = [conv.input[0], conv.input[1], name]
    del conv.input[:]
    conv.input.extend(inputs)


def _only_reader(name: str, consumers: Dict[str, List[NodeProto]], outputs: Set[str]) -> bool:
    return len(consumers[name]) == 1 and name not in outputs


def fuse_reshapes(graph: Graph) -> None:
    """Skip the first of two reshapes in a row, and make one transposition of two."""
    producers = graph.producers()
    for node in graph.nodes:
        before = producers.get(node.input[0]) if node.input else None
        if before is None or before.op_type != node.op_type:
            continue
        if node.op_type == "Transpose":
            first, second = (attributes(n).get("perm") for n in (before, node))
            if first is None or second is None:
                continue
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("perm", [first[axis] for axis in second]))
            node.input[0] = before.input[0]
        elif node.op_type == "Reshape" and node.input[1] in graph.constants and before.input[0] in graph.shapes:
            shape, target = graph.shapes[before.input[0]], graph.shapes.get(node.output[0])
            written = _target(shape, list(target)) if target is not None else None
            if written is not None:
                node.input[0] = before.input[0]
                node.input[1] = graph.constant(np.asarray(written, np.int64), "shape")


STEPS: Sequence[Callable[[Graph], None]] = (
    fold_constants,
    remove_identities,
    fuse_biases,
    fuse_batch_norms,
    fuse_scales,
    fuse_reshapes,
    merge_duplicates,
    remove_dead,
)
