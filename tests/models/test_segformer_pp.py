"""SegFormer++ against tensors stored from the published implementations (tests/fixtures)."""

import os

import numpy as np
import paddle
import pytest
from comparing import zip_strict
from graphs import predictor, save_static
from paddleseg.cvlibs import SegBuilder
from paddleseg.models import SegFormer
from tiny_models import TINY_MIT

import paddle_rtseg
from paddle_rtseg.config import load_config
from paddle_rtseg.models.merging_schedule import parse_schedule
from paddle_rtseg.models.mix_transformer import EfficientSelfAttention, MixTransformer
from paddle_rtseg.models.segformer_pp import AllMLPDecoder, SegFormerPP
from paddle_rtseg.weights import convert, load_weights

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
# The mode's name here and in the fixture.
MODES = [(None, "orig"), ("hq", "hq"), ("fast", "fast"), ("2x2", "n2x2")]
SIZES = ["2x160x224", "1x127x181"]


def stored(name: str) -> dict:
    return dict(np.load(os.path.join(FIXTURES, f"{name}_tiny.npz")))


def weights(arrays: dict) -> dict:
    return {name[2:]: array for name, array in arrays.items() if name.startswith("w/")}


@pytest.fixture(scope="module")
def reference():
    return stored("segformerpp")


@pytest.fixture(scope="module")
def model(reference):
    """With the reference's weights, rounded to half precision there; every LayerNorm has mmseg's epsilon."""
    model = SegFormerPP(11, MixTransformer(**TINY_MIT, norm_eps=1e-6), head_channels=32)
    load_weights(model, convert(weights(reference), "segformer"))
    model.eval()
    return model


