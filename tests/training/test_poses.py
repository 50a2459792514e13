"""Poses through training and evaluation, on persons that are drawn as three dots of different colours."""

import json

import cv2
import numpy as np
import paddle
import pytest
from comparing import zip_strict

from paddle_rtseg.config import load_config
from paddle_rtseg.data.keypoints import CocoKeypoints
from paddle_rtseg.pose.metrics import pck
from paddle_rtseg.training import poses, run
from paddle_rtseg.training.losses import HeatmapMSELoss

COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))
SKELETON = {"names": ["red", "green", "blue"], "flip_pairs": []}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dots")
    rng = np.random.default_rng(0)
    for mode, count in (("train", 32), ("val", 8)):
        images, annotations = [], []
        for i in range(count):
            image = rng.integers(0, 40, (64, 48, 3), np.uint8)
            points = rng.integers((8, 8), (40, 56), (3, 2))
            for point, colour in zip_strict(points, COLOURS):
                cv2.circle(image, tuple(map(int, point)), 4, colour, -1)
            cv2.imwrite(str(folder / f"{mode}{i}.png"), image)
            images.append({"id": i, "file_name": f"{mode}{i}.png", "width": 48, "height": 64})
            keypoints = [int(n) for point in points for n in (*point, 2)]
            annotations.append({"id": i, "image_id": i, "bbox": [5, 7, 38, 50], "keypoints": keypoints})
        (folder / f"{mode}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


@pytest.fixture
def config(data, tmp_path):
    path = tmp_path / "config.yml"
    dataset = f"type: CocoKeypoints, images: {data}, skeleton: {json.dumps(SKELETON)}, input_size: [48, 64], sigma: 1"
    path.write_text(
        f"""batch_size: 8
iters: 4
model:
  type: SegFormerPPPose
  num_keypoints: 3
  head_channels: 16
  backbone: {{type: MiT_B0, embed_dims: [8, 16, 40, 64], depths: [1, 1, 1, 1]}}
train_dataset: {{{dataset}, annotations: {data}/train.json, mode: train}}
val_dataset: {{{dataset}, annotations: {data}/val.json, mode: val}}
loss: {{types: [{{type: HeatmapMSELoss}}], coef: [100]}}
optimizer: {{type: AdamW}}
lr_scheduler: {{type: PolynomialDecay, learning_rate: 0.005}}
"""
    )
    return load_config(str(path))


@pytest.mark.slow
def test_training_and_evaluation(config, tmp_path, capfd):
    folder = tmp_path / "out"
    with paddle.utils.unique_name.guard():
        run.train(config, str(folder), do_eval=True, save_interval=2, log_iters=1, seed=0, use_ema=True)
    shown = "".join(capfd.readouterr())
    assert shown.count("PCK@0.2:") == 4 and "green" in shown
    assert (folder / "best_model" / "model.pdparams").exists() and (folder / "iter_4" / "ema_model.pdparams").exists()
    config.dic["iters"] = 6
    with paddle.utils.unique_name.guard():
        run.train(config, str(folder), save_interval=2, log_iters=1, seed=0, resume_model=str(folder / "iter_4"))
    assert (folder / "iter_6").exists()
    run.evaluate(config, str(folder / "iter_6" / "model.pdparams"))
    assert "#Persons: 8 PCK@0.2:" in "".join(capfd.readouterr())


class Oracle(paddle.nn.Layer):
    """Finds each colour: a heatmap is high where the image is red, green or blue."""

    def forward(self, x):
        colours = paddle.nn.functional.avg_pool2d(x, 4)
        mean = colours.mean(axis=1, keepdim=True)
        return [paddle.nn.functional.avg_pool2d(colours - mean, 3, stride=1, padding=1)]


@pytest.mark.parametrize("flip_test", [False, True])
def test_an_oracle_finds_the_dots(flip_test, data):
    arguments = {"images": str(data), "skeleton": SKELETON, "input_size": [48, 64], "sigma": 1, "mode": "val"}
    dataset = CocoKeypoints(annotations=str(data / "val.json"), flip_test=flip_test, **arguments)
    first, second, each, keypoints, scores = poses.evaluate(Oracle(), dataset)
    truth = np.stack([person.keypoints for person in dataset.persons])
    boxes = np.stack([person.box for person in dataset.persons])
    shares, mean = pck(keypoints, truth, np.ones((8, 3)), boxes, 0.1)
    assert first == mean > 0.9 and second <= first and scores.shape == (8, 3)
    for found, expected in zip_strict(each, shares):
        assert found == expected
    assert np.median(np.linalg.norm(keypoints - truth, axis=2)) < 2.5


def test_loss_is_the_mean_of_weighted_squares():
    rng = np.random.default_rng(0)
    output, target = rng.standard_normal((2, 2, 3, 4, 5)).astype("float32")
    weights = np.array([[1, 0, 1], [0.5, 1, 0]], "float32")
    found = HeatmapMSELoss()(*map(paddle.to_tensor, (output, target, weights)))
    expected = np.mean([weights[b, k] * (output - target)[b, k] ** 2 for b in range(2) for k in range(3)])
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
