"""Losses that do not fit the outputs of a network are refused before the data are read."""

import random

import numpy as np
import paddle
import pytest
import tiny_models
from paddle import nn
from paddleseg.core.train import check_logits_losses, loss_computation
from paddleseg.models import BiSeNetV2, FastSCNN
from paddleseg.models.losses import DistillCrossEntropyLoss, PointCrossEntropyLoss

from paddle_rtseg.errors import InputError
from paddle_rtseg.training.outputs import check_losses, explaining_components


class Outputs(nn.Layer):
    """As many outputs in training as ``count``, of images of at least ``side`` pixels."""

    def __init__(self, count, side=0):
        super().__init__()
        self.count, self.side = count, side
        self.norm = nn.BatchNorm2D(3)

    def forward(self, x):
        assert x.shape[2] >= self.side
        return [nn.functional.dropout(self.norm(x)) for _ in range(self.count if self.training else 1)]


class OwnLosses(Outputs):
    def loss_computation(self, logits_list, losses, data):
        raise NotImplementedError


def losses(count):
    return {"types": [None] * count, "coef": [1] * count}


def rtformer(**arguments):
    return tiny_models.create(tiny_models.CASES[0]._replace(arguments={**tiny_models.TINY_RTFORMER, **arguments}))


@pytest.mark.parametrize("case", tiny_models.LARGE_CASES, ids=lambda case: case.name)
def test_our_networks(case):
    outputs = 2 if case.model.startswith("RTFormer") else 1
    model = tiny_models.create(case)
    check_losses(model, losses(outputs), 3)
    with pytest.raises(
        InputError, match=f"each output of {type(model).__name__} in training, {outputs}, got {outputs + 1}; set"
    ):
        check_losses(model, losses(outputs + 1), 3)


def test_without_auxiliary_output():
    check_losses(rtformer(use_aux_head=False), losses(1), 3)


@pytest.mark.parametrize("network, outputs", [(BiSeNetV2, 5), (FastSCNN, 2)])
def test_networks_of_paddleseg(network, outputs):
    model = network(num_classes=3)
    check_losses(model, losses(outputs), 3)
    with pytest.raises(InputError, match=f"in training, {outputs}, got 1; set loss.coef to a list of {outputs}"):
        check_losses(model, losses(1), 3)


def test_channels():
    check_losses(rtformer(in_channels=1), losses(2), 1)
    with pytest.raises(InputError):
        check_losses(rtformer(in_channels=1), losses(3), 1)


def test_only_large_images():
    with pytest.raises(InputError):
        check_losses(Outputs(2, side=512), losses(1), 3)
    check_losses(Outputs(2, side=513), losses(1), 3)


def test_a_network_that_computes_its_losses():
    check_losses(OwnLosses(2), losses(1), 3)


def test_leaves_no_trace():
    """A run with the check is the run without it."""
    model = Outputs(1)
    model.eval()
    before = {name: value.numpy() for name, value in model.state_dict().items()}

    def draw():
        return random.random(), float(np.random.rand()), float(paddle.rand([1]))

    def seed():
        random.seed(1), np.random.seed(1), paddle.seed(1)

    seed()
    expected = draw()
    seed()
    check_losses(model, losses(1), 3)
    assert draw() == expected and not model.training
    assert all(np.array_equal(before[name], value.numpy()) for name, value in model.state_dict().items())


def test_what_only_the_loop_finds():
    with pytest.raises(InputError, match="each output of Outputs in training, 2, got 1"):
        with explaining_components(Outputs(2)):
            check_logits_losses([None] * 2, losses(1))
    with pytest.raises(RuntimeError, match="something else"):
        with explaining_components(Outputs(2)):
            raise RuntimeError("something else")


@pytest.mark.parametrize("loss", [PointCrossEntropyLoss, DistillCrossEntropyLoss])
def test_loss_of_another_kind_of_output(loss):
    words = f"{loss.__name__} cannot be used on an output of Outputs: .*; choose another"
    with pytest.raises(InputError, match=words):
        with explaining_components(Outputs(1)):
            labels = paddle.zeros([1, 8, 8], "int64")
            loss_computation([paddle.zeros([1, 3, 8, 8])], labels, None, {"types": [loss()], "coef": [1]})
