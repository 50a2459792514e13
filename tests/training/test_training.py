"""Every option of the train and val commands, once, on a tiny RTFormer and eight tiny images."""

import json
import re
import sys

import numpy as np
import paddle
import pytest
import tiny_training
from comparing import assert_states_close, largest_difference, load_arrays
from paddleseg.core import evaluate
from tiny_configs import run_command, tiny_config, write_config
from visualdl import LogReader

from paddle_rtseg.config import Builder, load_config, load_model
from paddle_rtseg.errors import InputError
from paddle_rtseg.training import checkpoints, hooks, stopping


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    """train() sleeps for a second at its end."""
    monkeypatch.setattr(sys.modules["paddleseg.core.train"].time, "sleep", lambda seconds: None)


@pytest.fixture(scope="session")
def config(tiny_images, tmp_path_factory):
    losses = [{"type": "CrossEntropyLoss"}, {"type": "OhemCrossEntropyLoss", "min_kept": 100}]
    content = tiny_config(
        tiny_images,
        tiny_training.NUM_CLASSES,
        batch_size=4,
        iters=2,
        optimizer={"type": "AdamW"},
        lr_scheduler={"type": "PolynomialDecay", "learning_rate": 0.01, "end_lr": 0, "power": 0.9},
        loss={"types": losses, "coef": [1, 0.4]},
    )
    return write_config(tmp_path_factory.mktemp("config") / "tiny.yml", content)


@pytest.fixture
def train(config, tmp_path):
    """``train(*arguments)``: train into a folder of this test and return the folder."""

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
    run_command(command, "--config", config, "--device", "cpu", *arguments)


def state(folder, name="model.pdparams"):
    return load_arrays(folder / name)


def test_training_that_fails_leaves_no_folder(train, monkeypatch, tmp_path):
    def fail(*arguments, **settings):
        raise InputError("no memory")

    monkeypatch.setattr(sys.modules["paddleseg.core.train"], "loss_computation", fail)
    with pytest.raises(InputError, match="no memory"):
        train(save_dir="a/b")
    assert not list(tmp_path.iterdir())


def test_no_evaluation(train):
    folder = train()
    assert sorted(path.name for path in folder.iterdir()) == ["iter_2"]
    checkpoints.check_complete(str(folder / "iter_2"))


def test_evaluation_keeps_the_best_model(train, config, capsys):
    folder = train("--do_eval")
    capsys.readouterr()
    call("val", config, "--model_path", str(folder / "best_model" / "model.pdparams"))
    found = re.search(r"mIoU: (\S+)", capsys.readouterr().out).group(1)
    assert found == f"{checkpoints.best_score(str(folder), 'best_model', 'iter_2')[0]:.4f}"


def test_resumed_training(train):
    folder = train()
    before = state(folder / "iter_2")
    train("--resume_model", "auto", "--iters", "4")
    optimizer = paddle.load(str(folder / "iter_4" / "model.pdopt"))
    assert optimizer["LR_Scheduler"]["last_epoch"] == 4
    assert largest_difference(before, state(folder / "iter_4")) > 0


