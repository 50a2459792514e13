"""A graph in half precision: casts where precision changes and nowhere else."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")

from onnx import TensorProto  # noqa: E402
from onnx_models import model, operators  # noqa: E402

from paddle_rtseg.export.onnx_graph import Graph  # noqa: E402
from paddle_rtseg.export.onnx_half import cast_count, to_half  # noqa: E402

RNG = np.random.default_rng(1)
CONV = ("Conv", ["x", "w"], ["c"], {"kernel_shape": [1, 1]})
WEIGHT = RNG.standard_normal((4, 4, 1, 1)).astype(np.float32)


def halved(nodes, constants, output=TensorProto.FLOAT, **options):
    """The graph in half precision, after its output has been compared with the original's."""
    original = model(nodes, constants, output=output)
    graph = Graph(original)
    to_half(graph, **options)
    made = graph.model()
    onnx.checker.check_model(made, full_check=True)
    x = RNG.standard_normal((2, 4, 6, 8)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0] for m in (original, made)
    )
    assert after.dtype == before.dtype
    np.testing.assert_allclose(after, before, rtol=1e-2, atol=1e-2)
    return graph


def types(graph):
    return {node.op_type: graph.types[node.output[0]] for node in graph.nodes}


def test_one_cast_in_and_one_out():
    nodes = [CONV, ("Relu", ["c"], ["r"], {}), ("Conv", ["r", "w"], ["y"], {"kernel_shape": [1, 1]})]
    graph = halved(nodes, {"w": WEIGHT})
    assert operators(graph) == ["Cast", "Cast", "Conv", "Conv", "Relu"] and cast_count(graph) == (1, 1)
    assert types(graph)["Conv"] == TensorProto.FLOAT16
    assert [value.dtype for value in graph.constants.values()] == [np.float16]


def test_chosen_operators_stay_in_single_precision():
    nodes = [CONV, ("Resize", ["c", "", "scales"], ["r"], {"mode": "linear"}), ("Relu", ["r"], ["y"], {})]
    constants = {"w": WEIGHT, "scales": np.float32([1, 1, 2, 2])}
    assert types(halved(nodes, constants))["Resize"] == TensorProto.FLOAT16
    assert types(halved(nodes, constants, fp32_ops=("Resize",)))["Resize"] == TensorProto.FLOAT


def test_image_is_normalised_in_single_precision():
    nodes = [("Mul", ["x", "factor"], ["m"], {}), ("Conv", ["m", "w"], ["y"], {"kernel_shape": [1, 1]})]
    graph = halved(nodes, {"w": WEIGHT, "factor": np.float32(1 / 255)})
    assert types(graph)["Mul"] == TensorProto.FLOAT and types(graph)["Conv"] == TensorProto.FLOAT16


def test_what_is_ranked_stays_in_single_precision():
    """The normalised rows and their product, but not the layer that they come from."""
    nodes = [
        CONV,
        ("Mul", ["c", "c"], ["square"], {}),
        ("Transpose", ["c"], ["t"], {"perm": [0, 1, 3, 2]}),
        ("MatMul", ["square", "t"], ["similarity"], {}),
        ("TopK", ["similarity", "k"], ["values", "indices"], {}),
        ("Cast", ["indices"], ["y"], {"to": TensorProto.INT32}),
    ]
    constants = {"w": WEIGHT, "k": np.int64([1])}
    single = types(Graph(model(nodes, constants, output=TensorProto.INT32)))
    assert set(single.values()) & {TensorProto.FLOAT16} == set()
    original = Graph(model(nodes, constants, output=TensorProto.INT32))
    to_half(original)
    kept = types(original)
    assert {kept[name] for name in ("Mul", "Transpose", "MatMul", "TopK")} == {TensorProto.FLOAT}
    assert kept["Conv"] == TensorProto.FLOAT16
    everything = Graph(model(nodes, constants, output=TensorProto.INT32))
    to_half(everything, keep_matching=False)
    assert types(everything)["MatMul"] == TensorProto.FLOAT16


def test_integers_are_counted_in_single_precision():
    """4097 has no half-precision number; paddle2onnx computes with integers in float32."""
    nodes = [
        CONV,
        ("Cast", ["number"], ["f"], {"to": TensorProto.FLOAT}),
        ("ReduceSum", ["c"], ["sum"], {"keepdims": 0}),
        ("Mul", ["sum", "zero"], ["nothing"], {}),
        ("Add", ["f", "nothing"], ["added"], {}),
        ("Cast", ["added"], ["y"], {"to": TensorProto.INT32}),
    ]
    constants = {"w": WEIGHT, "number": np.int64(4097), "zero": np.float32(0)}
    graph = halved(nodes, constants, output=TensorProto.INT32)
    assert types(graph)["Add"] == TensorProto.FLOAT


def test_numbers_beyond_half_precision_stay():
    nodes = [CONV, ("Add", ["c", "tiny"], ["a"], {}), ("Relu", ["a"], ["y"], {})]
    graph = halved(nodes, {"w": WEIGHT, "tiny": np.float32(1e-12)})
    assert types(graph)["Add"] == TensorProto.FLOAT and types(graph)["Conv"] == TensorProto.FLOAT16


def test_large_variances_do_not_overflow():
    nodes = [CONV, ("Relu", ["c"], ["r"], {}), ("BatchNormalization", ["r", "s", "b", "m", "v"], ["y"], {})]
    constants = {name: np.full(4, value, np.float32) for name, value in {"s": 800, "b": 1, "m": 2, "v": 9e5}.items()}
    graph = halved(nodes, {**constants, "w": WEIGHT})
    assert types(graph)["BatchNormalization"] == TensorProto.FLOAT16
