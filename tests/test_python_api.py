"""Public functions with values of the wrong type or range: one sentence; and paths as pathlib.Path everywhere."""

import pathlib

import numpy as np
import paddle
import pytest
from processes import python
from tiny_models import TINY_LRFORMER, TINY_MIT, TINY_RTFORMER

import paddle_rtseg
from paddle_rtseg.config import load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.export.preprocessing import Preprocessing
from paddle_rtseg.weights import convert, fetch, load_weights, read_state, save_state

ROOT = pathlib.Path(__file__).parents[1]
MIT = {"type": "MiT_B0", **TINY_MIT}
RESNET = {"type": "ResNet18_vd"}

#: Model, arguments that are right, and values of one argument that are not.
WRONG = [
    ("RTFormer_Slim", TINY_RTFORMER, "num_classes", [None, "x", 0, -1, 2.5, True, 2**40, []]),
    ("RTFormer_Slim", {"num_classes": 3}, "layer_nums", [3, [1], ["a", "b", "c"], [1, 1, -1], "abc"]),
    ("RTFormer_Slim", {"num_classes": 3}, "use_injection", [True, [True], [1, 0], None]),
    ("RTFormer_Slim", {"num_classes": 3}, "num_heads", [0, 3, "x", [8]]),
    ("RTFormer_Slim", {"num_classes": 3}, "drop_path_rate", [1, -0.1, "x", float("nan"), None]),
    ("RTFormer_Slim", {"num_classes": 3}, "pretrained", [3, [], pathlib.Path("/missing"), "/missing", b"x"]),
    ("SegFormerPP", {"num_classes": 3}, "backbone", [None, "MiT_B0", 3, {}, {"type": 3}, {"type": "MiT_B9"}]),
    ("SegFormerPP", {"num_classes": 3, "backbone": MIT}, "head_channels", [0, "x", None]),
    ("SegFormerPP", {"num_classes": 3, "backbone": MIT}, "dropout", [1.0, "x"]),
    ("SegFormerPP", {"num_classes": 3, "backbone": MIT}, "pretrained", [3, pathlib.Path("/missing")]),
    ("LRFormerSeg", {"num_classes": 3, "head_channels": 8}, "backbone", [None, "LRFormer_T", 3, {}]),
    ("MiT_B0", {}, "embed_dims", [3, [1, 2, 3], ["a"] * 4, "abcd"]),
    ("MiT_B0", {}, "token_merging", [3, "x", [1, 2], [{}] * 3, [{"mode": "x"}] * 4]),
    ("MiT_B0", {}, "input_scale", ["x", 0, 0.3, -1]),
    ("LRFormer_T", {}, "dims", [3, [1, 2, 3, 4], ["a"] * 4]),
    ("LRFormer_T", {}, "num_heads", [2, [0] * 4, [7] * 4, [1] * 3]),
    ("LRFormer_T", {}, "mlp_ratios", [2, [0] * 4, [1] * 3]),
    ("LRFormer_T", {}, "pre_norm", [3, [-1], "x"]),
]


@pytest.mark.parametrize("model, right, name, values", WRONG, ids=[f"{case[0]} {case[2]}" for case in WRONG])
def test_wrong_arguments_of_a_network(model, right, name, values):
    for value in values:
        with pytest.raises(InputError) as raised:
            paddle_rtseg.create_model(model, **{**right, name: value})
        assert len(str(raised.value)) < 400, value


@pytest.mark.parametrize("model", paddle_rtseg.list_models())
def test_missing_arguments_of_a_network(model):
    first = "num_keypoints" if model.endswith("Pose") else "num_classes"
    with pytest.raises(InputError, match=f"needs {first}, got none; pass {first}=1"):
        paddle_rtseg.create_model(model)


@pytest.mark.parametrize("name", [3, None, "", [], pathlib.Path("x"), "x" * 1000])
def test_wrong_name_of_a_network(name):
    with pytest.raises(InputError, match="expected the name of a registered component"):
        paddle_rtseg.create_model(name)


def network():
    return paddle_rtseg.create_model("RTFormer_Slim", num_classes=3, **TINY_RTFORMER)