def test_ema(train):
    """In its first steps PaddleSeg's moving average weighs all steps alike: here the start and two iterations."""
    start = state(train("--iters", "1", "--learning_rate", "1e-12", save_dir="start") / "iter_1")
    folder = train("--use_ema", "--do_eval", "--save_interval", "1")
    first, second = (state(folder / name) for name in ("iter_1", "iter_2"))
    assert largest_difference(first, second) > 1e-3
    averaged = state(folder / "iter_2", "ema_model.pdparams")
    assert averaged.keys() == start.keys()
    parameters = [name for name in averaged if not name.endswith(("._mean", "._variance"))]
    assert len(parameters) > 50
    for name in parameters:
        expected = np.mean([start[name], first[name], second[name]], axis=0)
        np.testing.assert_allclose(averaged[name], expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision(train, level, capsys):
    """On a CPU, Paddle computes fp16 training in float32, and scaling the loss by a power of two changes nothing."""
    expected = state(train(save_dir="fp32") / "iter_2")
    capsys.readouterr()
    trained = state(train("--precision", "fp16", "--amp_level", level, "--do_eval") / "iter_2")
    assert f"AMP level = {level}" in capsys.readouterr().out
    assert_states_close(trained, expected, rtol=1e-5)


def test_visualdl_log(train):
    folder = train("--use_vdl", "--do_eval", "--log_iters", "1")
    (log,) = folder.glob("*.log")
    values = LogReader(file_path=str(log)).get_data("scalar", "Train/loss")
    assert [value.id for value in values] == [1, 2]
    assert all(np.isfinite(value.value) for value in values)


def test_tensorboard_log(train, without):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    folder = train("--use_tb", "--do_eval", "--log_iters", "1")
    (log,) = folder.glob("events.out.tfevents.*")
    assert not list(folder.glob("*.log"))  # of VisualDL
    found = {}
    data = log.read_bytes()
    while data:  # a length and its checksum, an event and its checksum
        size = int.from_bytes(data[:8], "little")
        event = event_pb2.Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert [step for step, _ in found["Train/loss"]] == [1, 2]
    assert [step for step, _ in found["Evaluate/mIoU"]] == [2]
    with without("logs of TensorBoard"):
        assert not list(train("--use_tb", "--log_iters", "1", save_dir="before").glob("events*"))


@pytest.mark.parametrize("arguments, library", [(["--use_tb"], "tensorboardX"), (["--use_vdl"], "visualdl")])
def test_logs_without_their_library(config, tmp_path, monkeypatch, arguments, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"expected {library} for {arguments[0]}, got none; run 'pip install "):
        call("train", config, "--save_dir", str(tmp_path / "out"), *arguments)
    assert not (tmp_path / "out").exists()


def test_epochs(train, capsys):
    """Eight images in batches of four."""
    folder = train("--epochs", "2", "--repeats", "2")
    assert sorted(path.name for path in folder.glob("iter_*")) == ["iter_2", "iter_4", "iter_6", "iter_8"]
    assert "8 iterations, which are 2 epochs of 4 iterations with 4 images each" in capsys.readouterr().out


@pytest.mark.parametrize(
    "images, batch_size, processes, expected", [(8, 4, 1, 2), (9, 4, 1, 2), (9, 4, 2, 1), (3, 4, 1, 0), (7, 2, 3, 1)]
)
def test_batches_per_epoch(images, batch_size, processes, expected):
    """As Paddle's sampler counts them."""
    assert stopping.batches_per_epoch(images, batch_size, processes) == expected
    sampler = paddle.io.DistributedBatchSampler(list(range(images)), batch_size, processes, 0, drop_last=True)
    assert len(sampler) == expected


@pytest.fixture
def scores(monkeypatch):
    """``scores(*values)``: what the next evaluations find."""

    def set_scores(*values):
        queue = list(values)
        monkeypatch.setattr(hooks, "evaluate", lambda *args, **settings: (queue.pop(0), 0, None, None, None))
        return queue

    return set_scores


def test_early_stop(train, scores, capsys):
    """Nothing better since iteration 2: the end at 6, twice, the second time after a resumed run."""
    options = ["--do_eval", "--iters", "20", "--opts", "optimizer.type=SGD"]
    left = scores(0.4, 0.3, 0.4, 0.9)
    folder = train("--patience", "2", *options)
    assert left == [0.9] and (folder / "iter_6").exists() and not (folder / "iter_8").exists()
    shown = capsys.readouterr().out
    assert "Training ends at iteration 6 of 20: no better score in 2 evaluations." in shown
    assert f"The best model is {folder}/best_model/model.pdparams: mIoU 0.4000, at iteration 2." in shown
    score = json.loads((folder / "best_model" / "score.json").read_text())
    assert score == {"mIoU": 0.4, "iter": 2, "file": "model.pdparams"}

    with pytest.raises(InputError, match="last 2 evaluations were not better than that at iteration 2"):
        train("--patience", "2", "--resume_model", "auto", *options)
    left = scores(0.5, 0.1, 0.2, 0.3, 0.9)
    train("--patience", "3", "--resume_model", "auto", *options)
    assert left == [0.9] and (folder / "iter_14").exists() and not (folder / "iter_16").exists()


def test_early_stop_waits_for_the_average_too(train, scores):
    left = scores(0.4, 0.1, 0.3, 0.2, 0.3, 0.2, 0.4, 0.1, 0.9)
    folder = train("--patience", "2", "--do_eval", "--use_ema", "--iters", "20")
    assert left == [0.9] and (folder / "iter_8").exists() and not (folder / "iter_10").exists()
    assert json.loads((folder / "ema_best_model" / "score.json").read_text())["file"] == "ema_model.pdparams"


def test_without_the_patch_training_goes_on(train, scores, without):
    left = scores(0.4, 0.3, 0.3)
    with without("early stop"):
        train("--patience", "1", "--do_eval", "--iters", "6")
    assert left == []


def test_patience_needs_evaluations(train):
    with pytest.raises(InputError, match="--patience has no effect without --do_eval"):
        train("--patience", "2")


def test_workers_give_the_same_result(train):
    alone = state(train(save_dir="alone") / "iter_2")
    helped = state(train("--num_workers", "2", "--do_eval", save_dir="helped") / "iter_2")
    assert largest_difference(alone, helped) < 1e-5


@pytest.mark.slow
def test_compiled_training(train, capsys):
    once = ["--iters", "1", "--opts", "optimizer.type=SGD"]  # AdamW would blow up rounding where gradients are small
    start = state(train("--learning_rate", "1e-12", *once, save_dir="start") / "iter_1")
    expected = state(train(*once, save_dir="layer by layer") / "iter_1")
    capsys.readouterr()
    trained = state(train("--to_static_training", *once) / "iter_1")
    assert "Successfully applied @to_static" in capsys.readouterr().out
    assert largest_difference(trained, expected) < 0.01 * largest_difference(start, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, settings",
    [
        (
            "--aug_eval --scales 0.5 1.0 1.5 --flip_horizontal --flip_vertical",
            {"aug_eval": True, "scales": [0.5, 1.0, 1.5], "flip_horizontal": True, "flip_vertical": True},
        ),
        (
            "--is_slide --crop_size 32 48 --stride 24 40",
            {"is_slide": True, "crop_size": [32, 48], "stride": [24, 40]},
        ),
        (
            "--aug_eval --flip_horizontal --is_slide --crop_size 32 32 --stride 32 32",
            {"aug_eval": True, "flip_horizontal": True, "is_slide": True, "crop_size": [32, 32], "stride": [32, 32]},
        ),
        ("--num_workers 2", {}),
    ],
)
def test_evaluation(config, weights, arguments, settings, capsys):
    loaded = load_config(config)
    model, data = load_model(loaded, weights), Builder(loaded).val_dataset
    expected, plain = (evaluate(model, data, print_detail=False, **chosen)[0] for chosen in (settings, {}))
    assert (expected != plain) == bool(settings)
    capsys.readouterr()
    call("val", config, "--model_path", weights, *arguments.split())
    found = re.search(r"#Images: 8 mIoU: (\S+)", capsys.readouterr().out)
    assert float(found.group(1)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"aug_eval": True, "flip_horizontal": True, "flip_vertical": True},
        {"is_slide": True, "crop_size": (32, 48), "stride": (24, 40)},
        {"aug_eval": True, "flip_vertical": True, "is_slide": True, "crop_size": (40, 40), "stride": (24, 24)},
    ],
)
def test_windows_and_flips_do_not_change_a_pixelwise_network(tiny_images, settings):
    paddle.seed(1)
    model, data = tiny_training.PixelNet(), tiny_training.dataset(tiny_images, "val")
    plain = evaluate(model, data, print_detail=False)
    other = evaluate(model, data, print_detail=False, **settings)
    assert plain[0] == pytest.approx(other[0]) and plain[0] > 0
