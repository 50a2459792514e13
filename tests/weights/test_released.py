"""Bundled weights: their metadata, loading them by name, and the masks that they predict."""

import json
import os
import pathlib
import re

import cv2
import numpy as np
import paddle
import pytest
from rtseg_inference.contract import read_contract
from rtseg_inference.files import cache_root
from tiny_configs import run_command
from tiny_models import TINY_RTFORMER

import paddle_rtseg
from paddle_rtseg.config import Builder, load_config, load_model
from paddle_rtseg.errors import InputError
from paddle_rtseg.export import from_release
from paddle_rtseg.tools import infer
from paddle_rtseg.weights import read_state, released, save_state

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
TINY_OPTIONS = [f"model.{name}={value}" for name, value in TINY_RTFORMER.items()]
FRAMES = ROOT / "tests" / "data" / "camvid_mini"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def packed(tmp_path):
    """A tiny network packed by the release command, and its weights in float32."""
    paddle.seed(1)
    network = paddle_rtseg.create_model("RTFormer_Slim", num_classes=11, **TINY_RTFORMER)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_state(state, str(tmp_path / "trained.pdparams"))
    path = str(tmp_path / "rtformer_slim_tiny.safetensors")
    config = str(ROOT / "configs" / "rtformer" / "rtformer_slim_camvid_demo.yml")
    arguments = ["--config", config, "--model_path", tmp_path / "trained.pdparams", "--save", path]
    run_command("release", *arguments, "--note", "terms=none", "--opts", *TINY_OPTIONS)
    return path, state


def test_only_kernels_are_in_half_precision(packed):
    path, state = packed
    halved = read_state(path)
    assert halved.keys() == state.keys()
    for name, array in state.items():
        assert halved[name].dtype == (np.float16 if array.ndim > 1 else np.float32)
        np.testing.assert_allclose(halved[name], array, rtol=2**-11, atol=2**-25)


def test_metadata_rebuilds_the_network(packed, monkeypatch):
    path, state = packed
    monkeypatch.setitem(released.SHA256, "rtformer_slim_tiny", released.sha256(path))
    monkeypatch.setattr(released, "FOLDER", os.path.dirname(path))
    metadata = released.find("rtformer_slim_tiny").metadata
    assert metadata["terms"] == "none" and metadata["dataset"] == "CamVid"
    assert [t["type"] for t in json.loads(metadata["transforms"])] == ["Normalize"]
    model = paddle_rtseg.create_model("RTFormer_Slim", pretrained="tiny")
    np.testing.assert_allclose(model.conv1[0].weight.numpy(), state["conv1.0.weight"], rtol=2**-11, atol=2**-25)


def test_note_without_a_key(packed, tmp_path):
    arguments = ["--config", str(ROOT / "configs/rtformer/rtformer_slim_camvid_demo.yml"), "--model_path"]
    arguments += [str(tmp_path / "trained.pdparams"), "--save", str(tmp_path / "x.safetensors"), "--note", "free"]
    with pytest.raises(InputError, match="--note KEY=TEXT"):
        run_command("release", *arguments, "--opts", *TINY_OPTIONS)
    assert not (tmp_path / "x.safetensors").exists()


def test_metadata_needs_safetensors(tmp_path):
    path = tmp_path / "x.pdparams"
    with pytest.raises(InputError, match=r"\.safetensors"):
        save_state({"a": np.ones(3, np.float32)}, str(path), {"terms": "none"})
    assert not path.exists()


@pytest.mark.parametrize("name", released.SHA256)
def test_metadata_of_every_release(name):
    metadata = released.find(name).metadata
    assert {"model", "arguments", "dataset", "transforms", "config", "data", "terms"} <= metadata.keys()
    assert ("pck" if "persons" in metadata else "miou") in metadata
    assert len(list((ROOT / "configs").glob(f"*/{metadata['config']}"))) == 1
    assert os.path.getsize(released.find(name).path) < 30e6


def test_damaged_release(monkeypatch):
    monkeypatch.setitem(released.SHA256, "rtformer_slim_camvid", "0" * 64)
    with pytest.raises(InputError, match="not found or was modified"):
        paddle_rtseg.create_model("RTFormer_Slim", pretrained="camvid")


def test_camvid_weights_by_name():
    model = paddle_rtseg.create_model("RTFormer_Slim", pretrained="camvid")
    expected = read_state(released.find("rtformer_slim_camvid").path)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name].astype(np.float32))