def state():
    return {name: value.numpy() for name, value in network().state_dict().items()}


CALLS = {
    "load_weights": (lambda value: load_weights(network(), value), [3, None, [], b"x", {}, {"a": "x"}, {3: 1}]),
    "load_weights, network": (lambda value: load_weights(value, {}), [None, 3, "RTFormer_Slim"]),
    "load_weights, skip": (lambda value: load_weights(network(), state(), skip=value), [[3], "nothing"]),
    "read_state": (read_state, [3, None, [], b"x", "", pathlib.Path("/")]),
    "convert": (lambda value: convert(value, "segformer"), [3, None, [], {}, {"a": "b"}, {3: np.ones(2)}]),
    "convert, family": (lambda value: convert({"a": np.ones(2)}, value), [3, None, [], "resnet"]),
    "save_state": (lambda value: save_state(value, "x.safetensors"), [3, None, {"a": "b"}, {"a": object()}]),
    "save_state, path": (lambda value: save_state({"a": np.ones(2)}, value), [3, None, "x.txt", pathlib.Path("x")]),
    "fetch": (fetch, [3, None, "x", "ftp://x#sha256=" + "0" * 64, "http://[#sha256=" + "0" * 64]),
    "load_config": (load_config, [3, None, [], pathlib.Path("/missing")]),
    "export_model": (lambda value: export_model(value, "out", Preprocessing()), [None, 3, "RTFormer_Slim"]),
    "export_model, folder": (lambda value: export_model(network(), value, Preprocessing()), [None, 3, b"x"]),
    "export_model, preprocessing": (lambda value: export_model(network(), "out", value), [None, 3, {}]),
    **{
        f"export_model, {name}": (
            lambda value, name=name: export_model(network(), "out", Preprocessing(), **{name: value}),
            values,
        )
        for name, values in {
            "input_shape": [3, "abcd", [1, 3, "x", 4], [1, 3, 2.5, 64]],
            "output_op": [3, None, []],
            "format": [3, "x"],
            "golden_image": [3, pathlib.Path("/missing.png")],
            "transforms": [3, "x"],
            "dataset": [3, []],
        }.items()
    },
}


@pytest.mark.parametrize("call", CALLS)
def test_wrong_values(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, values = CALLS[call]
    for value in values:
        with pytest.raises(InputError) as raised:
            function(value)
        assert "\n" not in str(raised.value)


def test_paths(tmp_path):
    """A pathlib.Path wherever a path is taken."""
    path = tmp_path / "weights.pdparams"
    saved = state()
    save_state(saved, path)
    assert read_state(path).keys() == saved.keys()
    model = paddle_rtseg.create_model("RTFormer_Slim", num_classes=3, **TINY_RTFORMER, pretrained=path)
    load_weights(model, path)
    np.testing.assert_array_equal(model.seghead.conv2.weight.numpy(), saved["seghead.conv2.weight"])
    mit = paddle_rtseg.create_model("MiT_B0", **TINY_MIT)
    save_state({name: value.numpy() for name, value in mit.state_dict().items()}, tmp_path / "mit.safetensors")
    paddle_rtseg.create_model("MiT_B0", **TINY_MIT, pretrained=tmp_path / "mit.safetensors")
    lrformer = paddle_rtseg.create_model("LRFormer_T", **TINY_LRFORMER)
    save_state({name: value.numpy() for name, value in lrformer.state_dict().items()}, tmp_path / "lr.safetensors")
    paddle_rtseg.create_model("LRFormer_T", **TINY_LRFORMER, pretrained=tmp_path / "lr.safetensors")
    assert load_config(ROOT / "configs" / "rtformer" / "rtformer_slim_camvid_480x360.yml").iters > 0


def test_tensors_as_a_state():
    model, other = network(), network()
    load_weights(other, model.state_dict())
    assert paddle.equal_all(other.seghead.conv2.weight, model.seghead.conv2.weight)


def test_subpackages_are_attributes():
    script = "import paddle_rtseg, sys; assert 'numpy' not in sys.modules; print(paddle_rtseg.weights.convert.__name__)"
    assert python("-c", script, check=True).stdout == "convert\n"
