"""RTFormer against PaddleSeg's own, in float64, where rounding cannot hide a difference."""

import numpy as np
import paddle
import pytest
from comparing import zip_strict
from graphs import REJECTED_BY_TENSORRT, operator_names, save_static
from paddleseg.models.rtformer import RTFormer as PaddleSegRTFormer
from tiny_models import TINY_RTFORMER

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.macs import count_macs
from paddle_rtseg.models.rtformer import (
    AdaptiveMaxPool,
    CrossResolutionAttention,
    GPUFriendlyAttention,
    RTFormer,
    RTFormer_Base,
    RTFormer_Slim,
)

SLIM = {"base_channels": 32, "head_channels": 64}
BASE = {"base_channels": 64, "head_channels": 128, "use_injection": [True, False]}


@pytest.fixture
def float64():
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype("float32")


def pair(**arguments):
    """PaddleSeg's network and ours with the same state, in which no value is 0 or 1."""
    paddle.seed(0)
    reference = PaddleSegRTFormer(num_classes=5, **{**TINY_RTFORMER, "drop_path_rate": 0.0, **arguments})
    ours = RTFormer(num_classes=5, **{**TINY_RTFORMER, "drop_path_rate": 0.0, **arguments})
    rng = np.random.default_rng(0)
    for name, value in reference.state_dict().items():
        noise = rng.standard_normal(value.shape).astype(paddle.get_default_dtype())
        value.set_value(value.numpy() + (abs(noise) if name.endswith("_variance") else noise / 10))
    ours.set_state_dict(reference.state_dict())
    return reference, ours


def images(batch, height, width, dtype="float64"):
    return paddle.to_tensor(np.random.default_rng(1).standard_normal((batch, 3, height, width)).astype(dtype))


def assert_close(actual, expected, relative=1e-6):
    expected = expected.numpy()
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=relative * abs(expected).max())


@pytest.mark.parametrize(
    "build, arguments, parameters", [(RTFormer_Slim, SLIM, 5_379_123), (RTFormer_Base, BASE, None)]
)
def test_variants_have_paddlesegs_parameters(build, arguments, parameters):
    reference = PaddleSegRTFormer(num_classes=19, use_aux_head=False, **arguments)
    ours = build(num_classes=19, use_aux_head=False)
    expected = {name: (tuple(p.shape), p.stop_gradient) for name, p in reference.named_parameters()}
    assert {name: (tuple(p.shape), p.stop_gradient) for name, p in ours.named_parameters()} == expected
    assert set(ours.state_dict()) == set(reference.state_dict())
    if parameters:
        assert sum(p.size for p in ours.parameters()) == parameters


def test_learning_rates_and_initial_weights_equal_paddlesegs():
    paddle.seed(0)
    reference = PaddleSegRTFormer(num_classes=19, **SLIM)
    ours = dict(RTFormer_Slim(num_classes=19).named_parameters())
    for name, p in reference.named_parameters():
        assert ours[name].optimize_attr == p.optimize_attr, name
        assert abs(float(ours[name].mean() - p.mean())) <= 0.3 * float(p.std()) + 1e-6, name
        if p.size > 100:
            np.testing.assert_allclose(float(ours[name].std()), float(p.std()), rtol=0.3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "arguments", [{}, {"use_injection": [True, False], "cross_size": 5, "layer_nums": [1, 3, 2, 2]}]
)
@pytest.mark.parametrize("batch, height, width", [(1, 65, 97), (3, 96, 71)])
def test_predictions_equal_paddlesegs(float64, arguments, batch, height, width):
    reference, ours = pair(**arguments)
    reference.eval()
    ours.eval()
    x = images(batch, height, width)
    with paddle.no_grad():
        assert_close(ours(x)[0], reference(x)[0])


@pytest.mark.parametrize("batch, height, width", [(1, 65, 97), (3, 96, 71)])
def test_training_step_equals_paddlesegs(float64, batch, height, width):
    networks = pair()
    x = images(batch, height, width)
    rng = np.random.default_rng(2)
    pulls = [paddle.to_tensor(rng.standard_normal((batch, 5, height, width))) for _ in range(2)]
    outputs = [network(x) for network in networks]
    for logits, expected in zip_strict(outputs[1], outputs[0]):
        assert_close(logits, expected)
    for both in outputs:
        assert len(both) == 2
        sum((logits * pull).sum() for logits, pull in zip_strict(both, pulls)).backward()

    reference, ours = (dict(network.named_parameters()) for network in networks)
    scale = max(float(p.grad.abs().max()) for p in reference.values() if not p.stop_gradient)
    for name, p in reference.items():
        if not p.stop_gradient:
            expected = p.grad.numpy()  # biases before a batch norm have only rounding
            tolerance = 1e-6 * max(abs(expected).max(), 1e-6 * scale)
            np.testing.assert_allclose(ours[name].grad.numpy(), expected, rtol=0, atol=tolerance, err_msg=name)
    state = networks[1].state_dict()
    for name, value in networks[0].state_dict().items():  # including the running statistics
        assert_close(state[name], value)


def test_paddlesegs_weights_load(tmp_path):
    reference, _ = pair()
    path = str(tmp_path / "model.pdparams")
    paddle.save(reference.state_dict(), path)
    ours = RTFormer(num_classes=5, **TINY_RTFORMER, pretrained=path)
    without_auxiliary = RTFormer(num_classes=5, **TINY_RTFORMER, use_aux_head=False, pretrained=path)
    x = images(1, 64, 64, "float32")
    for network in (reference, ours, without_auxiliary):
        network.eval()
    with paddle.no_grad():
        assert_close(ours(x)[0], reference(x)[0], relative=1e-5)
        assert_close(without_auxiliary(x)[0], reference(x)[0], relative=1e-5)


