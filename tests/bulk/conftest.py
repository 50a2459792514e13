"""The network of the bulk jobs, whose workers need not import Paddle."""

import pytest


@pytest.fixture(scope="session")
def network(model, tmp_path_factory):
    """The folder of the tiny network, with its ONNX form."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tiny_onnx import export_with_onnx

    return export_with_onnx(model, tmp_path_factory.mktemp("bulk") / "model")
