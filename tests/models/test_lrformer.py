"""LRFormer against stored tensors of the authors' implementation, the published counts, and Paddle's own operators."""

import os
from typing import NamedTuple, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from comparing import zip_strict
from paddle import inference
from paddleseg.cvlibs import SegBuilder
from paddleseg.models import SegFormer
from tiny_models import TINY_LRFORMER

from paddle_rtseg import create_model
from paddle_rtseg.config import load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.models import lrformer
from paddle_rtseg.models.lrformer import Grids, LRFormer, LRFormerSeg, ShortcutConv, grid_size
from paddle_rtseg.models.macs import count_macs
from paddle_rtseg.weights import convert, load_weights

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
TINY = {**TINY_LRFORMER, "layer_scale": 1.0}
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reference():
    """Weights, inputs and results of the authors' network, as float32."""
    arrays = np.load(os.path.join(ROOT, "tests", "fixtures", "lrformer_tiny.npz"))
    return {name: arrays[name].astype("float32") for name in arrays.files}


@pytest.fixture(scope="module")
def model(reference):
    model = LRFormerSeg(11, LRFormer(**TINY), head_channels=32)
    load_weights(model, convert({n[2:]: a for n, a in reference.items() if n.startswith("w/")}, "lrformer"))
    model.eval()
    return model


def images(*shape) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape, "float32"))


def logits(model, x: paddle.Tensor) -> np.ndarray:
    with paddle.no_grad():
        return model(x)[0].numpy()


