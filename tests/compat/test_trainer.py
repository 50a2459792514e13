"""Patches of train(): its log, runs without a step, bad data, and what a resumed run restores."""

import itertools
import os
import pathlib
import shutil
import struct
import sys

import cv2
import numpy as np
import paddle
import pytest
import tiny_training
from comparing import assert_states_close, load_arrays
from image_files import opencv, picture
from paddleseg.core import evaluate
from paddleseg.datasets import Dataset

from paddle_rtseg.errors import InputError
from paddle_rtseg.training import checkpoints
from paddle_rtseg.training.loading import CheckedLoader


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    """train() sleeps for a second at its end."""
    monkeypatch.setattr(sys.modules["paddleseg.core.train"].time, "sleep", lambda seconds: None)


@pytest.fixture
def run(tiny_images, tmp_path):
    """Train in ``tmp_path``."""
    return lambda iters, **settings: tiny_training.run(tiny_images, tmp_path, iters, **settings)


def test_log_of_scalar_losses(without, run, capsys):
    with without("scalar losses in the log"), pytest.raises(IndexError):
        run(1, log_iters=1)
    capsys.readouterr()
    run(2, log_iters=1)
    assert capsys.readouterr().out.count("[TRAIN]") == 2


def test_fewer_images_than_a_batch(without, run, monkeypatch):
    passes = itertools.count()

    def give_up_after_three(loader):
        if next(passes) == 3:
            raise TimeoutError
        return iter(())

    with without("runs without a step"), monkeypatch.context() as patch, pytest.raises(TimeoutError):
        patch.setattr("paddle_rtseg.training.loading.CheckedLoader.__iter__", give_up_after_three)
        run(1, batch_size=9)
    with pytest.raises(InputError, match="9 training images, got 8"):
        run(1, batch_size=9)


class PlacedNet(tiny_training.PixelNet):
    """Asks where a tensor is, as a network with a fast path for the CPU may."""

    def forward(self, x):
        x = self.head(x)
        if paddle.in_dynamic_mode() and x.place.is_cpu_place() and not x.stop_gradient:
            return [x, x]
        return [x, x * 1]


def test_compiled_training(without, run, tmp_path):
    settings = {"network": PlacedNet, "to_static_training": True}
    with without("compiled training"), pytest.raises((UnboundLocalError, RuntimeError)):
        run(2, **settings)
    run(2, **settings)
    compiled = load_arrays(tmp_path / "iter_2/model.pdparams")
    run(2, network=PlacedNet)
    assert_states_close(compiled, load_arrays(tmp_path / "iter_2/model.pdparams"))


def test_no_iterations_left(without, run, tmp_path):
    run(2)
    resume = str(tmp_path / "iter_2")
    with without("runs without a step"), pytest.raises(UnboundLocalError):
        run(2, resume_model=resume)
    with pytest.raises(InputError, match="--iters"):
        run(2, resume_model=resume)


def test_resumed_run_equals_an_uninterrupted_one(without, run, tmp_path):
    settings = {"batch_size": 3, "save_interval": 3}  # two batches in a pass: the stop is in the middle of the second
    run(5, **settings)
    whole = load_arrays(tmp_path / "iter_5/model.pdparams")
    with without("samples and random numbers, resumed"):
        run(5, resume_model=str(tmp_path / "iter_3"), **settings)
    with pytest.raises(AssertionError):
        assert_states_close(load_arrays(tmp_path / "iter_5/model.pdparams"), whole)
    run(5, resume_model=str(tmp_path / "iter_3"), **settings)
    assert_states_close(load_arrays(tmp_path / "iter_5/model.pdparams"), whole)


def test_resumed_ema(without, run, tmp_path):
    run(4, use_ema=True)
    whole = load_arrays(tmp_path / "iter_4/ema_model.pdparams")
    with without("EMA, resumed"):
        run(4, use_ema=True, resume_model=str(tmp_path / "iter_2"))
    with pytest.raises(AssertionError):
        assert_states_close(load_arrays(tmp_path / "iter_4/ema_model.pdparams"), whole)
    run(4, use_ema=True, resume_model=str(tmp_path / "iter_2"))
    assert_states_close(load_arrays(tmp_path / "iter_4/ema_model.pdparams"), whole)


