"""MiT against PaddleSeg's own MixVisionTransformer, and token merging on a built model."""

import numpy as np
import paddle
import pytest
from comparing import zip_strict
from paddleseg.models import SegFormer
from paddleseg.models.backbones import mix_transformer as paddleseg_mit
from tiny_models import TINY_MIT

import paddle_rtseg
from paddle_rtseg.errors import InputError
from paddle_rtseg.models import mix_transformer
from paddle_rtseg.models.merging_schedule import StageMerging, parse_schedule
from paddle_rtseg.models.mix_transformer import EfficientSelfAttention, MixTransformer
from paddle_rtseg.weights import load_weights


def images(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal(shape).astype("float32"))


def difference(a, b) -> float:
    return max(float((p - q).abs().max()) for p, q in zip_strict(a, b))


def randomised(model: paddle.nn.Layer) -> paddle.nn.Layer:
    """Random weights that make every parameter matter: norms and biases off 1 and 0, attention far from uniform."""
    rng = np.random.default_rng(0)
    for name, value in model.state_dict().items():
        if len(value.shape) == 2:
            value.set_value(rng.normal(0, 2 * value.shape[0] ** -0.5, value.shape).astype("float32"))
        elif len(value.shape) == 4:  # (out, in / groups, height, width)
            value.set_value(rng.normal(0, np.prod(value.shape[1:]) ** -0.5, value.shape).astype("float32"))
        elif len(value.shape) == 1:
            low, high = (0.5, 1.5) if name.endswith(("weight", "_variance")) else (-0.5, 0.5)
            value.set_value(rng.uniform(low, high, value.shape).astype("float32"))
    model.eval()
    return model


