"""A simplified graph has fewer nodes and computes the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")

from onnx import TensorProto  # noqa: E402
from onnx_models import model, operators  # noqa: E402

from paddle_rtseg.export.onnx_graph import Graph, _scale, simplify  # noqa: E402

RNG = np.random.default_rng(0)


def simplified(original, sizes=((2, 4, 6, 8), (3, 4, 6, 8))):
    """The simplified graph, after its outputs have been compared with the original's."""
    graph = Graph(original)
    simplify(graph, ("batch",))
    made = graph.model()
    onnx.checker.check_model(made, full_check=True)
    for size in sizes:
        x = RNG.standard_normal(size).astype(np.float32)
        before, after = (
            onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0] for m in (original, made)
        )
        np.testing.assert_allclose(after, before, atol=1e-5)
    return graph


def test_sizes_with_a_free_batch_become_constants():
    """(N, 4, 6, 8) -> (N, 48, 4), with the batch and the number of pixels read from the input's shape."""
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [0, 2, 3, 1]}),
        ("Shape", ["t"], ["s"], {}),
        ("Slice", ["s", "zero", "one"], ["first"], {}),
        ("Slice", ["s", "three", "four"], ["last"], {}),
        ("Concat", ["first", "minus", "last"], ["target"], {"axis": 0}),
        ("Reshape", ["t", "target"], ["y"], {}),
    ]
    numbers = {"zero": [0], "one": [1], "three": [3], "four": [4], "minus": [-1]}
    graph = simplified(model(nodes, {name: np.array(value, np.int64) for name, value in numbers.items()}))
    assert operators(graph) == ["Reshape", "Transpose"]
    assert graph.constants[graph.nodes[-1].input[1]].tolist() == [0, 48, 4]


def test_heads_folded_into_a_free_batch():
    """(N, 4, 6, 8) -> (2 N, 2, 48): -1 stands for what is no size of the input."""
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Gather", ["s", "zero"], ["n"], {}),
        ("Mul", ["n", "two"], ["twice"], {}),
        ("Unsqueeze", ["twice", "axis"], ["batch"], {}),
        ("Concat", ["batch", "rest"], ["target"], {"axis": 0}),
        ("Reshape", ["x", "target"], ["y"], {}),
    ]
    constants = {"zero": np.int64(0), "two": np.int64(2), "axis": np.int64([0]), "rest": np.int64([2, 48])}
    graph = simplified(model(nodes, constants))
    assert operators(graph) == ["Reshape"]
    assert graph.constants[graph.nodes[0].input[1]].tolist() == [-1, 2, 48]


def test_two_free_sizes_stay():
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Slice", ["s", "two", "four"], ["last"], {}),
        ("Concat", ["last", "minus"], ["target"], {"axis": 0}),
        ("Reshape", ["x", "target"], ["y"], {}),
    ]
    numbers = {"two": [2], "four": [4], "minus": [-1]}
    original = model(nodes, {name: np.array(v, np.int64) for name, v in numbers.items()}, ("n", 4, "h", "w"))
    assert "Shape" in operators(simplified(original, [(2, 4, 6, 8), (1, 4, 5, 3)]))


def test_resize_needs_no_batch():
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Slice", ["s", "zero", "two"], ["first"], {}),
        ("Concat", ["first", "size"], ["target"], {"axis": 0}),
        (
            "Resize",
            ["x", "", "", "target"],
            ["y"],
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        ),
    ]
    constants = {"zero": np.int64([0]), "two": np.int64([2]), "size": np.int64([13, 17])}
    graph = simplified(model(nodes, constants))
    assert operators(graph) == ["Resize"] and len(graph.nodes[0].input) == 3


@pytest.mark.parametrize(("before", "after"), [(68, 135), (34, 135), (135, 68), (90, 180), (3, 7)])
def test_resize_gives_exactly_the_size(before, after):
    """The scale is a float32, and the product with the size before is rounded down."""
    scale = _scale(before, after)
    assert int(np.float32(scale) * np.float32(before)) == int(float(np.float32(scale)) * before) == after