@pytest.mark.parametrize(
    "model, name", [("SegFormerPP", "segformerpp_b0_camvid"), ("LRFormerSeg", "lrformer_t_camvid")]
)
def test_weights_bring_their_backbone(model, name):
    expected = read_state(released.find(name).path)
    for pretrained in ("camvid", name):
        found = paddle_rtseg.create_model(model, pretrained=pretrained).state_dict()
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key].numpy(), array.astype(np.float32), err_msg=key)


def test_bundled_weights_with_another_schedule():
    """What is said of the backbone changes that alone; epsilon, for one, is as in the training."""
    backbone = {"type": "MiT_B0", "token_merging": "2x2"}
    model = paddle_rtseg.create_model("SegFormerPP", backbone=backbone, num_classes=3, pretrained="camvid")
    assert model.head.classifier.weight.shape[0] == 3
    assert [type(merging.query).__name__ for merging in model.backbone.merging] != ["NoMerging"] * 4
    norms = [layer for layer in model.backbone.sublayers() if isinstance(layer, paddle.nn.LayerNorm)]
    assert {norm._epsilon for norm in norms} == {1e-6}


def test_weights_of_another_network():
    with pytest.raises(InputError, match="do not fit"):
        paddle_rtseg.create_model(
            "SegFormerPP", num_classes=11, backbone={"type": "MiT_B1"}, pretrained="segformerpp_b0_camvid"
        )


def test_camvid_weights_in_a_config():
    """A config or a command takes the name wherever it takes a file of weights."""
    path = str(ROOT / "configs" / "rtformer" / "rtformer_slim_camvid_480x360.yml")
    expected = paddle_rtseg.create_model("RTFormer_Slim", pretrained="camvid").seghead.conv2.weight.numpy()
    started = Builder(load_config(path, opts=["model.pretrained=rtformer_slim_camvid"])).model
    np.testing.assert_array_equal(started.seghead.conv2.weight.numpy(), expected)
    trained = load_model(load_config(path), "rtformer_slim_camvid")
    np.testing.assert_array_equal(trained.seghead.conv2.weight.numpy(), expected)


def test_interrupted_first_export(monkeypatch):
    def interrupted(network, folder, *args, **kwargs):
        os.makedirs(folder)
        raise KeyboardInterrupt

    release = released.find("rtformer_slim_camvid")
    with monkeypatch.context() as patch:
        patch.setattr("paddle_rtseg.export.from_release.export_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            from_release.cached_export(release)
    assert os.listdir(cache_root()) == []
    assert read_contract(from_release.cached_export(release)).output.num_classes == 11


def test_network_for_poses():
    """It is packed with its skeleton, and exported with what finds joints in its heatmaps."""
    assert paddle_rtseg.create_model("SegFormerPPPose", pretrained="lspet").head.classifier.weight.shape[0] == 14
    contract = read_contract(from_release.cached_export(released.find("segformerpp_b0_lspet")))
    assert contract.pose.input_size == (96, 128) and contract.pose.flip_test
    assert contract.pose.keypoints[0] == "right_ankle" and len(contract.pose.keypoints) == 14


@pytest.mark.parametrize(
    ("name", "fix"), [("rtformer_slim_camvd", "did you mean rtformer_slim_camvid?"), ("a/b", "check the path")]
)
def test_name_of_nothing(name, fix):
    with pytest.raises(InputError, match=re.escape(f"segformerpp_b0_lspet, got '{name}'; {fix}")):
        infer.main(infer.parser().parse_args(["--model", name, "--input", str(FRAMES)]))
    with pytest.raises(InputError, match=re.escape(f"got '{name}' (No such file or directory); {fix}")):
        read_state(name)


def test_infer_by_name(tmp_path, capsys):
    """The four bundled test frames, from file to mask."""
    names = [line.split()[0].split("/")[1][:-4] for line in (FRAMES / "test.txt").read_text().split("\n") if line]
    right = total = 0
    for turn, name in enumerate(names):
        image, out = str(FRAMES / "images" / (name + ".jpg")), str(tmp_path / "out")
        arguments = ["--model", "rtformer_slim_camvid", "--input", image, "--save_dir", out, "--backend", "onednn"]
        assert infer.main(infer.parser().parse_args(arguments)) == 0
        assert ("exporting rtformer_slim_camvid, once" in capsys.readouterr().out) == (turn == 0)
        mask = cv2.imread(os.path.join(out, "masks", name + ".png"), cv2.IMREAD_UNCHANGED)
        label = cv2.imread(str(FRAMES / "labels" / (name + ".png")), cv2.IMREAD_UNCHANGED)
        right, total = right + (mask == label).sum(), total + (label != 255).sum()
    assert right > 0.8 * total
    (folder,) = (tmp_path / "cache").glob("rtformer_slim_camvid-*")
    assert len(read_contract(str(folder)).palette) == 11