def test_names_and_shapes_equal_paddlesegs():
    theirs, ours = paddleseg_mit.MixVisionTransformer_B0(), create("B0")
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (theirs, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("variant", ["B0", "B1", "B2", "B3", "B4", "B5"])
def test_variants_equal_paddlesegs(variant, monkeypatch):
    built = []
    for module, name in ((paddleseg_mit, "MixVisionTransformer"), (mix_transformer, "MixTransformer")):
        monkeypatch.setattr(module, name, lambda **arguments: built.append(arguments))
    getattr(paddleseg_mit, f"MixVisionTransformer_{variant}")()
    create(variant)
    theirs, ours = built
    assert {name: list(value) for name, value in ours.items()} == {name: theirs[name] for name in ours}


def create(variant: str, **arguments) -> MixTransformer:
    from paddleseg.cvlibs import manager

    return manager.BACKBONES[f"MiT_{variant}"](**arguments)


@pytest.mark.parametrize("height, width", [(64, 96), (75, 50)])
def test_features_equal_paddlesegs(height, width):
    theirs, ours = randomised(paddleseg_mit.MixVisionTransformer_B0()), create("B0")
    ours.eval()
    load_weights(ours, theirs.state_dict())
    x = images(2, 3, height, width)
    with paddle.no_grad():
        assert ours.feat_channels == theirs.feat_channels
        assert difference(ours(x), theirs(x)) < 1e-5


def test_gradients_equal_paddlesegs():
    theirs, ours = randomised(paddleseg_mit.MixVisionTransformer_B0()), create("B0")
    ours.eval()
    load_weights(ours, theirs.state_dict())
    for model in (theirs, ours):
        sum((f * f).mean() for f in model(images(1, 3, 64, 64))).backward()
    gradients = {name: p.grad.numpy() for name, p in ours.named_parameters()}
    for name, p in theirs.named_parameters():
        expected = p.grad.numpy()
        np.testing.assert_allclose(gradients[name], expected, atol=1e-4 * abs(expected).max() + 1e-7, err_msg=name)


def test_paddleseg_checkpoint_loads_into_a_merging_backbone(tmp_path):
    theirs = randomised(SegFormer(7, paddleseg_mit.MixVisionTransformer_B0(), embedding_dim=16))
    path = str(tmp_path / "model.pdparams")
    paddle.save(theirs.state_dict(), path)
    ours = paddle_rtseg.create_model(
        "SegFormer", num_classes=7, backbone={"type": "MiT_B0", "token_merging": "hq"}, embedding_dim=16
    )
    ours.eval()
    load_weights(ours, path)
    x = images(1, 3, 128, 160)
    with paddle.no_grad():
        expected = theirs(x)
        assert difference(ours(x), expected) > 1e-3
        ours.backbone.set_token_merging(None)
        assert difference(ours(x), expected) < 1e-5


def test_merging_can_be_switched_on_a_built_model():
    model = randomised(MixTransformer(**TINY_MIT))
    x = images(1, 3, 128, 128)
    with paddle.no_grad():
        plain = model(x)
        outputs = {}
        for mode in ("hq", "fast", "2x2"):
            model.set_token_merging(mode)
            outputs[mode] = model(x)
            assert difference(outputs[mode], plain) > 0.1
        assert difference(outputs["hq"], outputs["fast"]) > 0.1
        model.set_token_merging(None)
        assert difference(model(x), plain) == 0
    with pytest.raises(InputError, match="got 'bsm_fast'"):
        model.set_token_merging("bsm_fast")


@pytest.mark.parametrize("mode, smallest", [(None, 32), ("hq", 97), ("fast", 125), ("2x2", 33)])
def test_smallest_image(mode, smallest):
    # For hq and fast, the reference too starts to work at this size.
    model = MixTransformer(**TINY_MIT, token_merging=mode)
    model.eval()
    assert model.min_input_size == smallest
    model(images(1, 3, smallest, smallest))
    if mode is not None:
        with pytest.raises(InputError, match="enlarge the image"):
            model(images(1, 3, smallest - 1, smallest - 1))
    assert (model.fixed_size_reason is None) == (mode in (None, "2x2"))


def test_input_scale_drops_rows_and_columns():
    half, whole = MixTransformer(**TINY_MIT, input_scale=0.5), MixTransformer(**TINY_MIT)
    load_weights(whole, half.state_dict())
    half.eval(), whole.eval()
    x = images(1, 3, 128, 97)
    with paddle.no_grad():
        assert difference(half(x), whole(x[:, :, ::2, ::2])) == 0
    assert half.min_input_size == 63
    for scale in (0, 0.4, 2):
        with pytest.raises(InputError, match="expected input_scale 1, 1/2"):
            MixTransformer(**TINY_MIT, input_scale=scale)


@pytest.mark.parametrize("mode", [None, "hq", "2x2"])
@pytest.mark.parametrize("piece", [1, 100, 2**20])
def test_attention_in_pieces_gives_the_same_features(mode, piece):
    models = [randomised(MixTransformer(**TINY_MIT, token_merging=mode, attention_piece=p)) for p in (None, piece)]
    x = images(2, 3, 97, 130)
    with paddle.no_grad():
        assert difference(*(model(x) for model in models)) < 1e-5


def test_attention_piece_is_shared_out_among_the_heads():
    model = create("B0", attention_piece=1000)
    assert [getattr(model, f"block{i}")[0].attn.max_scores_per_head for i in (1, 2, 3, 4)] == [1000, 500, 200, 125]


def test_multiply_accumulates_of_attention_on_merged_tokens():
    attention, x, size = EfficientSelfAttention(8, 2, 2, 1e-6, None), paddle.zeros([3, 96, 8]), (8, 12)
    assert attention.macs((x, size), x) == 3 * 8 * 2 * 96 * 24  # scores and weighted sums of 96 queries and 24 keys
    queries = {"q_mode": "bsm", "q_ratio": 0.6, "q_cell": 2}  # 57 of 96 merge; there are 24 destinations
    keys_values = {"kv_mode": "n2d", "kv_stride": 2}  # 24 become 6
    attention.merging = parse_schedule([{**queries, **keys_values}] * 4)[0]
    assert attention.macs((x, size), x) == 3 * 8 * (2 * 39 * 6 + 2 * 96 * 24 + 24)


def test_multiply_accumulates_with_an_earlier_matching_and_counted_keys():
    attention, x, size = EfficientSelfAttention(8, 2, 1, 1e-6, None), paddle.randn([3, 96, 8]), (8, 12)
    stage = {"kv_mode": "bsm", "kv_ratio": 0.6, "kv_cell": 2}  # 57 of 96 merge; there are 24 destinations
    attention.merging = parse_schedule([stage] * 4)[0]
    _, matching = attention(x, size)
    products, sums, similarities = 2 * 96 * 39, 96 * 24, 96 * 24
    assert attention.macs((x, size), x) == 3 * 8 * (products + sums + similarities)
    assert attention.macs((x, size, None), x) == 3 * 8 * (products + sums + similarities)
    assert attention.macs((x, size, matching), x) == 3 * 8 * (products + sums)
    attention.merging = parse_schedule([{**stage, "proportional": True}] * 4)[0]
    assert attention.macs((x, size, matching), x) == 3 * (8 * (products + sums) + 2 * 96 * 39)  # of both heads


def places(merging) -> np.ndarray:
    """For each of 8 x 8 tokens, which merged token it becomes."""
    kept = merging.merge(paddle.zeros([1, 64, 1])).shape[1]
    return merging.unmerge(paddle.arange(kept, dtype="float32").reshape([1, -1, 1])).numpy()


@pytest.mark.parametrize("every, matched", [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3]), (9, [0])])
def test_blocks_of_a_stage_share_a_matching(every, matched, monkeypatch):
    schedule = {"schedule": "hq", "match_every": every}
    model = randomised(MixTransformer(**{**TINY_MIT, "depths": [1, 1, 5, 1]}, token_merging=schedule))
    used, made = [], []  # by the blocks of stage 3
    for block in model.block3:
        block.attn.register_forward_post_hook(lambda layer, inputs, output: used.append(output[1].query))
    match = StageMerging.match

    def noted(self, *tokens):
        result = match(self, *tokens)
        made.extend([result.query] if self is model.merging[2] else [])
        return result

    monkeypatch.setattr(StageMerging, "match", noted)
    with paddle.no_grad():
        model(images(1, 3, 128, 128))
    assert len(made) == len(matched)
    assert [used[i] is made[sum(m <= i for m in matched) - 1] for i in range(5)] == [True] * 5
    assert all(not np.array_equal(places(one), places(next)) for one, next in zip_strict(made[:-1], made[1:]))


