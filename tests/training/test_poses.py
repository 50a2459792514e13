"""Poses through training and evaluation, on persons that are drawn as three dots of different colours."""

import csv
import importlib.util

import cv2
import numpy as np
import paddle
import persons
import pytest
from comparing import load_arrays, zip_strict
from rtseg_inference import processor
from tiny_configs import run_command, write_config

from paddle_rtseg.config import Builder, load_config
from paddle_rtseg.data.keypoints import CocoKeypoints
from paddle_rtseg.errors import InputError
from paddle_rtseg.pose.metrics import pck
from paddle_rtseg.training import checkpoints, pose_report, poses, run
from paddle_rtseg.training.losses import HeatmapMSELoss
from paddle_rtseg.training.prediction import predict


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return persons.write(tmp_path_factory.mktemp("dots"))


@pytest.fixture
def config(data, tmp_path):
    return load_config(write_config(tmp_path / "config.yml", persons.config(data)))


def train(config, folder, **options):
    with paddle.utils.unique_name.guard():  # as a fresh process names its parameters
        run.train(config, str(folder), save_interval=2, log_iters=1, seed=0, **options)


def rows_of(folder):
    with open(folder / "evaluation" / "results.csv", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.slow
def test_training_and_evaluation(config, tmp_path, capfd):
    folder = tmp_path / "out"
    train(config, folder, do_eval=True, use_ema=True)
    shown = "".join(capfd.readouterr())
    assert shown.count("#Persons: 8 PCK@0.2:") == shown.count("Without the flip test: PCK@0.2:") == 4
    assert "best validation PCK@0.1 (" in shown and "mIoU" not in shown
    assert (folder / "best_model" / "model.pdparams").exists() and (folder / "iter_4" / "ema_model.pdparams").exists()
    head, *rows = rows_of(folder)
    assert head == ["step", "network", "pck_0.1", "pck_0.2", "pck_0.05", "ap", "red", "green", "blue"]
    assert [row[:2] for row in rows] == [[step, network] for step in "24" for network in ("model", "ema")]
    for row in rows:
        assert float(row[2]) == pytest.approx(np.mean([float(share) for share in row[6:]]), abs=1e-5)
    assert cv2.imread(str(folder / "evaluation" / "curves.png")).std() > 5
    for prefix in ("", "ema_"):  # eight persons of 320 x 240 pixels, twice
        page = cv2.imread(str(folder / "evaluation" / f"{prefix}examples.jpg"))
        assert page.shape == (2 * (24 + 320), 8 * 240, 3)
    best = max(float(row[2]) for row in rows if row[1] == "model")
    assert checkpoints.best_score(str(folder), "best_model", "iter_4")[0] == pytest.approx(best, abs=1e-5)

    config.dic["iters"] = 6
    train(config, folder, do_eval=True, use_ema=True, resume_model=str(folder / "iter_4"))
    assert [row[0] for row in rows_of(folder)[1:]] == ["2", "2", "4", "4", "6", "6"]
    capfd.readouterr()
    run.evaluate(config, str(folder / "iter_6" / "model.pdparams"))
    assert f"PCK@0.1: {float(rows_of(folder)[-2][2]):.4f}" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_resumed_training_gives_the_same_weights(config, tmp_path):
    train(config, tmp_path / "whole")
    train(config, tmp_path / "parts")
    (tmp_path / "parts" / "iter_4").rename(tmp_path / "parts" / "gone")
    train(config, tmp_path / "parts", resume_model="auto")
    whole, parts = (load_arrays(tmp_path / name / "iter_4" / "model.pdparams") for name in ("whole", "parts"))
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)


