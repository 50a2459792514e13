"""A student learns from its teacher's predictions beside the labels."""

import copy

import numpy as np
import paddle
import pytest
import tiny_training
from comparing import assert_states_close, largest_difference, load_arrays
from paddleseg.models.losses import CrossEntropyLoss, KLLoss
from tiny_configs import TRAINED, run_command, tiny_config, write_config

import paddle_rtseg
from paddle_rtseg.training.distillation import Distillation
from paddle_rtseg.weights import save_state


def batch():
    random = np.random.default_rng(0)
    label = random.integers(0, 4, (2, 8, 8))
    label[:, :2] = 255
    return {
        "img": paddle.to_tensor(random.normal(size=(2, 3, 8, 8)).astype("float32")),
        "label": paddle.to_tensor(label.astype("uint8")),
    }


def test_losses():
    """The student's own, then the divergence from the teacher over the labelled pixels, against NumPy."""
    paddle.seed(0)
    student, teacher = tiny_training.PixelNet(), tiny_training.PixelNet()
    data = batch()
    outputs = student(data["img"])
    own = {"types": [CrossEntropyLoss()] * 2, "coef": [1, 0.5]}
    found = Distillation(teacher, {"types": [KLLoss(temperature=2)], "coef": [3]})(outputs, own, data)
    assert len(found) == 3
    expected = CrossEntropyLoss()(outputs[1], data["label"].astype("int64"))
    assert float(found[1]) == pytest.approx(0.5 * float(expected), rel=1e-6)

    counts = data["label"].numpy() != 255
    q, p = (_log_softmax(x.numpy().astype("float64") / 2) for x in (outputs[0], teacher.head(data["img"])))
    divergence = (np.exp(p) * (p - q)).sum(axis=1)[counts].mean()
    assert float(found[2]) == pytest.approx(3 * 2**2 * divergence / 4, rel=1e-5)  # KLLoss's mean is over classes too

    found[2].backward()
    assert teacher.head.weight.grad is None
    assert float(student.head.weight.grad.abs().sum()) > 0


def _log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_copies_share_the_teacher():
    student = tiny_training.PixelNet()
    student.loss_computation = Distillation(tiny_training.PixelNet(), {"types": [], "coef": []})
    assert copy.deepcopy(student).loss_computation is student.loss_computation
    assert student.state_dict().keys() == tiny_training.PixelNet().state_dict().keys()


def train(folder, images, **parts):
    config = write_config(folder / "config.yml", tiny_config(images, optimizer={"type": "AdamW"}, **parts))
    options = ["--config", config, "--device", "cpu", "--seed", 1, "--save_dir", folder / "out", "--iters", 2]
    run_command("train", *options, "--use_ema")
    return load_arrays(folder / "out" / "iter_2" / "model.pdparams")


def test_training(tiny_images, tmp_path):
    """The command: the weights differ from those without a teacher, by nothing where its coefficient is 0."""
    arguments = {name: value for name, value in TRAINED.items() if name != "type"}
    trained = paddle_rtseg.create_model(TRAINED["type"], num_classes=4, **arguments)
    save_state({name: value.numpy() for name, value in trained.state_dict().items()}, tmp_path / "w.pdparams")
    teacher = {**TRAINED, "num_classes": 4, "pretrained": str(tmp_path / "w.pdparams")}
    states = []
    for name, parts in {
        "without": {},
        "zero": {"teacher": teacher, "distill_loss": {"types": [{"type": "KLLoss"}], "coef": [0]}},
        "with": {"teacher": teacher, "distill_loss": {"types": [{"type": "KLLoss"}], "coef": [4]}},
    }.items():
        (tmp_path / name).mkdir()
        states.append(train(tmp_path / name, tiny_images, **parts))
    without, zero, distilled = states
    assert_states_close(zero, without, rtol=1e-6)
    assert distilled.keys() == without.keys()
    assert largest_difference(distilled, without) > 1e-3
