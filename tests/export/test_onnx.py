"""ONNX is kept only if it computes the same as Paddle."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from rtseg_inference import Predictor
from tiny_models import TINY_LRFORMER, TINY_MIT
from tiny_network import PREPROCESSING, Tiny, tiny

from paddle_rtseg import create_model
from paddle_rtseg.errors import InputError
from paddle_rtseg.export import from_release
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.export.onnx import obstacle
from paddle_rtseg.weights import released

needs_converter = pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))


def run(folder, name, batch):
    import onnxruntime

    return onnxruntime.InferenceSession(os.path.join(folder, name)).run(None, {"x": batch})[0]


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_export_is_imported_without_the_packages_of_onnx():
    missing = "sys.modules.update(dict.fromkeys(('onnx', 'onnxruntime', 'paddle2onnx', 'ml_dtypes')))"
    script = f"import sys; {missing}; import paddle_rtseg.export.from_config"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@needs_converter
@pytest.mark.parametrize("output_op", ["argmax", "logits"])
def test_written_by_default_with_the_output_of_paddle(output_op, exported):
    predictor = Predictor(exported[output_op])
    assert predictor.contract.onnx == "model.onnx" and "model.onnx" in predictor.contract.sha256
    batch = np.random.RandomState(0).rand(2, 3, 64, 80).astype(np.float32)
    found = run(exported[output_op], "model.onnx", batch)
    np.testing.assert_allclose(found, predictor.runtime.run(batch), atol=1e-4)


@pytest.mark.parametrize("form", ["pdmodel"] if paddle.__version__.startswith("2.") else ["json", "pdmodel"])
def test_not_written_with_another_format(form, model, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, format=form)
    assert Predictor(folder).contract.onnx is None
    assert not [name for name in os.listdir(folder) if name.endswith(".onnx")]


@needs_converter
@pytest.mark.parametrize("raw", [False, True])
def test_half_precision(raw, model, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, output_op="logits", raw_input=raw, precision="fp16")
    predictor = Predictor(folder, backend="native")
    assert predictor.contract.onnx_fp16 == "model_fp16.onnx" and "model_fp16.onnx" in predictor.contract.sha256
    pixels = np.random.RandomState(0).randint(0, 256, (2, 64, 80, 3)).astype(np.uint8)
    batch = predictor.preprocess(list(pixels))
    found, expected = run(folder, "model_fp16.onnx", batch), predictor.runtime.run(batch)
    assert found.dtype == np.float32
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-6 < error < 5e-3  # not float32 under another name
    sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in ("model.onnx", "model_fp16.onnx")}
    assert sizes["model_fp16.onnx"] < 0.8 * sizes["model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "fp16", "format": "json"}, "--format onnx with --precision fp16"),
        ({"precision": "fp16", "onnx": "no"}, "--format onnx with --precision fp16"),
        ({"precision": "int4"}, "int4"),
        ({"onnx": "maybe"}, "maybe"),
    ],
)
def test_bad_arguments(arguments, message, model, tmp_path):
    if paddle.__version__.startswith("2.") and arguments.get("format") == "json":
        arguments = {**arguments, "format": "pdmodel"}
    with pytest.raises(InputError, match=message):
        export_model(model, str(tmp_path / "model"), PREPROCESSING, **arguments)
    assert not (tmp_path / "model").exists()


class UnevenPooling(Tiny):
    """Pools to a size that does not divide the input's, which paddle2onnx 2.1 silently gets wrong."""

    def low_resolution_logits(self, x):
        x = self.body(x)
        return [self.head(F.interpolate(F.adaptive_avg_pool2d(x, [5, 7]), [32, 48], mode="bilinear"))]


def uneven():
    model = UnevenPooling()
    model.eval()
    return model


@needs_converter
def test_wrong_conversion_is_not_kept(tmp_path):
    with pytest.raises(InputError, match="converted the network wrongly"):
        export_model(uneven(), str(tmp_path), PREPROCESSING, [1, 3, 128, 192], "logits", format="onnx")
    assert os.listdir(tmp_path) == []


@needs_converter
def test_wrong_conversion_is_left_out_by_default(tmp_path, capfd):
    folder = export_model(uneven(), str(tmp_path), PREPROCESSING, [1, 3, 128, 192], "logits")
    printed = capfd.readouterr().out
    assert printed.startswith("without an ONNX form: ") and "converted the network wrongly" in printed
    assert printed.count("\n") == 1
    assert Predictor(folder).contract.onnx is None and "model.onnx" not in os.listdir(folder)


@needs_converter
def test_what_the_converter_aborts_on_is_named(tmp_path):
    """paddle2onnx ends its process where it finds an operator that it does not support."""
    with pytest.raises(InputError, match=r"paddle2onnx cannot convert UnevenPooling .*static input shape"):
        export_model(uneven(), str(tmp_path), PREPROCESSING, output_op="logits", format="onnx")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="Paddle 2 is named first")
@pytest.mark.parametrize("name", ["paddle2onnx", "onnxruntime", "onnx"])
def test_missing_package_is_named(name, model, tmp_path, monkeypatch, capfd):
    if importlib.util.find_spec("paddle2onnx") is None:
        name = "paddle2onnx"  # the first that is missing
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed; pip install \"paddle_rtseg\[onnx\]\""):
        export_model(model, str(tmp_path / "required"), PREPROCESSING, format="onnx")
    assert not (tmp_path / "required").exists()
    folder = export_model(model, str(tmp_path / "usual"), PREPROCESSING)
    assert f"without an ONNX form: ONNX needs paddle2onnx and onnxruntime, but {name}" in capfd.readouterr().out
    assert Predictor(folder).contract.onnx is None


