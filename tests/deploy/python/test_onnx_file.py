"""ONNX files that refer to other files are refused."""

import re

import pytest
from onnx_references import PIECES
from rtseg_inference import InputError
from rtseg_inference.onnx_file import check_self_contained


@pytest.mark.parametrize("name", PIECES)
def test_pieces(name, tmp_path):
    data, refers = PIECES[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    if not refers:
        check_self_contained(str(path))
        return
    with pytest.raises(InputError, match=re.escape(f"expected {path} to hold all tensors itself, got one that names")):
        check_self_contained(str(path))


@pytest.mark.parametrize("of_node", [False, True])
def test_tensors_with_their_data_elsewhere(of_node, tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights")
    node = onnx.helper.make_node("Constant", [], ["y"], value=tensor)
    nodes, tensors = ([node], []) if of_node else ([], [tensor])
    made = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], tensors))
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(InputError, match="to hold all tensors itself"):
        check_self_contained(str(tmp_path / "model.onnx"))