@pytest.mark.slow
def test_the_log_of_paddleseg_alone_names_another_score(config, tmp_path, without, capfd):
    config.dic["iters"] = 2
    with without("names of the scores"):
        train(config, tmp_path / "out", do_eval=True)
    assert "best validation mIoU (" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_other_precisions(config, tmp_path):
    """fp16 changes nothing on a CPU, but takes another way through PaddleSeg's loop."""
    config.dic["iters"] = 2
    trained = {}
    for precision in ("fp32", "fp16", *(["bf16"] if "avx512f" in processor.flags() else [])):
        train(config, tmp_path / precision, precision=precision)
        trained[precision] = load_arrays(tmp_path / precision / "iter_2" / "model.pdparams")
    full = trained.pop("fp32")
    for precision, low in trained.items():
        difference = max(np.abs(low[name] - values).max() for name, values in full.items())
        assert (0 < difference < 0.1) if precision == "bf16" else difference < 1e-5, precision


def test_repeats_lengthen_an_epoch(data):
    arguments = {"skeleton": persons.SKELETON, "input_size": [48, 64], "mode": "val"}
    dataset = CocoKeypoints(f"{data}/val.json", data, **arguments)
    dataset.file_list *= 3  # as training does for --repeats 3
    assert len(dataset) == 24
    np.testing.assert_array_equal(dataset[9]["img"], dataset[1]["img"])


@pytest.mark.parametrize("sigmas", [True, False])
def test_average_precision_where_it_can_be_computed(sigmas, data, monkeypatch, capfd):
    skeleton = persons.SKELETON if sigmas else {key: persons.SKELETON[key] for key in ("names", "flip_pairs")}
    dataset = CocoKeypoints(f"{data}/val.json", data, mode="val", skeleton=skeleton, input_size=[48, 64])
    if sigmas:
        pytest.importorskip("pycocotools")
        truth = np.stack([person.keypoints for person in dataset.persons])
        assert poses.score(poses.Found(truth, np.ones((8, 3))), dataset).average_precision["AP"] == pytest.approx(1)
        assert poses.score(poses.Found(truth + 9, np.ones((8, 3))), dataset).average_precision["AP"] < 0.9
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pycocotools" else find(name))
    poses.evaluate(Oracle(), dataset)
    shown = "".join(capfd.readouterr())
    reason = 'it needs pycocotools, pip install "paddle_rtseg[coco]"' if sigmas else "the skeleton has no sigmas"
    assert shown.count(f"; no AP: {reason}") == 1 and "AP:" not in shown.replace("no AP:", "")


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


def test_examples_show_labels_and_predictions(data):
    """Where both are equal, so are the rows; a keypoint that is not labelled is not drawn."""
    arguments = {"skeleton": persons.SKELETON, "input_size": [48, 64], "mode": "val"}
    dataset = CocoKeypoints(f"{data}/val.json", data, **arguments)
    truth = np.stack([person.keypoints for person in dataset.persons])

    def rows(keypoints):
        page = pose_report.examples(dataset, keypoints)
        return page[24:344], page[368:]

    labels, predictions = rows(truth)
    np.testing.assert_array_equal(labels, predictions)
    moved = truth.copy()
    moved[:, 1] += 5
    same, others = rows(moved)
    np.testing.assert_array_equal(same, labels)
    assert (others != labels).any(axis=(0, 2)).reshape(8, 240).any(axis=1).all()
    for person in dataset.persons:
        person.visible[1] = 0
    first, second = rows(moved)
    np.testing.assert_array_equal(first, second)


def test_loss_is_the_mean_of_weighted_squares():
    rng = np.random.default_rng(0)
    output, target = rng.standard_normal((2, 2, 3, 4, 5)).astype("float32")
    weights = np.array([[1, 0, 1], [0.5, 1, 0]], "float32")
    found = HeatmapMSELoss()(*map(paddle.to_tensor, (output, target, weights)))
    expected = np.mean([weights[b, k] * (output - target)[b, k] ** 2 for b in range(2) for k in range(3)])
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