def test_matching_every_block_is_the_default():
    model, x = randomised(MixTransformer(**{**TINY_MIT, "depths": [2, 2, 2, 2]})), images(1, 3, 128, 128)
    outputs = []
    for schedule in ("hq", {"schedule": "hq", "match_every": 1}, {"schedule": "hq", "match_every": 2}):
        model.set_token_merging(schedule)
        with paddle.no_grad():
            outputs.append(model(x))
    assert difference(outputs[0], outputs[1]) == 0
    assert difference(outputs[0], outputs[2]) > 0.1


def test_proportional_attention_loses_nothing_where_keys_are_alike():
    """Each merged key counts as often as it stands for tokens; otherwise the groups would count alike."""
    model = EfficientSelfAttention(8, 2, 1, 1e-6, None)
    x = images(1, 2, 8)[:, [0] * 24 + [1] * 40]  # 3 and 5 rows, but 8 destinations in each
    keys = {"kv_mode": "bsm", "kv_ratio": 0.9, "kv_cell": 2}
    results = {}
    for name, stage in (("none", {}), ("plain", keys), ("proportional", {**keys, "proportional": True})):
        model.merging = parse_schedule([stage] * 4)[0]
        with paddle.no_grad():
            results[name] = [model(x, (8, 8))[0]]
    assert difference(results["none"], results["proportional"]) < 1e-5
    assert difference(results["none"], results["plain"]) > 1e-3


def test_norm_eps_sets_every_norm_and_the_default_is_paddlesegs():
    def epsilons(model):
        return {name: m._epsilon for name, m in model.named_sublayers() if isinstance(m, paddle.nn.LayerNorm)}

    assert set(epsilons(MixTransformer(**TINY_MIT, norm_eps=1e-4)).values()) == {1e-4}
    assert epsilons(create("B0")) == epsilons(paddleseg_mit.MixVisionTransformer_B0())


def test_stochastic_depth_grows_from_0_to_its_rate():
    rates = [m.rate for m in create("B2").sublayers() if type(m).__name__ == "DropPath"]
    np.testing.assert_allclose(rates, np.linspace(0, 0.1, 16))


def test_pretrained_leaves_an_imagenet_classifier_out(tmp_path):
    source = randomised(MixTransformer(**TINY_MIT))
    path = str(tmp_path / "mit.pdparams")
    paddle.save({**source.state_dict(), "head.weight": paddle.ones([64, 10]), "head.bias": paddle.ones([10])}, path)
    model = MixTransformer(**TINY_MIT, pretrained=path)
    loaded = model.state_dict()
    assert all(np.array_equal(loaded[name].numpy(), value.numpy()) for name, value in source.state_dict().items())
    with pytest.raises(InputError, match=r"with a different shape patch_embed1.proj.weight \(expected \[16"):
        MixTransformer((16, 16, 40, 64), (1, 1, 2, 1), pretrained=path)


def test_channels_not_divisible_by_the_heads():
    with pytest.raises(InputError, match="expected channels that 5 heads divide, got 42"):
        MixTransformer((8, 16, 42, 64), (1, 1, 1, 1))


def test_wrong_number_of_stages():
    with pytest.raises(InputError, match="of four stages, got"):
        MixTransformer((8, 16, 40), (1, 1, 1, 1))
