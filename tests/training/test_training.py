"""Every way to train and to evaluate runs once, through the commands, on a tiny RTFormer and eight tiny images."""

import importlib
import re
import sys

import numpy as np
import paddle
import pytest
import tiny_training
import yaml
from paddleseg.core import evaluate
from visualdl import LogReader

from paddle_rtseg.training import checkpoints


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    """train() sleeps for a second at its end."""
    monkeypatch.setattr(sys.modules["paddleseg.core.train"].time, "sleep", lambda seconds: None)


@pytest.fixture(scope="session")
def config(tiny_images, tmp_path_factory):
    dataset = {"type": "Dataset", "dataset_root": tiny_images, "num_classes": tiny_training.NUM_CLASSES}
    dataset["transforms"] = [{"type": "Normalize"}]
    losses = [{"type": "CrossEntropyLoss"}, {"type": "OhemCrossEntropyLoss", "min_kept": 100}]
    content = {
        "batch_size": 4,
        "iters": 2,
        "train_dataset": {**dataset, "mode": "train", "train_path": f"{tiny_images}/list.txt"},
        "val_dataset": {**dataset, "mode": "val", "val_path": f"{tiny_images}/list.txt"},
        "model": {"type": "RTFormer_Slim", "layer_nums": [1, 1, 1], "base_channels": 8, "head_channels": 8},
        "optimizer": {"type": "AdamW"},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.01, "end_lr": 0, "power": 0.9},
        "loss": {"types": losses, "coef": [1, 0.4]},
    }
    path = tmp_path_factory.mktemp("config") / "tiny.yml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def train(config, tmp_path):
    """``train(*arguments)``: train into a folder of the test's own, and return it."""

    def run(*arguments, save_dir="out"):
        folder = tmp_path / save_dir
        call("train", config, "--seed", "1", "--save_interval", "2", "--save_dir", str(folder), *arguments)
        return folder

    return run


@pytest.fixture(scope="session")
def weights(config, tmp_path_factory):
    """A file of trained weights."""
    folder = tmp_path_factory.mktemp("weights")
    call("train", config, "--seed", "1", "--save_dir", str(folder))
    return str(folder / "iter_2" / "model.pdparams")


def call(command, config, *arguments):
    tool = importlib.import_module(f"paddle_rtseg.tools.{command}")
    with paddle.utils.unique_name.guard():  # as in a process of its own
        tool.main(tool.parser().parse_args(["--config", config, "--device", "cpu", *arguments]))


def state(folder, name="model.pdparams"):
    return {key: np.asarray(value) for key, value in paddle.load(str(folder / name)).items()}


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max(np.abs(a[key] - b[key]).max() for key in a)


def test_training_without_evaluation(train):
    folder = train()
    assert sorted(path.name for path in folder.iterdir()) == ["iter_2"]
    checkpoints.check_whole(str(folder / "iter_2"))


def test_training_with_evaluation_keeps_the_best(train, config, capsys):
    folder = train("--do_eval")
    capsys.readouterr()
    call("val", config, "--model_path", str(folder / "best_model" / "model.pdparams"))
    found = re.search(r"mIoU: (\S+)", capsys.readouterr().out).group(1)
    assert found == f"{checkpoints.best_score(str(folder), 'best_model', 'iter_2')[0]:.4f}"


def test_training_is_resumed(train):
    folder = train()
    before = state(folder / "iter_2")
    train("--resume_model", "auto", "--iters", "4")
    optimizer = paddle.load(str(folder / "iter_4" / "model.pdopt"))
    assert optimizer["LR_Scheduler"]["last_epoch"] == 4
    assert largest_difference(before, state(folder / "iter_4")) > 0


def test_training_with_ema(train):
    folder = train("--use_ema", "--do_eval") / "iter_2"
    averaged = state(folder, "ema_model.pdparams")
    assert all(np.isfinite(value).all() for value in averaged.values())
    assert largest_difference(averaged, state(folder)) > 0


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_training_with_mixed_precision(train, weights, level):
    trained = state(train("--precision", "fp16", "--amp_level", level, "--do_eval") / "iter_2")
    assert all(np.isfinite(value).all() for value in trained.values())
    assert largest_difference(trained, {key: np.zeros_like(value) for key, value in trained.items()}) > 0


def test_training_with_visualdl(train):
    folder = train("--use_vdl", "--do_eval", "--log_iters", "1")
    (log,) = folder.glob("*.log")
    values = LogReader(file_path=str(log)).get_data("scalar", "Train/loss")
    assert [value.id for value in values] == [1, 2]
    assert all(np.isfinite(value.value) for value in values)


def test_training_with_workers_gives_the_same(train):
    alone = state(train(save_dir="alone") / "iter_2")
    helped = state(train("--num_workers", "2", "--do_eval", save_dir="helped") / "iter_2")
    assert largest_difference(alone, helped) < 1e-5


def test_training_of_the_compiled_graph(train):
    folder = train("--to_static_training")
    checkpoints.check_whole(str(folder / "iter_2"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--aug_eval", "--scales", "0.5", "1.0", "1.5", "--flip_horizontal", "--flip_vertical"],
        ["--is_slide", "--crop_size", "32", "48", "--stride", "24", "40"],
        ["--aug_eval", "--flip_horizontal", "--is_slide", "--crop_size", "32", "32", "--stride", "32", "32"],
        ["--num_workers", "2"],
    ],
)
def test_evaluation(config, weights, arguments, capsys):
    call("val", config, "--model_path", weights, *arguments)
    found = re.search(r"#Images: 8 mIoU: (\S+)", capsys.readouterr().out)
    assert 0 <= float(found.group(1)) <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"aug_eval": True, "flip_horizontal": True, "flip_vertical": True},
        {"is_slide": True, "crop_size": (32, 48), "stride": (24, 40)},
        {"aug_eval": True, "flip_vertical": True, "is_slide": True, "crop_size": (40, 40), "stride": (24, 24)},
    ],
)
def test_evaluation_of_single_pixels_knows_no_windows_or_flips(tiny_images, settings):
    paddle.seed(1)
    model, data = tiny_training.PixelNet(), tiny_training.dataset(tiny_images, "val")
    plain = evaluate(model, data, print_detail=False)
    other = evaluate(model, data, print_detail=False, **settings)
    assert plain[0] == pytest.approx(other[0]) and plain[0] > 0
