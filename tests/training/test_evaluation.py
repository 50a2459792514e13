"""What evaluations show: the table, and the files that a training leaves, against counts made here."""

import csv

import cv2
import leaves
import numpy as np
import paddle
import pytest
import tiny_training
from comparing import zip_strict
from paddleseg.core import evaluate
from paddleseg.cvlibs import manager

from paddle_rtseg.config import load_config
from paddle_rtseg.data.palettes import distinct_colours
from paddle_rtseg.errors import InputError
from paddle_rtseg.training import evaluation, run


def scores_of(confusion):
    hits, labels, predictions = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return {
            "IoU": hits / (labels + predictions - hits),
            "precision": hits / predictions,
            "recall": hits / labels,
        }


@pytest.fixture
def config(tmp_path):
    data = leaves.write(str(tmp_path))
    path = tmp_path / "config.yml"
    path.write_text(
        f"""data: {data}
batch_size: 2
iters: 4
model: {{type: RTFormer_Slim, base_channels: 8, head_channels: 8, spp_channels: 8, cross_size: 3}}
train_dataset: {{transforms: [{{type: Normalize}}]}}
val_dataset: {{transforms: [{{type: Normalize}}]}}
loss: {{types: [{{type: PixelCrossEntropyLoss}}], coef: [1, 0.4]}}
optimizer: {{type: AdamW}}
lr_scheduler: {{type: PolynomialDecay, learning_rate: 0.01}}
"""
    )
    return load_config(str(path))


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def train(config, folder, **options):
    with paddle.utils.unique_name.guard():  # as a fresh process names its parameters
        run.train(config, str(folder), do_eval=True, save_interval=2, log_iters=1, seed=0, **options)


@pytest.mark.slow
def test_training_leaves_results(config, tmp_path, capfd):
    train(config, tmp_path / "out")
    shown = capfd.readouterr()
    assert "background" in shown.out + shown.err and "rust" in shown.out + shown.err
    folder = tmp_path / "out" / "evaluation"
    head, *rows = rows_of(folder / "results.csv")
    assert head == ["step", "network", "mean_iou", "accuracy", *leaves.NAMES]
    assert [row[:2] for row in rows] == [["2", "model"], ["4", "model"]]
    for row in rows:
        np.testing.assert_allclose(np.mean([float(x) for x in row[4:]]), float(row[2]), atol=1e-5)
    assert cv2.imread(str(folder / "examples.jpg")).shape == (24 + 4 * 240, 4 * 320, 3)
    for name in ("curves", "confusion"):
        picture = cv2.imread(str(folder / f"{name}.png"))
        assert picture.std() > 5
    assert [step for step, _ in evaluation.losses] == [1, 2, 3, 4]

    config.dic["iters"] = 6
    train(config, tmp_path / "out", resume_model=str(tmp_path / "out" / "iter_4"))
    _, *rows = rows_of(folder / "results.csv")
    assert [row[0] for row in rows] == ["2", "4", "6"]


def test_empty_path_to_resume_from(config, tmp_path):
    with pytest.raises(InputError, match=r"complete checkpoint, .* got ''"):
        train(config, tmp_path / "out", resume_model="")


@pytest.mark.slow
def test_paddleseg_alone_keeps_nothing(config, tmp_path, without, capfd):
    with without("table of the classes"), without("curve of the loss"):
        train(config, tmp_path / "out")
    assert "Class Precision" in "".join(capfd.readouterr()) and not evaluation.losses
    assert not (tmp_path / "out" / "evaluation").exists()


