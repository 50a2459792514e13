"""The LRFormer rename table: complete, strict, for whole networks and backbones."""

import os

import numpy as np
import pytest
from comparing import same_state
from tiny_configs import run_command
from tiny_models import TINY_LRFORMER

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.lrformer import LRFormer, LRFormerSeg
from paddle_rtseg.weights import convert, load_weights, read_state, save_state

FIXTURE = os.path.join(os.path.dirname(__file__), "..", "fixtures", "lrformer_tiny.npz")


@pytest.fixture(scope="module")
def published() -> dict:
    """The state of the authors' network, with their names."""
    arrays = np.load(FIXTURE)
    return {name[2:]: arrays[name] for name in arrays.files if name.startswith("w/")}


def backbone_of(state: dict) -> dict:
    return {name[len("backbone.") :]: array for name, array in state.items() if name.startswith("backbone.")}


def shapes(state: dict) -> dict:
    return {name: list(value.shape) for name, value in state.items()}


def test_result_is_exactly_the_state_of_the_network(published):
    model = LRFormerSeg(11, LRFormer(**TINY_LRFORMER), head_channels=32)
    assert shapes(convert(published, "lrformer")) == shapes(model.state_dict())


def test_prefixes(published):
    whole = convert(published, "lrformer")
    assert same_state(convert({f"module.{n}": a for n, a in published.items()}, "lrformer"), whole)
    backbone = backbone_of(whole)
    for prefix in ("", "backbone.", "module.", "module.backbone."):
        assert same_state(convert({prefix + n: a for n, a in backbone_of(published).items()}, "lrformer"), backbone)


def test_only_linear_weights_are_transposed(published):
    state = convert(published, "lrformer")
    for ours, theirs in (("attn.q", "attn.q.0"), ("attn.kv", "attn.kv.0"), ("attn.proj", "attn.proj")):
        expected = published[f"backbone.block3.1.{theirs}.weight"].T
        np.testing.assert_array_equal(state[f"backbone.block3.1.{ours}.weight"], expected)
    convolution = published["decode_head.fuse_block2.attn.q.weight"]
    np.testing.assert_array_equal(state["decode_head.fuse_block2.attn.q.weight"], convolution[:, :, 0, 0].T)
    for name in ("backbone.block2.0.mlp.fc1.weight", "decode_head.fuse_block1.mlp.fc2.weight"):
        np.testing.assert_array_equal(state[name], published[name])


def test_batch_norms_of_the_largest_variant(published):
    model = LRFormer(**TINY_LRFORMER, pre_norm=(1,))
    norm = {"weight": 1.5, "bias": 0.5, "running_mean": 2.0, "running_var": 3.0}
    state = backbone_of(published)
    state.update({f"block3.1.pre_norm.{kind}": np.full(40, value) for kind, value in norm.items()})
    load_weights(model, convert({**state, "block3.1.pre_norm.num_batches_tracked": np.array(7)}, "lrformer"))
    values = [model.block3[1].pre_norm.state_dict()[n][0].item() for n in ("weight", "bias", "_mean", "_variance")]
    assert values == list(norm.values())
    del state["block3.1.pre_norm.running_var"]
    with pytest.raises(InputError, match=r"lacks what becomes backbone\.block3\.1\.pre_norm\._variance"):
        convert(state, "lrformer")


def test_imagenet_classifier_is_dropped(published):
    state = backbone_of(published)
    extra = {"head.weight": np.zeros((1000, 64)), "head.bias": np.zeros(1000)}
    assert same_state(convert({**state, **extra}, "lrformer"), convert(state, "lrformer"))


@pytest.mark.parametrize("foreign", ["backbone.block1.0.attn.bias_table", "decode_head.linear_pred.weight", "neck.0"])
def test_unknown_entry(published, foreign):
    with pytest.raises(InputError, match=f"unknown entries: .*{foreign}"):
        convert({**published, foreign: np.zeros(3)}, "lrformer")


def test_missing_entry(published):
    counters = [name for name in published if name.endswith("num_batches_tracked")]
    for name in published.keys() - set(counters):
        with pytest.raises(InputError, match="the state lacks what becomes"):
            convert({n: a for n, a in published.items() if n != name}, "lrformer")
    assert same_state(
        convert({n: a for n, a in published.items() if n not in counters}, "lrformer"), convert(published, "lrformer")
    )


def test_command(published, tmp_path):
    source, target = str(tmp_path / "published.safetensors"), str(tmp_path / "ours.pdparams")
    save_state(published, source)
    run_command("convert", "--family", "lrformer", "--input", source, "--output", target)
    assert same_state(read_state(target), convert(published, "lrformer"))