@pytest.mark.parametrize("injection_there, injection_here", [(True, False), (False, True)])
def test_imagenet_backbone_loads_into_everything_except_the_head(injection_there, injection_here, tmp_path):
    there, _ = pair(use_injection=[True, injection_there])
    backbone = {name: value for name, value in there.state_dict().items() if not name.startswith(("seghead", "spp"))}
    path = str(tmp_path / "backbone.pdparams")
    paddle.save({**backbone, "fc.weight": paddle.ones([16, 1000])}, path)
    state = RTFormer(5, **TINY_RTFORMER, use_injection=[True, injection_here], pretrained=path).state_dict()
    for name, value in backbone.items():
        if name in state:
            np.testing.assert_array_equal(state[name].numpy(), value.numpy(), err_msg=name)
    assert ("layer5.down.2.weight" in state) == injection_here


def test_weights_of_another_network_are_refused(tmp_path):
    state = pair()[0].state_dict()
    path = str(tmp_path / "model.pdparams")
    paddle.save(state, path)
    with pytest.raises(InputError, match="with a different shape"):
        RTFormer(num_classes=5, **{**TINY_RTFORMER, "spp_channels": 16}, pretrained=path)
    paddle.save({name: value for name, value in state.items() if not name.startswith("layer5.mlp_h")}, path)
    with pytest.raises(InputError, match="missing layer5"):
        RTFormer(num_classes=5, **TINY_RTFORMER, pretrained=path)


def test_channels_not_divisible_by_the_heads():
    with pytest.raises(InputError, match="heads that divides the 64 channels, got 7"):
        RTFormer(num_classes=5, **TINY_RTFORMER, num_heads=7)


@pytest.mark.parametrize("momentum", [0.1, 0.9])
def test_batch_norm_momentum(momentum):
    network = RTFormer(num_classes=5, **TINY_RTFORMER, bn_momentum=momentum)
    network.train()
    x = images(2, 64, 64, "float32")
    batch_mean = network.conv1[0](x).mean(axis=[0, 2, 3])
    network(x)
    assert_close(network.conv1[1]._mean, batch_mean * (1 - momentum), relative=1e-5)


@pytest.mark.parametrize("size, height, width", [(3, 9, 12), (5, 8, 17), (12, 16, 32), (12, 7, 12), (8, 1, 25)])
def test_pooling_in_a_graph_takes_the_maximum_of_each_cell(size, height, width, tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 3, height, width), "float32")

    def cells(length):
        return [slice(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]

    expected = [[x[:, :, rows, columns].max(axis=(2, 3)) for columns in cells(width)] for rows in cells(height)]
    expected = np.array(expected).transpose([2, 3, 0, 1])
    pool = AdaptiveMaxPool(size)
    pool.eval()
    np.testing.assert_array_equal(pool(paddle.to_tensor(x)).numpy(), expected)
    for name, shape in (("fixed", (height, width)), ("free", None)):
        save_static(AdaptiveMaxPool(size), str(tmp_path / name), shape)
        np.testing.assert_array_equal(paddle.jit.load(str(tmp_path / name))(paddle.to_tensor(x)).numpy(), expected)


def test_graph_of_free_size_holds_no_operator_that_tensorrt_rejects(tmp_path):
    save_static(RTFormer(num_classes=5, **TINY_RTFORMER), str(tmp_path / "ours"), None)
    assert operator_names(str(tmp_path / "ours")) & REJECTED_BY_TENSORRT == set()
    save_static(paddle.nn.AdaptiveMaxPool2D(12), str(tmp_path / "paddles"), None)  # the check finds one
    assert operator_names(str(tmp_path / "paddles")) & REJECTED_BY_TENSORRT == {"max_pool2d_with_index"}


@pytest.mark.slow
def test_training_through_a_graph_gives_the_same_gradients(float64):
    gradients = []
    for convert in (lambda network: network, lambda network: paddle.jit.to_static(network, full_graph=True)):
        paddle.seed(0)
        network = RTFormer(num_classes=5, **TINY_RTFORMER, drop_path_rate=0.0)
        network.train()
        logits, auxiliary = convert(network)(images(2, 64, 96))
        (logits[:, 0].mean() + auxiliary[:, 1].mean()).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if not p.stop_gradient})
    for name, expected in gradients[0].items():
        tolerance = 1e-5 * max(float(expected.abs().max()), 1e-3)
        np.testing.assert_allclose(gradients[1][name].numpy(), expected.numpy(), rtol=0, atol=tolerance, err_msg=name)


def test_products_of_attention_are_counted():
    convolutions = paddle.nn.Sequential(
        paddle.nn.BatchNorm2D(16), paddle.nn.Conv2D(16, 32, 1, 2), paddle.nn.Conv2D(32, 32, 1)
    )
    attention = GPUFriendlyAttention(16, 32, num_heads=4, stride=2)
    assert count_macs(attention, (6, 10), 16) == count_macs(convolutions, (6, 10), 16)

    x, keys = paddle.zeros([1, 8, 6, 10]), paddle.zeros([1, 8, 9])
    attention = CrossResolutionAttention(8)
    assert attention.macs((x, keys, keys), attention(x, keys, keys)) == 2 * 8 * 6 * 10 * 9  # scores, sums of values