def test_batch_norm_and_bias_join_the_convolution():
    nodes = [
        ("Conv", ["x", "w"], ["c"], {"kernel_shape": [3, 3]}),
        ("Reshape", ["b", "column"], ["bias"], {}),
        ("Add", ["c", "bias"], ["a"], {}),
        ("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["n"], {"epsilon": 1e-3}),
        ("Relu", ["n"], ["y"], {}),
    ]
    constants = {name: RNG.standard_normal(5).astype(np.float32) for name in ("b", "scale", "shift", "mean")}
    constants.update(
        w=RNG.standard_normal((5, 4, 3, 3)).astype(np.float32),
        var=RNG.uniform(0.5, 2, 5).astype(np.float32),
        column=np.int64([1, 5, 1, 1]),
    )
    assert operators(simplified(model(nodes, constants))) == ["Conv", "Relu"]


def sum_of_convolutions(added=("r", "c")):
    """(N, 4, 6, 8) -> a normalised sum of a convolution and of one at half the size, enlarged."""
    nodes = [
        ("Conv", ["x", "w"], ["c"], {"kernel_shape": [1, 1]}),
        ("Conv", ["x", "v"], ["h"], {"kernel_shape": [1, 1], "strides": [2, 2]}),
        ("Resize", ["h", "", "scales"], ["r"], {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
        ("Add", list(added), ["a"], {}),
        ("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["n"], {}),
        ("Relu", ["n"], ["y"], {}),
    ]
    constants = {name: RNG.standard_normal(5).astype(np.float32) for name in ("scale", "shift", "mean")}
    constants.update({name: RNG.standard_normal((5, 4, 1, 1)).astype(np.float32) for name in ("w", "v")})
    constants.update(var=RNG.uniform(0.5, 2, 5).astype(np.float32), scales=np.float32([1, 1, 2, 2]))
    return nodes, constants


def test_batch_norm_joins_the_convolutions_of_a_sum():
    nodes, constants = sum_of_convolutions()
    assert operators(simplified(model(nodes, constants))) == ["Add", "Conv", "Conv", "Relu", "Resize"]


@pytest.mark.parametrize("added", [("r", "x5"), ("r", "r")])
def test_batch_norm_of_another_sum_stays(added):
    nodes, constants = sum_of_convolutions(added)
    nodes.insert(0, ("Concat", ["x", "first"], ["x5"], {"axis": 1}))
    nodes.insert(0, ("Slice", ["x", "zero", "one", "one"], ["first"], {}))
    constants.update(zero=np.int64([0]), one=np.int64([1]))
    assert "BatchNormalization" in operators(simplified(model(nodes, constants)))


def test_sum_that_another_node_reads_is_not_fused():
    nodes = [
        ("Conv", ["x", "w"], ["c"], {"kernel_shape": [1, 1]}),
        ("Add", ["c", "b"], ["a"], {}),
        ("Mul", ["a", "c"], ["y"], {}),
    ]
    constants = {
        "w": RNG.standard_normal((4, 4, 1, 1)).astype(np.float32),
        "b": RNG.standard_normal((1, 4, 1, 1)).astype(np.float32),
    }
    assert operators(simplified(model(nodes, constants))) == ["Add", "Conv", "Mul"]


FACTORS = {"one": np.float32([0.25]), "scalar": np.float32(0.25), "channels": np.float32([1, -2, 0.5, 3, 0])}


@pytest.mark.parametrize("factor", FACTORS.values(), ids=FACTORS)
@pytest.mark.parametrize("bias", [True, False])
def test_scale_joins_the_linear_layer(factor, bias):
    nodes = [
        ("MatMul", ["x", "w"], ["m"], {}),
        *([("Add", ["m", "b"], ["a"], {})] if bias else []),
        ("Mul", ["a" if bias else "m", "factor"], ["y"], {}),
    ]
    constants = {
        "w": RNG.standard_normal((8, 5)).astype(np.float32),
        "b": RNG.standard_normal(5).astype(np.float32),
        "factor": factor,
    }
    assert "Mul" not in operators(simplified(model(nodes, constants)))


@pytest.mark.parametrize("factor", [f.reshape(-1, 1, 1) for f in FACTORS.values()], ids=FACTORS)
@pytest.mark.parametrize("bias", [True, False])
def test_scale_joins_the_convolution(factor, bias):
    nodes = [("Conv", ["x", "w", *(["b"] if bias else [])], ["c"], {}), ("Mul", ["c", "factor"], ["y"], {})]
    constants = {
        "w": RNG.standard_normal((5, 4, 3, 3)).astype(np.float32),
        "b": RNG.standard_normal(5).astype(np.float32),
        "factor": factor,
    }
    assert operators(simplified(model(nodes, constants))) == ["Conv"]


@pytest.mark.parametrize("shape", [(6, 1), (6, 8), (4, 6, 8), (1, 1, 1, 1, 1)])
def test_scale_of_rows_or_pixels_stays(shape):
    factor = RNG.standard_normal(shape).astype(np.float32)
    for layer, shape in (("Conv", (4, 4, 1, 1)), ("MatMul", (8, 8))):
        constants = {"w": RNG.standard_normal(shape).astype(np.float32), "factor": factor}
        nodes = [(layer, ["x", "w"], ["m"], {}), ("Mul", ["m", "factor"], ["y"], {})]
        assert "Mul" in operators(simplified(model(nodes, constants)))


def test_what_computes_nothing_is_removed():
    nodes = [
        ("Identity", ["x"], ["i"], {}),
        ("Mul", ["i", "one"], ["m"], {}),
        ("Transpose", ["m"], ["t"], {"perm": [0, 3, 1, 2]}),
        ("Transpose", ["t"], ["back"], {"perm": [0, 2, 3, 1]}),
        ("Cast", ["back"], ["c"], {"to": TensorProto.FLOAT}),
        ("Relu", ["c"], ["r"], {}),
        ("Relu", ["x"], ["again"], {}),
        ("Add", ["r", "again"], ["sum"], {}),
        ("Exp", ["x"], ["unread"], {}),
        ("Identity", ["sum"], ["y"], {}),
    ]
    graph = simplified(model(nodes, {"one": np.float32(1)}))
    assert operators(graph) == ["Add", "Relu"]
    assert graph.nodes[-1].output[0] == "y"


def test_addition_that_changes_the_shape_stays():
    original = model([("Add", ["x", "zero"], ["y"], {})], {"zero": np.zeros((1, 1, 1, 1, 1), np.float32)})
    assert operators(simplified(original)) == ["Add"]


def test_names_are_new_in_a_graph_that_was_edited_before():
    first = Graph(model([("Relu", ["x"], ["y"], {})], {}))
    name = first.constant(np.float32(1), "one")
    first.nodes.append(onnx.helper.make_node("Add", ["x", name], ["z"]))
    assert Graph(first.model()).constant(np.float32(2), "one") != name