@pytest.mark.parametrize("size", ["2x128x192", "1x256x160"])
def test_stages_and_logits_equal_the_reference(model, reference, size):
    x = paddle.to_tensor(reference[f"x/{size}"])
    with paddle.no_grad():
        features = model.backbone(x)
        result = model.low_resolution_logits(x)[0]
    for i, feature in enumerate(features):
        np.testing.assert_allclose(feature.numpy(), reference[f"f{i + 1}/{size}"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(result.numpy(), reference[f"y/{size}"], rtol=0, atol=TOLERANCE)


class LowResolution(paddle.nn.Layer):
    """The network without its last upsampling, which the reference leaves out as well."""

    def __init__(self, model: LRFormerSeg):
        super().__init__()
        self.model = model

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.model.low_resolution_logits(x)[0]


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> str:
    """Prefix of the network as a graph, at the size of one of the reference's inputs."""
    prefix = str(tmp_path_factory.mktemp("exported") / "model")
    network = LowResolution(model)
    network.eval()
    spec = paddle.static.InputSpec([None, 3, 128, 192], "float32", name="x")
    paddle.jit.save(paddle.jit.to_static(network, input_spec=[spec], full_graph=True), prefix)
    return prefix


def program_of(prefix: str) -> str:
    return next(prefix + e for e in (".json", ".pdmodel") if os.path.exists(prefix + e))


@pytest.mark.slow
def test_exported_graph_equals_the_reference(exported, reference):
    config = inference.Config(program_of(exported), exported + ".pdiparams")
    config.disable_glog_info()
    config.enable_mkldnn()
    config.delete_pass("onednn_placement_pass")
    predictor = inference.create_predictor(config)
    x, expected = reference["x/2x128x192"], reference["y/2x128x192"]
    for batch in (1, 2):
        inputs = predictor.get_input_handle(predictor.get_input_names()[0])
        inputs.reshape([batch, *x.shape[1:]])
        inputs.copy_from_cpu(x[:batch].copy())
        predictor.run()
        result = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
        np.testing.assert_allclose(result, expected[:batch], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_exported_graph_has_no_pooling_and_no_constants_made_by_operators(exported):
    paddle.enable_static()
    try:
        program, _, _ = paddle.static.load_inference_model(exported, paddle.static.Executor(paddle.CPUPlace()))
        names = {op.type if hasattr(op, "type") else op.name() for op in program.global_block().ops}
    finally:
        paddle.disable_static()
    assert any("conv2d" in name for name in names)
    assert [n for n in names if "pool" in n or "assign_value" in n or "shape" in n.replace("reshape", "")] == []


class Published(NamedTuple):
    """A row of the authors' results: parameters of backbone and head in millions, GMACs of both at 512 x 512."""

    backbone: float
    head: float
    macs: Tuple[float, float]


PUBLISHED = {
    "T": Published(11.27, 1.99, (9.2, 7.5)),
    "S": Published(27.86, 4.36, (24.3, 15.7)),
    "B": Published(59.99, 7.51, (48.6, 26.2)),
    "L": Published(99.31, 11.67, (81.8, 40.1)),
}


def millions(layer: paddle.nn.Layer) -> float:
    return round(sum(p.size for p in layer.parameters() if p.trainable) / 1e6, 2)


@pytest.mark.parametrize("variant", PUBLISHED)
def test_number_of_parameters(variant):
    with paddle.LazyGuard():  # shapes only
        model = create_model("LRFormerSeg", num_classes=150, backbone={"type": f"LRFormer_{variant}"})
    assert millions(model.backbone) == PUBLISHED[variant].backbone
    assert abs(millions(model.decode_head) - PUBLISHED[variant].head) <= 0.01  # 7.515 rounds either way


def test_largest_variant():
    with paddle.LazyGuard():
        backbone = create_model("LRFormer_XL")
    assert millions(backbone) == 184.72
    assert backbone.feat_channels == [128, 256, 640, 768]
    blocks = [name.rpartition(".")[0] for name, layer in backbone.named_sublayers() if name.endswith("pre_norm")]
    normed = [n for n in blocks if any(k.startswith(f"{n}.pre_norm.") for k in backbone.state_dict())]
    assert normed == ["block3.7", "block3.15"]


@pytest.mark.slow
def test_multiply_accumulates():
    model = create_model("LRFormerSeg", num_classes=150, backbone={"type": "LRFormer_T"})
    backbone = count_macs(model.backbone, (512, 512)) / 1e9
    total = count_macs(model, (512, 512)) / 1e9
    assert (round(backbone, 1), round(total - backbone, 1)) == PUBLISHED["T"].macs
    assert round(total, 1) == 16.7


def test_overrides_of_a_variant_and_the_heads_width():
    backbone = {"type": "LRFormer_S", "depths": [1, 1, 1, 1]}
    with paddle.LazyGuard():
        model = create_model("LRFormerSeg", num_classes=3, backbone=backbone)
        narrow = create_model("LRFormerSeg", num_classes=3, backbone=backbone, head_channels=64)
    assert model.decode_head.conv_seg.weight.shape == [3, 384, 1, 1]
    assert narrow.decode_head.conv_seg.weight.shape == [3, 64, 1, 1]


@pytest.mark.parametrize("head_channels", [None, 36])
def test_unknown_or_invalid_head_width(head_channels):
    with pytest.raises(InputError, match=f"multiple of 8, got {head_channels}; pass head_channels"):
        LRFormerSeg(3, LRFormer(**TINY), head_channels)


@pytest.mark.parametrize("sizes", [{"dims": [8, 16, 40]}, {"depths": [1, 1, 2]}])
def test_missing_stage(sizes):
    with pytest.raises(InputError, match="dims and depths of 4 stages"):
        LRFormer(**{**TINY, **sizes})


def test_drop_path_and_layer_scale():
    backbone = create_model("LRFormer_T", dims=TINY["dims"], drop_path=0.4, depths=(1, 1, 2, 1))
    blocks = [block for stage in "1234" for block in getattr(backbone, f"block{stage}")]
    np.testing.assert_allclose([block.drop_path.rate for block in blocks], [0, 0.1, 0.2, 0.3, 0.4])
    scales = {name for name in backbone.state_dict() if "layer_scale" in name}
    assert {name.split(".")[0] for name in scales} == {"block3", "block4"} and len(scales) == 6
    assert float(backbone.block4[0].layer_scale_2.max()) == pytest.approx(1e-6)


def test_grid_sizes():
    # Short sides of 16 and 11, 8, 6, 4: 512 x 512 has 256 and 237 tokens, 1024 x 2048 512 and 474.
    for shape, tokens in (((128, 128), (256, 237)), ((16, 16), (256, 237)), ((32, 64), (512, 474))):
        query, *key_value = [np.prod(grid_size(side, *shape)) for side in (16, 11, 8, 6, 4)]
        assert (query, sum(key_value)) == tokens
    assert grid_size(11, 32, 48) == (11, 17)  # 16.5 is rounded up
    assert grid_size(16, 50, 20) == (40, 16)


def test_grids_equal_paddles_operators():
    grids, x = Grids(8, 16, (11, 8, 6, 4), convolve=True), images(2, 8, 12, 20)
    query, key_value = grids(x.transpose([0, 2, 3, 1]))
    sizes = [grid_size(side, 12, 20) for side in (16, 11, 8, 6, 4)]
    expected = [F.adaptive_avg_pool2d(x, size) for size in sizes]
    pyramid = [conv(p) for p, conv in zip_strict(expected[1:], grids.convs)]
    tokens = [t.flatten(2).transpose([0, 2, 1]) for t in (expected[0], *pyramid)]
    np.testing.assert_allclose(query.numpy(), tokens[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(key_value.numpy(), paddle.concat(tokens[1:], axis=1).numpy(), atol=1e-5)
    back = F.interpolate(expected[0], [12, 20], mode="bilinear", align_corners=False)
    np.testing.assert_allclose(grids.enlarge(query, 12, 20).numpy(), back.numpy(), atol=1e-5)


def test_shortcut_in_the_kernels():
    conv, x = ShortcutConv(8), images(2, 8, 12, 20)
    expected = x + F.conv2d(x, conv.weight, conv.bias, padding=1, groups=8)
    for training in (True, False):
        conv.training = training
        np.testing.assert_allclose(conv(x).numpy(), expected.numpy(), atol=1e-6)
    assert list(conv.state_dict()) == ["weight", "bias"]


def test_attention_in_pieces_gives_the_same_logits(model, monkeypatch):
    x = images(2, 3, 64, 96)
    whole = logits(model, x)
    monkeypatch.setattr(lrformer, "MAX_SCORES", 2**16)  # in the head, 5 of the 1536 queries at a time
    np.testing.assert_allclose(logits(model, x), whole, atol=TOLERANCE)


@pytest.mark.parametrize("size, enlarged", [((33, 47), (64, 64)), ((64, 130), (64, 160)), ((32, 70), (32, 96))])
def test_image_is_enlarged_to_a_multiple_of_32(model, size, enlarged):
    x = images(1, 3, *size)
    with paddle.no_grad():
        whole = F.interpolate(x, enlarged, mode="bilinear", align_corners=False)
        expected = F.interpolate(model.low_resolution_logits(whole)[0], size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(logits(model, x), expected.numpy(), atol=TOLERANCE)


def test_backbone_works_under_paddlesegs_heads():
    model = SegFormer(4, LRFormer(**TINY), embedding_dim=8)
    model.eval()
    assert logits(model, images(1, 3, 64, 96)).shape == (1, 4, 64, 96)
    assert [f.shape[1:] for f in model.backbone(images(1, 3, 65, 96))] == [
        [8, 24, 24],
        [16, 12, 12],
        [40, 6, 6],
        [64, 3, 3],
    ]


def test_parameter_groups_of_the_config():
    config = load_config(os.path.join(ROOT, "configs", "lrformer", "lrformer_t_ade20k_512x512_160k.yml"))
    config.dic["model"]["backbone"].update(dims=[8, 16, 40, 64], depths=[1, 1, 1, 1])
    config.dic["model"]["head_channels"] = 8
    builder = SegBuilder(config)
    groups = {}
    for group in builder.optimizer._param_groups:
        for parameter in group["params"]:
            groups[parameter.name] = (group.get("learning_rate", 1.0), group.get("weight_decay", 0.01))
    trainable = [(n, p) for n, p in builder.model.named_parameters() if not p.stop_gradient]
    for name, parameter in trainable:
        head, norm = name.startswith("decode_head."), "norm" in name.split(".")[-2]
        expected = (10.0, 0.01) if head else (1.0, 0.0) if norm else (1.0, 0.01)
        assert groups[parameter.name] == expected, name
    assert builder.optimizer._grad_clip.clip_norm == 35.0
