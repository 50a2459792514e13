"""User errors print one line, exit with status 2 and leave no file behind."""

import argparse
import inspect
import os
import sys
import types

import cv2
import numpy as np
import paddle
import paddleseg.core
import pytest
import yaml
from processes import python
from rtseg_inference import gpu, processor
from tiny_configs import TRAINED, run_command, tiny_config, write_config

import paddle_rtseg
from paddle_rtseg.errors import InputError
from paddle_rtseg.tools.command import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with an image, a label, and a config that trains a tiny RTFormer on them."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    cv2.imwrite("image.png", random.integers(0, 255, (64, 96, 3), np.uint8))
    cv2.imwrite("label.png", random.integers(0, 3, (64, 96), np.uint8))
    (tmp_path / "list.txt").write_text("image.png label.png\n")
    write_config("config.yml", tiny_config(tmp_path, num_classes=3))
    return tmp_path


def change_config(change):
    with open("config.yml") as f:
        content = yaml.safe_load(f)
    change(content)
    write_config("config.yml", content)


def call(command, *arguments):
    return run_command(command, "--device", "cpu", *arguments)


def save_weights(path, **changes):
    arguments = {**TRAINED, "num_classes": 3, **changes}
    paddle.save(paddle_rtseg.create_model(arguments.pop("type"), **arguments).state_dict(), path)


def rename_model(content):
    content["model"]["type"] = "RTFormer_Slin"


def misspell_argument(content):
    content["model"]["base_chanels"] = content["model"].pop("base_channels")


def misspell_nested_type(content):
    content["train_dataset"]["transforms"][0]["type"] = "Normalise"


def misspell_key(content):
    content["lr_schedular"] = content["lr_scheduler"]


@pytest.mark.parametrize(
    "change, words",
    [
        (rename_model, "'RTFormer_Slin'; did you mean RTFormer_Slim"),
        (misspell_argument, "does not take 'base_chanels'; did you mean 'base_channels'"),
        (misspell_nested_type, "'Normalise'; did you mean Normalize"),
        (misspell_key, "unknown key 'lr_schedular'; did you mean 'lr_scheduler'"),
    ],
)
@pytest.mark.parametrize("command", ["train", "val"])
def test_misspelt_config(folder, change, words, command):
    change_config(change)
    with pytest.raises(InputError, match=words):
        call(command, "--config", "config.yml")
    assert not os.path.exists("output")


@pytest.mark.parametrize(
    "path, content, words",
    [
        ("none.yml", None, "'none.yml', which is neither"),
        ("text.yml", "batch_size: [1", "expected a YAML file"),
        ("base.yml", "_base_: nowhere.yml", "nowhere.yml"),
    ],
)
def test_unreadable_config(folder, path, content, words):
    if content:
        (folder / path).write_text(content)
    with pytest.raises(InputError, match=words):
        call("train", "--config", path)