def test_ema_from_a_checkpoint_without_one(run, tmp_path):
    run(2)
    run(3, use_ema=True, resume_model=str(tmp_path / "iter_2"))
    assert (
        load_arrays(tmp_path / "iter_3/ema_model.pdparams").keys()
        == load_arrays(tmp_path / "iter_3/model.pdparams").keys()
    )


def test_best_score(without, run, tiny_images, tmp_path):
    with without("best score, saved"):
        run(2, evaluate=True)
    assert checkpoints.best_score(str(tmp_path), "best_model", "iter_2") == (-1, -1)
    model = run(2, evaluate=True, use_ema=True)
    mean_iou, iteration = checkpoints.best_score(str(tmp_path), "best_model", "iter_2")
    assert iteration == 2
    assert mean_iou == evaluate(model, tiny_training.dataset(tiny_images, "val"), print_detail=False)[0]
    assert checkpoints.best_score(str(tmp_path), "ema_best_model", "iter_2")[1] == 2
    assert checkpoints.best_score(str(tmp_path), "best_model", None) == (-1, -1)


@pytest.mark.parametrize("name", ["best_model", "ema_best_model"])
def test_best_model_survives_a_resumed_run(without, run, tmp_path, name):
    run(2, evaluate=True, use_ema=True)
    file = tmp_path / name / checkpoints.best_weights(name)
    file.write_bytes(b"a model that cannot be beaten")
    checkpoints.save_score(str(tmp_path / name), 1.0, 1)
    resume = str(tmp_path / "iter_2")
    run(3, evaluate=True, use_ema=True, resume_model=resume)
    assert file.read_bytes() == b"a model that cannot be beaten"
    with without("best score, resumed"):
        run(3, evaluate=True, use_ema=True, resume_model=resume)
    assert file.read_bytes() != b"a model that cannot be beaten"


def test_resumed_run_keeps_pruning(without, run, tmp_path):
    def kept():
        return sorted(name for name in os.listdir(tmp_path) if name.startswith("iter_"))

    settings = {"save_interval": 1, "keep_checkpoint_max": 2}
    run(3, **settings)
    assert kept() == ["iter_2", "iter_3"]
    with without("pruning, resumed"):
        run(5, resume_model=str(tmp_path / "iter_3"), **settings)
    assert kept() == ["iter_2", "iter_3", "iter_4", "iter_5"]
    run(7, resume_model=str(tmp_path / "iter_5"), **settings)
    assert kept()[-2:] == ["iter_6", "iter_7"] and len(kept()) == 4


def test_checkpoint_removed_by_the_user(run, tmp_path, monkeypatch):
    publish = checkpoints.publish

    def publish_and_lose(partial):
        path = publish(partial)
        shutil.rmtree(path) if path.endswith("iter_1") else None
        return path

    monkeypatch.setitem(sys.modules["paddleseg.core.train"].__dict__, "publish_checkpoint", publish_and_lose)
    run(3, save_interval=1, keep_checkpoint_max=1)
    assert checkpoints.latest_complete_checkpoint(str(tmp_path)) == str(tmp_path / "iter_3")


@pytest.fixture
def broken(tiny_images, tmp_path):
    """``broken(name, write)``: a copy of the images, in which ``write(path)`` has changed one file."""

    def make(name, change):
        root = str(tmp_path / "images")
        shutil.copytree(tiny_images, root)
        change(os.path.join(root, name))
        return root

    return make


def write_stray_label(path):
    label = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    label[5, 5:7] = 4, 77
    cv2.imwrite(path, label)


def write_short_label(path):
    cv2.imwrite(path, np.zeros((60, 64), np.uint8))


def write_text(path):
    with open(path, "w") as f:
        f.write("not an image")


def write_half_jpeg(path):
    """The first half, closed by an end marker, which libjpeg accepts."""
    whole = opencv(".jpg", picture(64, 64))
    pathlib.Path(path).write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")


def write_large_image(path):
    """A header of 10 gigapixels."""
    data = bytearray(opencv(".png", picture(64, 64)))
    data[16:24] = struct.pack(">II", 10**5, 10**5)
    pathlib.Path(path).write_bytes(data)


