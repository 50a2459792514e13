"""Every node of an exported graph has a kernel in ONNX Runtime's CUDA provider."""

import os

import numpy as np
import pytest
from comparing import zip_strict
from tiny_models import CASES, create
from tiny_network import PREPROCESSING

from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.export.onnx import obstacle

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")

from onnx import TensorProto  # noqa: E402
from onnx_models import model  # noqa: E402

from paddle_rtseg.export.cuda_kernels import kernels, nodes_without_kernel  # noqa: E402
from paddle_rtseg.export.onnx_graph import Graph  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_node_of_every_model(case, tmp_path):
    """Merging by matching stands for hq and fast, whose nodes are among its own."""
    network = create(case)
    network.eval()
    export_model(network, str(tmp_path), PREPROCESSING, (-1, 3, 128, 128), "argmax", precision="fp16")
    for name in ("model.onnx", "model_fp16.onnx"):
        assert nodes_without_kernel(Graph(onnx.load(os.path.join(tmp_path, name)))) == []


def test_node_on_the_processor_is_named():
    """ArgMax of integers and sizes that are read while the network runs; the float operators have kernels."""
    nodes = [
        ("Cast", ["x"], ["i"], {"to": TensorProto.INT32}),
        ("ArgMax", ["i"], ["best"], {"axis": 1}),
        ("Shape", ["x"], ["s"], {}),
        ("Gather", ["s", "zero"], ["n"], {}),
        ("Mul", ["best", "n"], ["y"], {}),
    ]
    found = nodes_without_kernel(Graph(model(nodes, {"zero": np.int64([0])}, output=TensorProto.INT64)))
    assert [line.split(": ")[1] for line in found] == ["ArgMax(int32)", "Shape(float)"]


def test_unknown_operator_is_named():
    found = nodes_without_kernel(Graph(model([("Det", ["x"], ["y"], {})], {}, shape=("n", 4, 6, 6))))
    assert [line.split(": ")[1] for line in found] == ["Det(float)"]


def test_ranges_of_versions_do_not_overlap():
    for ranges in kernels().values():
        ends = [0, *[kernel["until"] for kernel in ranges[:-1]]]
        assert all(kernel["since"] > end for kernel, end in zip_strict(ranges, ends))
