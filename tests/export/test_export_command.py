"""``python -m paddleseg.export`` takes PaddleSeg's flags and turns a config and weights into a folder that runs."""

import os

import cv2
import numpy as np
import paddle
import pytest
import yaml
from processes import python
from rtseg_inference import InputError, Predictor
from rtseg_inference.contract import Preprocessing
from tiny_configs import TRAINED, run_command, tiny_config, write_config
from tiny_network import FRAMES, assert_same_mask, dygraph_logits

import paddle_rtseg

pytestmark = pytest.mark.slow

RESIZED = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A tiny RTFormer, with its config and weights in the current folder."""
    monkeypatch.chdir(tmp_path)
    image, label = str(tmp_path / "image.png"), str(tmp_path / "label.png")
    cv2.imwrite(image, np.zeros((64, 96, 3), np.uint8))
    cv2.imwrite(label, np.zeros((64, 96), np.uint8))
    (tmp_path / "list.txt").write_text(f"{image} {label}\n")
    transforms = [{"type": "Resize", "target_size": [128, 96]}, {"type": "Normalize"}]
    write_config("config.yml", tiny_config(tmp_path, num_classes=3, transforms=transforms))
    paddle.seed(7)
    model = create(num_classes=3)
    paddle.save(model.state_dict(), "weights.pdparams")
    model.eval()
    return model


def create(num_classes):
    arguments = {**TRAINED, "num_classes": num_classes}
    return paddle_rtseg.create_model(arguments.pop("type"), **arguments)


def run(*arguments):
    return run_command("export", "--device", "cpu", "--config", "config.yml", *arguments)


def test_same_mask_as_the_model(trained):
    run("--model_path", "weights.pdparams", "--save_dir", "out", "--input_shape", "-1", "3", "96", "128")
    frame = cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))
    small = cv2.resize(frame.astype(np.float32), (128, 96), interpolation=cv2.INTER_LINEAR)
    expected = dygraph_logits(trained, [small], RESIZED)[0].argmax(axis=0).astype(np.uint8)
    found = Predictor("out").predict(frame).mask
    assert (found == cv2.resize(expected, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)).mean() > 0.999


def test_logits_give_the_mask_of_paddlesegs_predict(trained):
    run("--model_path", "weights.pdparams", "--save_dir", "out", "--output_op", "logits")
    frame = cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))
    small = cv2.resize(frame.astype(np.float32), (128, 96), interpolation=cv2.INTER_LINEAR)
    logits = dygraph_logits(trained, [small], RESIZED)
    full = paddle.nn.functional.interpolate(paddle.to_tensor(logits), frame.shape[:2], mode="bilinear").numpy()[0]
    assert_same_mask(Predictor("out").predict(frame).mask, full)


def test_files_for_fastdeploy(trained):
    run("--model_path", "weights.pdparams", "--save_dir", "out", "--for_fd")
    assert {"inference.yml", "inference.pdiparams", "deploy.yaml"} <= set(os.listdir("out"))
    with open(os.path.join("out", "inference.yml")) as f:
        assert os.path.isfile(os.path.join("out", yaml.safe_load(f)["Deploy"]["model"]))


def test_weights_are_required_and_must_fit(trained):
    with pytest.raises(InputError, match="--model_path"):
        run("--save_dir", "out")
    paddle.save(create(num_classes=4).state_dict(), "other.pdparams")
    with pytest.raises(InputError):
        run("--model_path", "other.pdparams", "--save_dir", "out")
    assert not os.path.exists("out")


def test_script_is_the_same_command():
    script = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "export.py")
    shown = python(script, "--help", check=True).stdout
    assert "--output_op" in shown and "--for_fd" in shown