class AtLowResolution(paddle.nn.Layer):
    """The network without its last upsampling, like the stored logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.low_resolution_logits(x)[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode, name", MODES, ids=[name for _, name in MODES])
def test_model_equals_the_reference(model, reference, mode, name, size):
    model.backbone.set_token_merging(mode)
    x = paddle.to_tensor(reference[f"x/{size}"].astype("float32"))
    with paddle.no_grad():
        features = model.backbone(x)
        logits = model.head(features)
    for got, key in ((features[2], "f3"), (features[3], "f4"), (logits, "y")):
        np.testing.assert_allclose(got.numpy(), reference[f"{key}/{name}/{size}"], atol=1e-4)
    if mode is not None:  # merging does something
        assert abs(logits.numpy() - reference[f"y/orig/{size}"]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode, name", MODES, ids=[name for _, name in MODES])
def test_exported_graph_equals_the_reference(model, reference, mode, name, size, tmp_path, monkeypatch):
    model.backbone.set_token_merging(mode)
    x = reference[f"x/{size}"].astype("float32")
    expected = reference[f"y/{name}/{size}"]
    free = model.fixed_size_reason is None
    for layer in model.backbone.sublayers():
        if isinstance(layer, EfficientSelfAttention) and size == SIZES[1]:
            monkeypatch.setattr(layer, "max_scores_per_head", 1000)
    save_static(AtLowResolution(model), str(tmp_path / "model"), None if free else x.shape[2:])
    run = predictor(str(tmp_path / "model"), onednn=True)
    np.testing.assert_allclose(run(x), expected, atol=1e-4)
    larger = np.concatenate([x[:, ::-1], x])  # the batch is free
    np.testing.assert_allclose(run(larger)[len(x) :], expected, atol=1e-4)


def test_hugging_face_weights_under_paddlesegs_head():
    reference = stored("segformer_hf")
    model = SegFormer(11, MixTransformer(**TINY_MIT, norm_eps=1e-5), embedding_dim=32)
    load_weights(model, convert(weights(reference), "segformer"))
    model.eval()
    # The reference stops at 1/4; PaddleSeg's forward goes on to the image, so its last resize is taken away.
    for size in ("2x128x192", "1x127x181"):
        x = paddle.to_tensor(reference[f"x/{size}"].astype("float32"))
        expected = paddle.nn.functional.interpolate(
            paddle.to_tensor(reference[f"y/{size}"]), x.shape[2:], mode="bilinear"
        )
        with paddle.no_grad():
            np.testing.assert_allclose(model(x)[0].numpy(), expected.numpy(), atol=1e-4)


def test_decoder_equals_fusion_of_the_upsampled_concatenation():
    """The order of computation that the paper draws, with the same weights, in training mode as well."""
    paddle.seed(0)
    decoder = AllMLPDecoder([4, 6, 8, 10], 5, 3, dropout=0.0)
    rng = np.random.default_rng(0)
    features = [
        paddle.to_tensor(rng.standard_normal((2, c, *size)).astype("float32"))
        for c, size in zip_strict((4, 6, 8, 10), ((16, 12), (8, 6), (4, 3), (2, 2)))
    ]
    fusion = paddle.concat([conv.weight for conv in decoder.fusion], axis=1)

    def as_drawn():
        maps = [
            paddle.nn.functional.interpolate(conv(x), (16, 12), mode="bilinear")
            for conv, x in zip_strict(decoder.convs, features)
        ]
        fused = paddle.nn.functional.conv2d(paddle.concat(maps, axis=1), fusion)
        return decoder.classifier(paddle.nn.functional.relu(decoder.bn(fused)))

    for mode in (decoder.train, decoder.eval):
        mode()
        np.testing.assert_allclose(decoder(features).numpy(), as_drawn().numpy(), atol=1e-6)


# Of the reference with 19 classes, in millions.
@pytest.mark.parametrize("variant, millions", [("B0", 3.72), ("B2", 24.73)])
def test_parameter_counts_of_the_reference(variant, millions):
    model = paddle_rtseg.create_model("SegFormerPP", num_classes=19, backbone={"type": f"MiT_{variant}"})
    assert sum(p.size for p in model.parameters() if not p.stop_gradient) / 1e6 == pytest.approx(millions, abs=0.005)


def test_pretrained_gives_exactly_these_weights(model, tmp_path):
    path = str(tmp_path / "model.pdparams")
    paddle.save(model.state_dict(), path)
    other = SegFormerPP(11, MixTransformer(**TINY_MIT), head_channels=32, pretrained=path)
    loaded = other.state_dict()
    assert all(np.array_equal(loaded[name].numpy(), value.numpy()) for name, value in model.state_dict().items())


CONFIG = os.path.join(FIXTURES, "..", "..", "configs", "segformerpp", "segformerpp_b0_cityscapes_1024x1024_160k.yml")


@pytest.mark.parametrize("mode", ["hq", "fast", "2x2"])
def test_config_takes_the_schedule_from_the_command_line(mode):
    backbone = SegBuilder(load_config(CONFIG, opts=[f"model.backbone.token_merging={mode}"])).model.backbone
    built, expected = ([(m.query, m.key_value) for m in stages] for stages in (backbone.merging, parse_schedule(mode)))
    assert built == expected


def test_parameter_groups_of_the_config():
    builder = SegBuilder(load_config(CONFIG))
    model, groups = builder.model, builder.optimizer._param_groups
    trained = {id(p): name for name, p in model.named_parameters() if not p.stop_gradient}
    last_norms, norms, head, rest = ({trained.pop(id(p)) for p in group["params"]} for group in groups)
    assert trained == {}
    assert last_norms == {f"backbone.norm{i}.{kind}" for i in range(1, 5) for kind in ("weight", "bias")}
    assert all(".norm" in name and name.startswith(("backbone.block", "backbone.patch")) for name in norms)
    assert all(name.startswith("head.") for name in head)
    assert all(name.startswith("backbone.") and "norm" not in name for name in rest)
    assert [group.get("learning_rate", 1.0) for group in groups] == [1.0, 1.0, 10.0, 1.0]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0, 0.01, 0.01]
