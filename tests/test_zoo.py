"""The Python API: models by name."""

import pytest
from paddleseg.cvlibs import manager
from processes import python

import paddle_rtseg
from paddle_rtseg.errors import InputError


def test_listed_models_shadow_nothing():
    names = paddle_rtseg.list_models()
    assert {"RTFormer_Slim", "RTFormer_Base"} <= set(names)
    for name in names:
        assert manager.MODELS[name].__module__.startswith("paddle_rtseg.models.")
    assert manager.MODELS["RTFormer"].__module__ == "paddleseg.models.rtformer"


def test_overrides():
    model = paddle_rtseg.create_model("RTFormer_Slim", num_classes=7, base_channels=8, head_channels=8)
    assert model.state_dict()["seghead.conv2.weight"].shape[0] == 7
    assert model.state_dict()["conv1.0.weight"].shape[0] == 8


def test_nested_components():
    backbone = {"type": "MixVisionTransformer_B0"}
    model = paddle_rtseg.create_model("SegFormer", num_classes=5, embedding_dim=16, backbone=backbone)
    assert type(model.backbone).__name__ == "MixVisionTransformer"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"name": "RTFormer_slim", "num_classes": 2}, "'RTFormer_slim'; did you mean RTFormer_Slim"),
        ({"name": "no such thing"}, "list_models"),
        ({"name": "RTFormer_Slim", "num_classes": 2, "heads": 3}, "RTFormer_Slim does not take 'heads'"),
    ],
)
def test_unknown_names(arguments, words):
    with pytest.raises(InputError, match=words):
        paddle_rtseg.create_model(**arguments)


def test_unknown_attribute_of_the_package():
    with pytest.raises(AttributeError, match="create_modle"):
        paddle_rtseg.create_modle  # noqa: B018


@pytest.mark.slow
def test_importing_paddle_next():
    """Paddle 2.6 crashes if zlib is first imported after it."""
    script = "import paddle_rtseg, paddle; print(paddle_rtseg.create_model('RTFormer_Slim', num_classes=2).training)"
    assert python("-c", script, check=True).stdout.strip().endswith("True")