def write_pipe(path):
    os.remove(path)
    os.mkfifo(path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "name, change, sentence",
    [
        ("image3.png", os.remove, "cannot read the image .*image3.png"),
        ("image3.png", write_text, "expected an image, got .*image3.png"),
        ("image3.png", write_half_jpeg, "image3.png', which is cut short"),
        ("image3.png", write_large_image, "got 100000 x 100000; shrink '.*image3.png'"),
        ("image3.png", write_pipe, "image3.png', which is not a regular file"),
        ("label3.png", write_text, "expected an image, got .*label3.png"),
        ("label3.png", write_large_image, "got 100000 x 100000; shrink '.*label3.png'"),
        ("label3.png", write_pipe, "label3.png', which is not a regular file"),
        ("label3.png", write_short_label, "label3.png' to have its image's 64 x 64 pixels, got 64 x 60"),
        ("label3.png", write_stray_label, "expected labels of 0 to 3 or 255 in .*label3.png', got 4, 77"),
    ],
)
def test_bad_data_ends_training(broken, tmp_path, name, change, sentence, workers):
    root = broken(name, change)
    with pytest.raises(InputError, match=sentence):
        tiny_training.run(root, tmp_path, iters=1, num_workers=workers)


def test_label_out_of_range_without_the_patch(without, broken, tmp_path):
    root = broken("label3.png", write_stray_label)
    with without("bad data in train"), pytest.raises(IndexError) as error:
        tiny_training.run(root, tmp_path, iters=1)
    assert "label3.png" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_two_sizes(broken, tmp_path, workers):
    def enlarge(path):
        cv2.imwrite(path, np.zeros((70, 64, 3), np.uint8))
        cv2.imwrite(path.replace("image3", "label3"), np.zeros((70, 64), np.uint8))

    with pytest.raises(InputError, match=r"one size in a batch, got 64 x 64 and 64 x 70"):
        tiny_training.run(broken("image3.png", enlarge), tmp_path, iters=1, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_other_errors_of_a_dataset(tiny_images, workers):
    data = tiny_training.dataset(tiny_images, "train")
    data.transforms.transforms.append(lambda sample: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        next(iter(CheckedLoader(data, batch_size=2, num_workers=workers)))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error, raised, words",
    [
        (FileNotFoundError("label.npz"), InputError, r"label0.png' cannot be read \(FileNotFoundError: label.npz\)"),
        (KeyError("n01440764"), RuntimeError, "KeyError"),
    ],
)
def test_errors_of_a_dataset_that_reads_its_own_files(tiny_images, workers, error, raised, words):
    class Own(Dataset):
        def __getitem__(self, index):
            raise error

    data = Own("train", tiny_images, [], 4, train_path=f"{tiny_images}/list.txt")
    with pytest.raises(raised, match=words):
        next(iter(CheckedLoader(data, batch_size=2, num_workers=workers)))


def test_label_out_of_range_ends_evaluation(without, broken):
    root = broken("label3.png", write_stray_label)
    model, data = tiny_training.PixelNet(), tiny_training.dataset(root, "val")
    with without("bad data in evaluate"):
        evaluate(model, data, print_detail=False)  # as if nothing were wrong
    with pytest.raises(InputError, match=r"label3\.png', got 4, 77"):
        evaluate(model, data, print_detail=False)


def test_errors_begin_on_a_line_of_their_own(broken, monkeypatch, capsys):
    """Not behind the progress bar of an evaluation."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    data = tiny_training.dataset(broken("label3.png", write_stray_label), "val")
    with pytest.raises(InputError):
        evaluate(tiny_training.PixelNet(), data)
    shown = capsys.readouterr().err
    assert "images/s, ETA 0:00:0" in shown and shown.endswith("\n")


def test_evaluation_in_a_log_file(without, tiny_images, capsys):
    """A line a minute, and not one for each image."""
    data = tiny_training.dataset(tiny_images, "val")
    with without("one line while evaluating"):
        evaluate(tiny_training.PixelNet(), data)
    assert capsys.readouterr().err.count("batch_cost") > 1
    evaluate(tiny_training.PixelNet(), data)
    assert capsys.readouterr().err == ""
