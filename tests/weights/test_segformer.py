"""The SegFormer rename tables: complete, strict, and each way round."""

import os

import numpy as np
import paddle
import pytest
from paddleseg.models import SegFormer
from paddleseg.models.backbones.mix_transformer import MixVisionTransformer_B0

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.mix_transformer import MixTransformer
from paddle_rtseg.models.segformer_pp import SegFormerPP
from paddle_rtseg.tools import convert as command
from paddle_rtseg.weights import convert, load_weights, read_state, save_state

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
TINY = {"embed_dims": (8, 16, 40, 64), "depths": (1, 1, 2, 1)}


def published(name: str) -> dict:
    arrays = np.load(os.path.join(FIXTURES, f"{name}_tiny.npz"))
    return {key[2:]: arrays[key] for key in arrays.files if key.startswith("w/")}


def nvlabs(model) -> dict:
    """The state of PaddleSeg's SegFormer as NVlabs would have saved it."""
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


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_each_family_gives_exactly_the_models_state():
    ours = SegFormerPP(11, MixTransformer(**TINY), head_channels=32)
    theirs = SegFormer(11, MixTransformer(**TINY), embedding_dim=32)
    for name, model in (("segformerpp", ours), ("segformer_hf", theirs)):
        state = convert(published(name), "segformer")
        assert {k: list(v.shape) for k, v in state.items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_nvlabs_names():
    paddle.seed(0)
    model = SegFormer(7, MixVisionTransformer_B0(), embedding_dim=16)
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    assert same(convert(nvlabs(model), "segformer"), expected)
    assert same(convert({f"module.{k}": v for k, v in nvlabs(model).items()}, "segformer"), expected)


def test_a_backbone_alone_becomes_a_backbones_state():
    paddle.seed(0)
    backbone = MixVisionTransformer_B0()
    expected = {name: value.numpy() for name, value in backbone.state_dict().items()}
    model = SegFormer(7, backbone, embedding_dim=16)
    state = {k[len("backbone.") :]: v for k, v in nvlabs(model).items() if k.startswith("backbone.")}
    assert same(convert({**state, "head.weight": np.ones((9, 256)), "head.bias": np.ones(9)}, "segformer"), expected)

    mmseg = published("segformerpp")
    whole = convert(mmseg, "segformer")
    alone = convert({k[len("backbone.") :]: v for k, v in mmseg.items() if k.startswith("backbone.")}, "segformer")
    assert same(alone, {k[len("backbone.") :]: v for k, v in whole.items() if k.startswith("backbone.")})

    hugging_face = {k: v for k, v in published("segformer_hf").items() if k.startswith("segformer.")}
    classifier = {"classifier.weight": np.ones((9, 64)), "classifier.bias": np.ones(9)}
    alone = convert({**hugging_face, **classifier}, "segformer")
    load_weights(MixTransformer(**TINY), alone)
    assert same(convert({k[len("segformer.") :]: v for k, v in hugging_face.items()}, "segformer"), alone)


@pytest.mark.parametrize("name", ["segformerpp", "segformer_hf"])
def test_each_missing_entry_is_an_error(name):
    state = published(name)
    for missing in state:
        if "num_batches_tracked" in missing:
            continue
        with pytest.raises(InputError, match="the state lacks what becomes"):
            convert({k: v for k, v in state.items() if k != missing}, "segformer")


@pytest.mark.parametrize("name", ["segformerpp", "segformer_hf"])
def test_unknown_entries_are_an_error(name):
    with pytest.raises(InputError, match=r"unknown entries: decode_head\.extra"):
        convert({**published(name), "decode_head.extra": np.ones(1)}, "segformer")


def test_states_of_other_networks():
    with pytest.raises(InputError, match="expected a SegFormer with the names of mmseg"):
        convert({"conv1.weight": np.ones((1, 1))}, "segformer")
    with pytest.raises(InputError, match="already have Paddle's layout"):
        convert({k: v.numpy() for k, v in MixTransformer(**TINY).state_dict().items()}, "segformer")
    with pytest.raises(InputError, match=r"expected a family among .*segformer.*, got 'segfromer'"):
        convert({}, "segfromer")


def test_the_command(tmp_path, capsys):
    source, target = str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")
    save_state(published("segformerpp"), source)
    command.main(command.parser().parse_args(["--family", "segformer", "--input", source, "--output", target]))
    assert target in capsys.readouterr().out
    assert same(read_state(target), convert(published("segformerpp"), "segformer"))
