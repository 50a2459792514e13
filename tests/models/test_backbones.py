"""Which backbones the heads take, PaddleSeg's included."""

import paddle
import pytest
from paddleseg.cvlibs import manager

import paddle_rtseg
from paddle_rtseg.errors import InputError

HEADS = ("SegFormerPP", "LRFormerSeg")


def build(head, backbone, **arguments):
    paddle.seed(0)
    arguments = {"backbone": {"type": backbone, **arguments}, "num_classes": 3, "head_channels": 32}
    return paddle_rtseg.create_model(head, **arguments)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", ["MobileNetV3_small_x0_35", "Lite_HRNet_naive", "MixVisionTransformer_B0"])
def test_backbones_of_paddleseg(head, backbone):
    model = build(head, backbone)
    model.eval()
    assert model(paddle.zeros([1, 3, 64, 96]))[0].shape == [1, 3, 64, 96]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "backbone, got",
    [
        ("HRNet_W18_Small_V1", r"HRNet with \[240\]"),
        ("STDC1", r"STDCNet with \[32, 64, 256, 512, 1024\]"),
    ],
)
def test_other_numbers_of_maps(head, backbone, got):
    with pytest.raises(
        InputError, match=f"{head} expects a backbone with 4 feature maps .*, got {got}; choose another"
    ):
        build(head, backbone)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone, name", [(None, "NoneType"), ("MiT_B0", "str"), ({}, "dict"), (object(), "object")])
def test_what_is_no_backbone(head, backbone, name):
    with pytest.raises(InputError, match=f"{head} expects a backbone with 4 feature maps .*, got {name} with None"):
        manager.MODELS[head](num_classes=3, backbone=backbone)


@pytest.mark.parametrize("head", HEADS)
def test_maps_that_are_not_those_stated(head):
    """TopTransformer states four and gives three others."""
    model = build(head, "TopTransformer_Tiny")
    with pytest.raises(
        InputError, match=r"of \[16, 32, 64, 96\] channels, got \[128, 128, 128\]; choose another backbone"
    ):
        model(paddle.zeros([2, 3, 64, 64]))
