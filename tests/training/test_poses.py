"""Poses through training and evaluation, on persons that are drawn as three dots of different colours."""

import numpy as np
import paddle
import persons
import pytest
from comparing import zip_strict
from tiny_configs import write_config

from paddle_rtseg.config import load_config
from paddle_rtseg.data.keypoints import CocoKeypoints
from paddle_rtseg.pose.metrics import pck
from paddle_rtseg.training import poses, run
from paddle_rtseg.training.losses import HeatmapMSELoss


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return persons.write(tmp_path_factory.mktemp("dots"))


@pytest.fixture
def config(data, tmp_path):
    return load_config(write_config(tmp_path / "config.yml", persons.config(data)))


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
    arguments = {"images": data, "skeleton": persons.SKELETON, "input_size": [48, 64], "sigma": 1, "mode": "val"}
    dataset = CocoKeypoints(annotations=f"{data}/val.json", flip_test=flip_test, **arguments)
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