def test_watch_counts_like_numpy(tmp_path):
    data = leaves.write(str(tmp_path))
    dataset = load_dataset(data)
    dataset.display = evaluation.Display(
        leaves.NAMES, distinct_colours(leaves.NAMES), str(tmp_path / "out"), iter([(7, "ema")])
    )
    watch = evaluation.Watch(dataset)
    confusion = np.zeros((3, 3), np.int64)
    rng = np.random.default_rng(0)
    for i in range(4):
        label = cv2.imread(dataset.file_list[i][1], cv2.IMREAD_UNCHANGED)
        label[:3] = 255
        mask = np.where(rng.random(label.shape) < 0.7, np.minimum(label, 2), rng.integers(0, 3, label.shape))
        for true, found in zip_strict(label[3:].ravel(), mask[3:].ravel()):
            confusion[true, found] += 1
        watch.add(*(paddle.to_tensor(array[None, None].astype("int64")) for array in (mask, label)))
    np.testing.assert_array_equal(watch._confusion, confusion)
    counts = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    text = watch.finish(0.5, 0.9, scores_of(confusion), *map(paddle.to_tensor, counts))
    iou = scores_of(confusion)["IoU"]
    assert text.splitlines()[2].split()[:2] == ["leaf", f"{100 * iou[1]:.2f}"]
    assert text.splitlines()[2].split()[-1] == f"{confusion[1].sum() / confusion.sum():.3%}"
    folder = tmp_path / "out" / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png",
        "ema_confusion.png",
        "ema_examples.jpg",
        "results.csv",
    ]
    page = cv2.imread(str(folder / "ema_examples.jpg"))
    errors = page[24:264, 960:]
    wrong = errors[..., 1] < 150  # red, against light grey
    assert 0.05 < wrong.mean() < 0.5


def test_scores_that_are_not_defined(tiny_images, capsys):
    """A fifth class, which never occurs; PaddleSeg counts it as 0, or since 2.9 as 1."""
    data = tiny_training.dataset(tiny_images, "val")
    data.num_classes = 5
    mean, _, iou, _, _ = evaluate(tiny_training.PixelNet(), data)
    foot = capsys.readouterr().out.partition("[EVAL] in percent:\n")[2].splitlines()[5:7]
    assert foot[0].split() == ["4", "-", "-", "-", "0.000%"]
    assert foot[1].startswith(f"-: not defined; mean IoU of all 5 classes: {mean:.2%}, where the 1 in neither")
    assert f"count as {iou[4]:g}; mean IoU of the others: {np.mean(iou[:4]):.2%}" in foot[1]
    np.testing.assert_allclose(mean, iou.mean(), atol=1e-6)


def test_one_ratio_may_be_undefined():
    """A class that is labelled and never predicted, and one the other way round."""
    scores = {name: np.zeros(2) for name in ("IoU", "precision", "recall")}
    found = evaluation.defined(scores, np.array([0, 0]), np.array([0, 9]), np.array([9, 0]))
    assert {name: np.isnan(values).tolist() for name, values in found.items()} == {
        "IoU": [False, False],
        "precision": [True, False],
        "recall": [False, True],
    }


def load_dataset(data):
    from paddle_rtseg.data.dataset_file import read_dataset_file

    arguments = read_dataset_file(data).as_config("val")
    return manager.DATASETS[arguments.pop("type")](transforms=[], **arguments)


def test_rows_of_another_training_are_refused(tmp_path):
    path = str(tmp_path / "results.csv")
    evaluation.add_row(path, ["a", "b"], (10, "model", 0.5, 0.6, 0.4, 0.6))
    rows = evaluation.add_row(path, ["a", "b"], (10, "model", 0.25, 0.6, 0.4, 0.1))
    assert rows == [["10", "model", "0.250000", "0.600000", "0.400000", "0.100000"]]
    with pytest.raises(InputError, match="expected results of a, c in"):
        evaluation.add_row(path, ["a", "c"], (10, "model", 0.5, 0.6, 0.4, 0.6))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((0, 10, 25, ["model"]), [(10, "model"), (20, "model"), (25, "model")]),
        ((20, 10, 40, ["model"]), [(30, "model"), (40, "model")]),
        ((5, 10, 10, ["model", "ema"]), [(10, "model"), (10, "ema")]),
    ],
)
def test_steps_of_evaluations(arguments, expected):
    assert list(evaluation.steps_of_evaluations(*arguments)) == expected
