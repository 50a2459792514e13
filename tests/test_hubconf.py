"""paddle.hub: networks with their weights from this folder."""

import pathlib

import numpy as np
import paddle
import pytest

import paddle_rtseg
from paddle_rtseg.errors import InputError

ROOT = str(pathlib.Path(__file__).parents[1])


def load(name, **arguments):
    return paddle.hub.load(ROOT, name, source="local", **arguments)


def test_entries():
    assert {"segformer_plusplus", "rtformer", "lrformer"} <= set(paddle.hub.list(ROOT, source="local"))
    assert "token_merging" in paddle.hub.help(ROOT, "segformer_plusplus", source="local")


def test_weights_are_loaded(tmp_path):
    paddle.seed(1)
    expected = paddle_rtseg.create_model("SegFormerPP", num_classes=4, backbone={"type": "MiT_B0"})
    path = str(tmp_path / "weights.pdparams")
    paddle.save(expected.state_dict(), path)
    found = load("segformer_plusplus", backbone="b0", token_merging="hq", num_classes=4, weights=path)
    assert not found.training and found.backbone.__class__.__name__ == "MixTransformer"
    for name, value in expected.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_bundled_weights():
    found = load("rtformer", num_classes=11, weights="rtformer_slim_camvid")
    expected = paddle_rtseg.create_model("RTFormer_Slim", pretrained="camvid")
    np.testing.assert_array_equal(found.conv1[0].weight.numpy(), expected.conv1[0].weight.numpy())


def test_bundled_weights_of_segformer():
    found = load("segformer_plusplus", token_merging="2x2", num_classes=11, weights="segformerpp_b0_camvid")
    assert {layer._epsilon for layer in found.sublayers() if isinstance(layer, paddle.nn.LayerNorm)} == {1e-6}
    with pytest.raises(InputError, match="do not fit"):
        load("segformer_plusplus", num_classes=19, weights="segformerpp_b0_camvid")


def test_weights_of_lrformer(tmp_path):
    paddle.seed(2)
    expected = paddle_rtseg.create_model("LRFormerSeg", num_classes=3, backbone={"type": "LRFormer_T"})
    paddle.save(expected.state_dict(), str(tmp_path / "weights.pdparams"))
    found = load("lrformer", variant="t", num_classes=3, weights=tmp_path / "weights.pdparams").state_dict()
    for name, value in expected.state_dict().items():
        np.testing.assert_array_equal(found[name].numpy(), value.numpy(), err_msg=name)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("segformer_plusplus", {"backbone": None}, "registered component, got 'MiT_NONE'"),
        ("segformer_plusplus", {"token_merging": "bogus"}, "expected token_merging null, hq, fast, 2x2"),
        ("rtformer", {"variant": 5}, "registered component, got 'RTFormer_5'"),
        ("rtformer", {"weights": "nowhere"}, "expected a file of weights, got 'nowhere'"),
        ("rtformer", {"weights": 5}, "expected a file of weights, got 5"),
        ("rtformer", {"bogus": 3}, "RTFormer_Slim does not take 'bogus'"),
        ("lrformer", {"num_classes": 0}, "a whole number of 1 or more, got 0"),
        ("lrformer", {"variant": "q"}, "registered component, got 'LRFormer_Q'"),
    ],
)
def test_bad_arguments_are_one_sentence(name, arguments, words):
    with pytest.raises(InputError) as error:
        load(name, **arguments)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_lrformer():
    model = load("lrformer", num_classes=3)
    with paddle.no_grad():
        assert model(paddle.zeros([1, 3, 64, 64]))[0].shape == [1, 3, 64, 64]


def test_unknown_variants():
    with pytest.raises(InputError, match="MiT_B9"):
        load("segformer_plusplus", backbone="b9")
    with pytest.raises(InputError, match="do not fit"):
        load("segformer_plusplus", weights="rtformer_slim_camvid")
