"""Convolutions and softmax through oneDNN against Paddle's own."""

import copy
import os

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from comparing import zip_strict
from paddle import nn
from processes import python
from rtseg_inference import processor

from paddle_rtseg.errors import InputError
from paddle_rtseg.training import onednn

pytestmark = pytest.mark.skipif(not onednn.available(), reason="this Paddle has no oneDNN for the CPU")

CASES = [
    # channels in, out, kernel, stride, padding, dilation, groups, bias
    (3, 16, 3, 2, 1, 1, 1, True),
    (16, 24, 3, 1, 1, 1, 1, False),
    (16, 24, (3, 1), (2, 1), (1, 0), 1, 1, True),
    (16, 16, 3, 1, 2, 2, 1, False),
    (16, 16, 3, 1, 1, 1, 16, True),
    (16, 32, 3, 1, 1, 1, 4, False),
    (20, 11, 1, 1, 0, 1, 1, True),
]


def run(layer, image, gradient=None):
    """Output and the gradients of image and parameters."""
    x = paddle.to_tensor(image, stop_gradient=False)
    y = layer(x)
    y.backward(paddle.to_tensor(np.random.default_rng(1).standard_normal(y.shape, dtype="float32")))
    gradients = [p.grad.numpy() for p in layer.parameters()]
    layer.clear_gradients()
    return [y.numpy(), x.grad.numpy(), *gradients]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-5), ("bf16", 2e-2)])
def test_convolution_equals_paddle(case, precision, tolerance):
    if processor.obstacle(precision):
        pytest.skip(processor.obstacle(precision))
    channels, out, kernel, stride, padding, dilation, groups, bias = case
    plain = nn.Conv2D(channels, out, kernel, stride, padding, dilation, groups, bias_attr=None if bias else False)
    if bias:
        plain.bias.set_value(np.random.default_rng(2).standard_normal(out, dtype="float32"))
    fast = copy.deepcopy(plain)
    assert onednn.accelerate(fast, precision) == 1
    image = np.random.default_rng(0).standard_normal((2, channels, 13, 18), dtype="float32")
    for expected, got in zip_strict(run(plain, image), run(fast, image)):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("instruction_set", "needed"), [("SSE41", "sse4_1"), ("AVX2", "avx2"), ("AVX512_CORE", "avx512bw")]
)
def test_lesser_instruction_sets(instruction_set, needed):
    """The tests of this file again, on processors that lack what this one has."""
    if needed not in processor.flags():
        pytest.skip(f"this processor has no {needed}")
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("ONEDNN_MAX_CPU_ISA holds this run to an instruction set already")
    pytest_command = ["-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", "not lesser_instruction_sets"]
    done = python(*pytest_command, check=True, ONEDNN_MAX_CPU_ISA=instruction_set)
    skipped = f"{len(CASES)} skipped" in done.stdout  # the bf16 ones
    assert skipped == (not instruction_set.startswith("AVX512"))


@pytest.mark.parametrize("shape", [(1, 5, 8, 8), (3, 8, 8)])
def test_images_that_do_not_fit_are_refused_as_by_paddle(shape):
    fast = nn.Conv2D(3, 4, 3)
    onednn.accelerate(fast)
    with pytest.raises(ValueError, match="Expected in"):  # the channels, or the number of dimensions
        fast(paddle.ones(shape))


def test_bf16_without_avx512_is_refused(monkeypatch):
    monkeypatch.setattr(processor, "flags", lambda: frozenset({"avx2"}))
    layer = nn.Conv2D(3, 4, 3)
    with pytest.raises(InputError, match="expected a processor with AVX-512 for bf16, got one without avx512f"):
        onednn.accelerate(layer, "bf16")
    assert type(layer) is nn.Conv2D
    assert onednn.accelerate(layer, "fp32") == 1


def test_strided_views_and_shared_weights():
    """A transposed image, a transposed gradient, and one weight used twice."""
    plain = nn.Conv2D(8, 8, 3, padding=1)
    fast = copy.deepcopy(plain)
    onednn.accelerate(fast)
    image = np.random.default_rng(0).standard_normal((2, 8, 9, 7), dtype="float32")

    def twice(layer):
        x = paddle.to_tensor(image, stop_gradient=False)
        y = layer(layer(x.transpose([0, 1, 3, 2])).transpose([0, 1, 3, 2]))
        (y.transpose([0, 2, 3, 1]) ** 2).sum().backward()
        return [y.numpy(), x.grad.numpy(), layer.weight.grad.numpy(), layer.bias.grad.numpy()]

    for expected, got in zip_strict(twice(plain), twice(fast)):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_frozen_parts_get_no_gradient():
    layer = nn.Conv2D(3, 4, 3, padding=1)
    onednn.accelerate(layer)
    layer.weight.stop_gradient = True
    layer(paddle.ones([1, 3, 8, 8])).sum().backward()
    assert layer.weight.grad is None
    np.testing.assert_allclose(layer.bias.grad.numpy(), 64)


def test_only_plain_convolutions_are_accelerated():
    model = nn.Sequential(
        nn.Conv2D(3, 4, 3, padding="SAME"),
        nn.Conv2D(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2D(4, 4, 3, padding=[1, 0, 1, 0]),
        nn.Conv2DTranspose(4, 4, 2),
        nn.Conv2D(4, 4, 3, padding=1),
    )
    assert onednn.accelerate(model) == 1
    assert [type(layer) is onednn.Conv2D for layer in model] == [False] * 4 + [True]


def test_state_and_static_graph_are_unchanged():
    layer = nn.Conv2D(3, 4, 3, padding=1)
    names = list(layer.state_dict())
    image = paddle.randn([1, 3, 8, 8])
    expected = layer(image).numpy()
    onednn.accelerate(layer)
    assert list(layer.state_dict()) == names
    static = paddle.jit.to_static(layer, full_graph=True)
    np.testing.assert_allclose(static(image).numpy(), expected, atol=1e-5)


def test_flops_are_still_counted():
    model = nn.Sequential(nn.Conv2D(3, 4, 3, padding=1))
    expected = paddle.flops(model, [1, 3, 8, 8])
    onednn.accelerate(model)
    assert paddle.flops(model, [1, 3, 8, 8]) == expected > 0


def test_unknown_precision():
    with pytest.raises(InputError, match="expected precision fp32 or bf16, got 'fp8'"):
        onednn.accelerate(nn.Conv2D(3, 4, 3), "fp8")


@pytest.mark.parametrize("axis", [1, -1])
def test_softmax_equals_paddle(axis):
    x = paddle.randn([2, 11, 5, 7]) * 10
    np.testing.assert_allclose(onednn.softmax(x, axis).numpy(), F.softmax(x, axis).numpy(), atol=1e-6)