HAND = {"names": ["a", "b"], "flip_pairs": [["a", "b"]]}
BAD_CONFIGS = [
    (
        {"model.num_keypoints": 4},
        "a heatmap for each of the 3 keypoints of train_dataset's skeleton, got num_keypoints 4",
    ),
    ({"val_dataset.skeleton": HAND}, "a heatmap for each of the 2 keypoints of val_dataset's skeleton"),
    ({"model.num_keypoints": 0}, "a whole number from 1 to 65536 as SegFormerPPPose's num_keypoints"),
    ({"train_dataset.skeleton": "hand.yml"}, "hand.yml"),
    ({"train_dataset.skeleton": {**HAND, "flip_pairs": [["a", "b"], ["b", "a"]]}}, "in one flip pair at most"),
    ({"train_dataset.skeleton": {**HAND, "flip_pairs": [["a", "a"]]}}, "in one flip pair at most"),
    ({"train_dataset.skeleton": {**HAND, "sigmas": [0.1]}}, "expected 2 sigmas"),
    ({"train_dataset.skeleton": {**HAND, "sigmas": [0.1, 0.0]}}, "expected 2 sigmas above 0"),
    ({"train_dataset.input_size": [50, 64]}, "multiples of 4, got .50, 64"),
    ({"train_dataset.input_size": "64"}, "expected input_size of CocoKeypoints to be a list"),
    ({"train_dataset.sigma": -1}, "a sigma above 0"),
    ({"train_dataset.annotation": "x"}, "CocoKeypoints does not take 'annotation'; did you mean 'annotations'"),
    ({"model.backbone.token_merging": "hq"}, "at least 97 x 97 pixels, got 64 x 48"),
    ({"model.type": "SegFormerPP", "model.num_keypoints": None}, "a network with num_keypoints for CocoKeypoints"),
    ({"train_dataset": {"type": "Cityscapes"}}, "got SegFormerPPPose and Cityscapes as train_dataset"),
    (
        {"loss.types": [{"type": "CrossEntropyLoss"}]},
        "HeatmapMSELoss for a network with num_keypoints, .* CrossEntropyL",
    ),
]


@pytest.mark.parametrize("changes, words", BAD_CONFIGS)
def test_bad_configs(changes, words, data, tmp_path):
    content = persons.config(data)
    for key, value in changes.items():
        *parents, last = key.split(".")
        part = content
        for parent in parents:
            part = part[parent]
        part[last] = value
        if value is None:
            del part[last]
    path = write_config(tmp_path / "config.yml", content)
    with pytest.raises(InputError, match=words) as e:
        run_command("train", "--config", path, "--save_dir", tmp_path / "out", "--device", "cpu", "--do_eval")
    assert "\n" not in str(e.value) and len(str(e.value)) < 500
    assert not (tmp_path / "out" / "iter_4").exists()


def test_weights_of_another_number_of_keypoints(config, data, tmp_path):
    other = persons.config(data)
    other["model"]["num_keypoints"] = 2
    other["train_dataset"]["skeleton"] = other["val_dataset"]["skeleton"] = HAND
    weights = str(tmp_path / "two.pdparams")
    paddle.save(Builder(load_config(write_config(tmp_path / "two.yml", other))).model.state_dict(), weights)
    with pytest.raises(InputError, match=r"head\.classifier"):
        run.evaluate(config, weights)


def test_predict_is_for_segmentation(config, data, tmp_path):
    with pytest.raises(InputError, match="expected a network for segmentation, got one for poses"):
        predict(config, None, str(data), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.slow
def test_bad_images_end_a_training_with_a_sentence(workers, tmp_path):
    folder = persons.write(tmp_path, train=4, val=2)
    cv2.imwrite(f"{folder}/train2.png", np.zeros((10, 10, 3), np.uint8))
    config = load_config(write_config(tmp_path / "config.yml", persons.config(folder, batch_size=4)))
    with pytest.raises(InputError, match=r"to have the 48 x 64 pixels that .* states, got 10 x 10; correct the file"):
        train(config, tmp_path / "out", num_workers=workers)