def test_missing_config(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        call("train")
    assert stopped.value.code == 2 and "required: --config" in capsys.readouterr().err


def test_missing_weights(folder):
    for command, arguments in {"val": [], "predict": ["--image_path", "image.png"]}.items():
        with pytest.raises(InputError, match="--model_path"):
            call(command, "--config", "config.yml", *arguments)


def test_weights_of_a_different_model(folder):
    save_weights("other.pdparams", base_channels=16)
    with pytest.raises(InputError, match=r"conv1\.0\.weight"):
        call("val", "--config", "config.yml", "--model_path", "other.pdparams")


def test_bad_images(folder, capsys):
    save_weights("weights.pdparams")
    (folder / "broken.png").write_bytes(b"no image")
    cv2.imwrite("small.png", np.zeros((16, 64, 3), np.uint8))
    arguments = ["--config", "config.yml", "--model_path", "weights.pdparams", "--save_dir", "result", "--image_path"]
    for path, words in {
        "broken.png": "skipped broken: expected an image, got 'broken.png', which has the header of no format",
        "small.png": "at least 32 x 32 pixels, got 16 x 64",
    }.items():
        assert call("predict", *arguments, path) == 1
        assert words in capsys.readouterr().err
    assert not any(files for _, _, files in os.walk("result"))
    assert call("predict", *arguments, "image.png") == 0
    assert cv2.imread("result/pseudo_color_prediction/image.png").shape == (64, 96, 3)


def test_unwritable_folder(folder):
    (folder / "file").write_text("in the way")
    with pytest.raises(InputError, match="expected a folder that can be written, got 'file/output'"):
        call("train", "--config", "config.yml", "--save_dir", "file/output")


def test_missing_gpu(folder, monkeypatch):
    monkeypatch.setattr(gpu, "cards", list)
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        pytest.skip("this Paddle can use a GPU")
    with pytest.raises(
        InputError, match=r"device 'gpu' is not available: .*, got a machine without one; .*--device cpu"
    ):
        run_command("train", "--config", "config.yml", "--device", "gpu")


@pytest.mark.parametrize("command", ["train", "val", "predict", "export"])
def test_gpu_without_code_in_paddle(command, folder, monkeypatch):
    """Nothing starts on the card: the error comes before the device is chosen."""
    monkeypatch.setattr(gpu, "cards", lambda: [gpu.Card("NVIDIA H200", (9, 0), 143771, "580.65.06")])
    monkeypatch.setattr(gpu, "paddle_code", lambda paddle: gpu.Code(((8, 0), (8, 6))))
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    found = types.SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=1 << 37)
    monkeypatch.setattr(paddle.device.cuda, "get_device_properties", lambda index: found)
    monkeypatch.setattr(paddle, "set_device", lambda name: pytest.fail("the device was chosen"))
    save_weights("weights.pdparams")
    arguments = {
        "train": [],
        "val": ["--model_path", "weights.pdparams"],
        "predict": ["--model_path", "weights.pdparams", "--image_path", "image.png"],
        "export": ["--model_path", "weights.pdparams"],
    }
    with pytest.raises(InputError) as raised:
        run_command(command, "--config", "config.yml", *arguments[command], "--device", "gpu")
    message = str(raised.value)
    assert message.startswith("device 'gpu' is not available: expected a Paddle with code for NVIDIA H200 (compute ")
    assert "which has it for 8.0, 8.6; for inference run 'pip install" in message
    assert message.endswith(", or use --device cpu")


def test_bf16_without_avx512(folder, monkeypatch):
    monkeypatch.setattr(processor, "flags", lambda: frozenset({"avx2"}))
    with pytest.raises(InputError, match="expected a processor with AVX-512 for bf16"):
        call("train", "--config", "config.yml", "--precision", "bf16")
    assert not (folder / "output").exists()


def test_sliding_windows_without_stride(folder):
    with pytest.raises(InputError, match="expected width and height as --stride, got 'None'"):
        call("val", "--config", "config.yml", "--is_slide", "--crop_size", "64", "64")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paddleseg", "paddle_rtseg"])
def test_status_and_message(folder, name):
    result = python("-m", f"{name}.train", "--config", "none.yml")
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2
    assert errors == [
        "error: expected a config file or the name of a bundled one, got 'none.yml', which is neither; check --config"
    ]
    assert "Traceback" not in result.stderr


def test_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(ZeroDivisionError):
        run(argparse.ArgumentParser, lambda args: 1 / 0)
    with pytest.raises(SystemExit) as status:
        run(argparse.ArgumentParser, lambda args: 3)
    assert status.value.code == 3


def use_transforms(*names):
    def change(content):
        content["val_dataset"]["transforms"] = [{"type": name} for name in names]

    return change


@pytest.mark.parametrize("command", ["train", "val", "predict", "export"])
def test_transforms_that_a_prediction_cannot_undo(folder, command):
    """The same sentence everywhere; training needs it only to evaluate."""
    save_weights("weights.pdparams")
    change_config(use_transforms("RandomPaddingCrop", "Normalize"))
    arguments = {"train": ["--do_eval"], "predict": ["--image_path", "image.png"]}
    if command != "train":
        arguments = {name: ["--model_path", "weights.pdparams", *arguments.get(name, [])] for name in [command]}
    with pytest.raises(
        InputError, match="by a resize and a padding only, got RandomPaddingCrop, which is for training"
    ):
        call(command, "--config", "config.yml", *arguments[command])
    assert not (folder / "output").exists()