@pytest.mark.skipif(not paddle.__version__.startswith("2."), reason="Paddle 3")
def test_paddle_2_is_named(model, tmp_path):
    with pytest.raises(InputError, match=r"ONNX needs Paddle 3, .* and this is Paddle 2\."):
        export_model(model, str(tmp_path / "model"), PREPROCESSING, format="onnx")


@needs_converter
def test_released_weights_have_both_forms(tmp_path, monkeypatch):
    """Paddle's old form for OpenVINO inside Paddle, ONNX for the other runtimes."""
    monkeypatch.setattr(from_release, "create_model", lambda *_, **__: tiny(num_classes=11))
    release = released.find("rtformer_slim_camvid")
    contract = Predictor(from_release._export(release, str(tmp_path / "model"))).contract
    assert (contract.model, contract.onnx) == ("model.pdmodel", "model.onnx")


@needs_converter
def test_matching_leaves_nothing_for_the_processor_to_compute(tmp_path):
    """Neither sizes nor offsets: a GPU runs such a graph without waiting, and can capture it."""
    import onnx

    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": "hq"}
    model = create_model("SegFormerPP", num_classes=5, head_channels=16, backbone=backbone)
    folder = export_model(
        model, str(tmp_path), PREPROCESSING, [-1, 3, 128, 192], "logits", format="onnx", precision="fp16"
    )
    predictor = Predictor(folder, backend="native")
    batch = np.random.RandomState(0).rand(2, 3, 128, 192).astype(np.float32)
    expected = predictor.runtime.run(batch)
    for name, tolerance in (("model.onnx", 1e-5), ("model_fp16.onnx", 1e-2)):
        operators = Counter(node.op_type for node in onnx.load(os.path.join(folder, name)).graph.node)
        assert not {"Shape", "Range", "OneHot", "Where"} & set(operators)
        assert (operators["ScatterElements"], operators["TopK"]) == (5, 5)  # once in each block
        assert operators["GatherND"] == 8  # once more, to unmerge, in the three blocks of stages 3 and 4
        error = np.linalg.norm(run(folder, name, batch) - expected) / np.linalg.norm(expected)
        assert error < tolerance


@pytest.mark.slow
@needs_converter
def test_blocks_that_share_a_matching_have_one_in_the_graph(tmp_path):
    import onnx

    merging = {"schedule": "hq", "match_every": 2, "proportional": True}
    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": merging}  # two blocks in stage 3, one in each other
    model = create_model("SegFormerPP", num_classes=5, head_channels=16, backbone=backbone)
    folder = export_model(model, str(tmp_path), PREPROCESSING, [-1, 3, 128, 192], "logits", format="onnx")
    predictor = Predictor(folder, backend="native")
    batch = np.random.RandomState(0).rand(2, 3, 128, 192).astype(np.float32)
    expected = predictor.runtime.run(batch)
    error = np.linalg.norm(run(folder, "model.onnx", batch) - expected) / np.linalg.norm(expected)
    assert error < 1e-5
    operators = Counter(node.op_type for node in onnx.load(os.path.join(folder, "model.onnx")).graph.node)
    assert (operators["ScatterElements"], operators["TopK"], operators["GatherND"]) == (4, 4, 8)
    assert not {"Shape", "Range", "OneHot", "Where", "Log"} & set(operators)


@pytest.mark.slow
@needs_converter
@pytest.mark.parametrize(
    ("name", "backbone", "format", "resizes"),
    [
        ("SegFormerPP", {"type": "MiT_B0", **TINY_MIT}, "json", 3),
        ("LRFormerSeg", {"type": "LRFormer_T", **TINY_LRFORMER, "depths": [1, 1, 1, 1]}, "pdmodel", 7),
    ],
)
def test_form_that_other_runtimes_are_fast_with(name, backbone, format, resizes, tmp_path):
    """Resizes are operators, shortcuts lie in the kernels of depthwise convolutions, tokens are what is normalised."""
    import onnx

    from paddle_rtseg.export.onnx_graph import Graph

    model = create_model(name, num_classes=5, head_channels=16, backbone=backbone)
    export_model(model, str(tmp_path), PREPROCESSING, [-1, 3, 64, 96], "logits", format=format, onnx="required")
    graph = Graph(onnx.load(str(tmp_path / "model.onnx")))
    assert graph.count()["Resize"] == resizes
    convolutions = {node.output[0]: node.input[0] for node in graph.nodes if node.op_type == "Conv"}
    sums = [node.input for node in graph.nodes if node.op_type == "Add"]
    assert not [tensors for tensors in sums if any(convolutions.get(tensor) in tensors for tensor in tensors)]
    normalised = [node.input[0] for node in graph.nodes if node.op_type == "LayerNormalization"]
    assert normalised and {len(graph.shapes[tensor]) for tensor in normalised} == {3}


@needs_converter
def test_batch_norm_in_half_precision_has_one_type(tmp_path):
    """CUDA has no kernel for statistics in another precision than the map."""
    import onnx
    from onnx import TensorProto

    model = create_model("RTFormer_Slim", num_classes=5)
    folder = export_model(model, str(tmp_path), PREPROCESSING, [1, 3, 64, 96], format="onnx", precision="fp16")
    graph = onnx.load(os.path.join(folder, "model_fp16.onnx")).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    norms = [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert norms
    assert {types[name] for node in norms for name in node.input[1:]} == {TensorProto.FLOAT16}
