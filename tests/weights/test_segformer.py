"""The SegFormer rename tables of three publishers: complete and strict."""

import os

import numpy as np
import paddle
import pytest
from comparing import same_state
from paddleseg.models import SegFormer
from paddleseg.models.backbones.mix_transformer import MixVisionTransformer_B0
from tiny_configs import run_command
from tiny_models import TINY_MIT

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.mix_transformer import MixTransformer
from paddle_rtseg.models.segformer_pp import SegFormerPP
from paddle_rtseg.weights import convert, load_weights, read_state, save_state

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")


def published(name: str) -> dict:
    arrays = np.load(os.path.join(FIXTURES, f"{name}_tiny.npz"))
    return {key[2:]: arrays[key] for key in arrays.files if key.startswith("w/")}


def nvlabs(model) -> dict:
    """The state of PaddleSeg's SegFormer with the names and layout of NVlabs."""
    linear = {name for name, layer in model.named_sublayers() if isinstance(layer, paddle.nn.Linear)}
    state = {}
    for name, value in model.state_dict().items():
        value = value.numpy()
        if name.rpartition(".")[0] in linear and value.ndim == 2:
            value = value.T
        for ours, theirs in (("_batch_norm._mean", "bn.running_mean"), ("_batch_norm._variance", "bn.running_var")):
            name = name.replace(ours, theirs)
        name = name.replace("_batch_norm", "bn").replace("_conv", "conv")
        state[name if name.startswith("backbone") else f"decode_head.{name}"] = value
    extra = {"decode_head.conv_seg.weight": np.ones((7, 16, 1, 1)), "decode_head.conv_seg.bias": np.ones(7)}
    return {**state, **extra, "decode_head.linear_fuse.bn.num_batches_tracked": np.array(3)}


def test_result_is_exactly_the_state_of_the_network():
    ours = SegFormerPP(11, MixTransformer(**TINY_MIT), head_channels=32)
    theirs = SegFormer(11, MixTransformer(**TINY_MIT), embedding_dim=32)
    for name, model in (("segformerpp", ours), ("segformer_hf", theirs)):
        state = convert(published(name), "segformer")
        assert {k: list(v.shape) for k, v in state.items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_nvlabs_names():
    paddle.seed(0)
    model = SegFormer(7, MixVisionTransformer_B0(), embedding_dim=16)
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    assert same_state(convert(nvlabs(model), "segformer"), expected)
    assert same_state(convert({f"module.{k}": v for k, v in nvlabs(model).items()}, "segformer"), expected)


def test_backbone_alone():
    paddle.seed(0)
    backbone = MixVisionTransformer_B0()
    expected = {name: value.numpy() for name, value in backbone.state_dict().items()}
    model = SegFormer(7, backbone, embedding_dim=16)
    state = {k[len("backbone.") :]: v for k, v in nvlabs(model).items() if k.startswith("backbone.")}
    imagenet = {"head.weight": np.ones((9, 256)), "head.bias": np.ones(9)}
    assert same_state(convert({**state, **imagenet}, "segformer"), expected)

    mmseg = published("segformerpp")
    whole = convert(mmseg, "segformer")
    alone = convert({k[len("backbone.") :]: v for k, v in mmseg.items() if k.startswith("backbone.")}, "segformer")
    assert same_state(alone, {k[len("backbone.") :]: v for k, v in whole.items() if k.startswith("backbone.")})

    hugging_face = {k: v for k, v in published("segformer_hf").items() if k.startswith("segformer.")}
    classifier = {"classifier.weight": np.ones((9, 64)), "classifier.bias": np.ones(9)}
    alone = convert({**hugging_face, **classifier}, "segformer")
    load_weights(MixTransformer(**TINY_MIT), alone)
    assert same_state(convert({k[len("segformer.") :]: v for k, v in hugging_face.items()}, "segformer"), alone)


@pytest.mark.parametrize("name", ["segformerpp", "segformer_hf"])
def test_missing_entry(name):
    state = published(name)
    for missing in state:
        if "num_batches_tracked" in missing:
            continue
        with pytest.raises(InputError, match="the state lacks what becomes"):
            convert({k: v for k, v in state.items() if k != missing}, "segformer")


@pytest.mark.parametrize("name", ["segformerpp", "segformer_hf"])
def test_unknown_entry(name):
    with pytest.raises(InputError, match=r"unknown entries: decode_head\.extra"):
        convert({**published(name), "decode_head.extra": np.ones(1)}, "segformer")


def test_other_networks():
    with pytest.raises(InputError, match="expected a SegFormer with the names of mmseg"):
        convert({"conv1.weight": np.ones((1, 1))}, "segformer")
    with pytest.raises(InputError, match="already have Paddle's layout"):
        convert({k: v.numpy() for k, v in MixTransformer(**TINY_MIT).state_dict().items()}, "segformer")
    with pytest.raises(InputError, match=r"expected a family among .*segformer.*, got 'segfromer'"):
        convert({}, "segfromer")


def test_command(tmp_path, capsys):
    source, target = str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")
    save_state(published("segformerpp"), source)
    run_command("convert", "--family", "segformer", "--input", source, "--output", target)
    assert target in capsys.readouterr().out
    assert same_state(read_state(target), convert(published("segformerpp"), "segformer"))