def grey(content):
    for name in ("train_dataset", "val_dataset"):
        content[name]["img_channels"] = 1


def test_grey_images(folder):
    """Trained, evaluated and predicted; exported models take colour."""
    cv2.imwrite("image.png", cv2.imread("image.png", cv2.IMREAD_GRAYSCALE))
    change_config(grey)
    call("train", "--config", "config.yml", "--do_eval")
    arguments = ["--config", "config.yml", "--model_path", "output/iter_1/model.pdparams"]
    call("val", *arguments)
    call("predict", *arguments, "--image_path", "image.png")
    assert (folder / "output/result/pseudo_color_prediction/image.png").exists()
    with pytest.raises(InputError, match="expected a network of 3 channels, got 1: exported models take colour images"):
        call("export", *arguments)


def test_losses_that_do_not_fit_the_outputs(folder):
    change_config(lambda content: content["loss"].update(coef=[1]))
    with pytest.raises(
        InputError, match=r"each output of RTFormer in training, 2, got 1; set loss\.coef to a list of 2"
    ):
        call("train", "--config", "config.yml")


BUILT_FROM = [
    ("optimizer", {"type": "AdamWDL"}, "AdamWDL cannot be used to train RTFormer: .*; choose another"),
    (
        "optimizer",
        {"type": "AdamWDL_CAE"},
        "optimizer AdamWDL_CAE cannot be built for RTFormer: .*'backbone'; correct its",
    ),
    (
        "train_dataset",
        {"transforms": [{"type": "PaddingByAspectRatio", "aspect_ratio": 0}]},
        "transform PaddingByAspect.* division",
    ),
    (
        "loss",
        {"types": [{"type": "PointCrossEntropyLoss"}]},
        "PointCrossEntropyLoss cannot be used on an output of RTFormer",
    ),
]


@pytest.mark.parametrize("section, changes, words", BUILT_FROM)
def test_components_that_fail_on_this_network_or_data(folder, section, changes, words):
    change_config(lambda content: content[section].update(changes))
    with pytest.raises(InputError, match=words):
        call("train", "--config", "config.yml")


REFUSED_FLAGS = [
    (["--amp_level", "O2"], "--amp_level has no effect without --precision fp16"),
    (
        ["--profiler_options", "batch_range=[20,10]"],
        "expected --profiler_options such as .*, got 'batch_range=\\[20,10",
    ),
    (["--profiler_options", "batch_rang=[1,2]"], "got 'batch_rang="),
    (["--profiler_options", ""], "got ''"),
    (["--use_multilabel"], "--use_multilabel needs a newer PaddleSeg"),
    (["--opts", "train_dataset.shuffle=false"], "train_dataset.shuffle: False needs a newer PaddleSeg"),
]


@pytest.mark.parametrize("flags, words", REFUSED_FLAGS)
def test_flags_of_train_that_would_be_ignored(folder, flags, words):
    if "newer" in words and "use_multilabel" in inspect.signature(paddleseg.core.evaluate).parameters:
        pytest.skip("this PaddleSeg is newer")
    with pytest.raises(InputError, match=words):
        call("train", "--config", "config.yml", *flags)
    assert not (folder / "output").exists()


def test_keys_without_effect_are_said(folder, capsys):
    if "logger" in inspect.signature(paddleseg.core.train).parameters:
        pytest.skip("this PaddleSeg knows these keys")
    new = {"log_ranks": "0,1", "print_mem_info": True, "uniform_output_enabled": True, "hpi_config_path": "x"}
    change_config(lambda content: content.update(new))
    call("train", "--config", "config.yml")
    said = [line.split()[1].strip("'") for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert sorted(said) == sorted(new)
