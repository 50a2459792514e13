"""A search from its config to the export that won, with a tiny SegFormer++ and twelve small images."""

import json
import os
import shlex
import sys

import cv2
import numpy as np
import paddle
import pytest
from rtseg_inference.contract import read_contract
from tiny_configs import run_command, tiny_config, write_config
from tiny_int8 import few_turns
from tiny_models import TINY_MIT

import paddle_rtseg
from paddle_rtseg.errors import InputError
from paddle_rtseg.export.onnx import obstacle
from paddle_rtseg.tools.tune import parser
from paddle_rtseg.tune import measuring, search, tuning
from paddle_rtseg.tune.calibration import Calibration
from paddle_rtseg.tune.candidates import Setting, settings
from paddle_rtseg.tune.frames import Frames
from paddle_rtseg.tune.source import Source
from paddle_rtseg.weights import save_state

MODEL = {
    "type": "SegFormerPP",
    "num_classes": 3,
    "head_channels": 16,
    "backbone": {"type": "MiT_B0", **TINY_MIT},
}
ARGUMENTS = ["--config", "config.yml", "--model_path", "weights.safetensors", "--save_dir", "out"]
#: The original and two others in one setting; fast is for larger images.
SMALL = [
    *ARGUMENTS,
    "--backend",
    "onednn",
    "--precision",
    "fp32",
    "--token_merging",
    "none",
    "2x2",
    "fast",
    "--scales",
    "1",
]


needs_quantiser = pytest.mark.skipif(obstacle("int8") is not None, reason=str(obstacle("int8")))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a config, weights and labelled images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measuring, "REST", 0.0)
    random = np.random.default_rng(0)
    names = []
    for i in range(12):
        label = random.integers(0, 3, (4, 6)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        cv2.imwrite(f"image{i}.png", random.integers(0, 255, (3, 3), np.uint8)[label % 3])
        cv2.imwrite(f"label{i}.png", label)
        names.append(f"image{i}.png label{i}.png\n")
    (tmp_path / "list.txt").write_text("".join(names))
    write_config("config.yml", tiny_config(tmp_path, num_classes=3, model=MODEL))
    save_weights("weights.safetensors")
    return tmp_path


def save_weights(path, **changes):
    arguments = {**MODEL, **changes}
    paddle.seed(1)
    network = paddle_rtseg.create_model(arguments.pop("type"), **arguments)
    save_state({name: value.numpy() for name, value in network.state_dict().items()}, path)


def rows(folder):
    return [json.loads(line) for line in (folder / "out/tune.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_search(folder, capsys):
    """Stopped, continued, repeated for another goal without a measurement, and exported again by its command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring.Bench, "counts", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_command("tune", *SMALL, "--min_miou", "0.001")
    assert "the same command goes on from here" in capsys.readouterr().err
    assert [row["key"]["what"] for row in rows(folder)] == ["original"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["tune.jsonl"]

    assert run_command("tune", *SMALL, "--min_miou", "0.001") == 0
    out = capsys.readouterr().out
    assert "found for a mean IoU of at least 0.1 %: " in out and "times as fast" in out
    assert cv2.imread("out/front.png").shape[0] > 300
    table = (folder / "out/table.md").read_text()
    assert table.startswith(out.rstrip("\n")) and table.count("\n| ") >= 2 + 3
    assert "does not run: SegFormerPP takes images of at least" in table
    measured = rows(folder)
    assert {row["key"]["what"] for row in measured} == {"original", "time", "count"}

    with pytest.MonkeyPatch.context() as patch:
        for place, name in ((measuring, "measure"), (measuring.Bench, "_count")):
            patch.setattr(place, name, lambda *arguments, **options: pytest.fail("it was measured before"))
        assert run_command("tune", *SMALL, "--budget_ms", "0.001") == 1
    out = capsys.readouterr().out
    assert "nothing has at most 0.001 ms; the nearest is " in out and rows(folder) == measured

    command = next(line for line in table.splitlines() if "paddleseg.export" in line)
    ours, again = export_again(command)
    assert ours.input == again.input and ours.preprocess == again.preprocess
    assert np.array_equal(np.load(ours.path(ours.golden.output)), np.load(again.path(again.golden.output)))


def export_again(command):
    """The contract of the winner, and that of the same command's export to another folder."""
    words = shlex.split(command)[3:]
    words[words.index("--save_dir") + 1] = "again"
    run_command("export", *words)
    return [read_contract(path) for path in ("out/model", "again")]


@pytest.mark.slow
@needs_quantiser
def test_int8_wins(folder, monkeypatch, capsys):
    """Where it is the fastest, which the tiny network is not: timed as if it were. Its command exports the same."""
    few_turns(monkeypatch)
    monkeypatch.setattr("paddle_rtseg.export.int8.INT8_BACKENDS", ("onnxruntime",))
    monkeypatch.setattr(search, "MIN_GAIN", 0)
    cost = measuring.Bench.cost
    monkeypatch.setattr(
        measuring.Bench, "cost", lambda bench, c: cost(bench, c) * (1e-3 if c.precision == "int8" else 1)
    )
    os.mkdir("calibration")
    for i in range(8):
        cv2.imwrite(f"calibration/{i}.png", cv2.imread(f"image{i}.png")[::-1])
    arguments = [*ARGUMENTS, "--backend", "onnxruntime", "--precision", "fp32", "int8", "--token_merging", "none"]
    arguments += ["--scales", "1", "--calibration", "calibration", "--samples", "8"]
    assert run_command("tune", *arguments, "--min_miou", "0.001") == 0
    out = capsys.readouterr().out
    assert "scale 1, onnxruntime, int8" in out and "measures INT8 on the whole val_dataset" in out
    (infer,) = (line for line in out.splitlines() if "rtseg_inference" in line)
    assert "--backend onnxruntime --precision int8" in infer
    (command,) = (line for line in out.splitlines() if "paddleseg.export" in line)
    assert "--precision int8 --calibration calibration --samples 8 --max_drop 100 --min_gain 0" in command
    ours, again = export_again(command)
    assert ours.int8.images == 12 and ours.sha256["model_int8.onnx"] == again.sha256["model_int8.onnx"]

    measured = rows(folder)
    cv2.imwrite("calibration/0.png", cv2.imread("image0.png")[:, ::-1])
    with monkeypatch.context() as patch:
        patch.setattr(measuring.Bench, "_load", interrupted)
        with pytest.raises(KeyboardInterrupt):  # what was measured with other images does not count
            run_command("tune", *arguments, "--min_miou", "0.001")
    assert rows(folder) == measured


def with_int8(said, *arguments):
    """The settings that these arguments of the command leave."""
    args = parser().parse_args([*ARGUMENTS, "--budget_ms", "1", *arguments])
    space = tuning.Space(None, (1,), args.backend, args.precision, Calibration(args.calibration, args.samples))
    source = Source(args.config, args.model_path)
    available = settings("cpu", space.backends, space.precisions)
    return tuning._with_int8(available, source, Frames(source.config), space, said.append)


def missing_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    return "INT8 needs ml_dtypes, which is not installed"


def frames_of_the_search(folder, monkeypatch):
    return "expected images to calibrate with that are not in the val_dataset, got "


def no_training_data(folder, monkeypatch):
    content = tiny_config(folder, num_classes=3, model=MODEL)
    content["train_dataset"]["train_path"] = "none.txt"
    write_config("config.yml", content)
    return "a Dataset of mode train expects train_path"


@pytest.mark.parametrize("spoil", [missing_package, frames_of_the_search, no_training_data])
@needs_quantiser
def test_int8_that_cannot_be_tried(spoil, folder, monkeypatch):
    """It is left out, which a line says, unless it was asked for."""
    sentence, said = spoil(folder, monkeypatch), []
    backend = ["--backend", "onnxruntime"]
    assert with_int8(said, *backend) == [Setting("onnxruntime", "fp32")]
    assert len(said) == 1 and said[0].startswith(f"INT8 is not tried: {sentence}") and "\n" not in said[0]
    for asked in (["--precision", "int8"], ["--samples", "8"]):
        with pytest.raises(InputError, match=sentence):
            with_int8(said, *backend, *asked)
    assert len(said) == 1


def test_calibration_without_int8(folder):
    with pytest.raises(InputError, match="expected --calibration and --samples where a backend is tried in int8"):
        with_int8([], "--backend", "onednn", "--samples", "8")


def interrupted(*arguments, **options):
    raise KeyboardInterrupt


REFUSED = [
    (["--frames", "13"], "expected --frames from 4 to 12, the images of the val_dataset, got 13"),
    (["--frames", "3"], "expected --frames from 4 to 12, the images of the val_dataset, got 3"),
    (["--model_path", "none.pdparams"], "none.pdparams"),
    (["--model_path", "other.safetensors"], "classifier"),
    (["--config", "none.yml"], "'none.yml', which is neither"),
    (["--save_dir", "list.txt"], "expected a folder that can be written, got 'list.txt'"),
    (["--token_merging", "none", "3x3"], "expected token merging among none, hq, fast, 2x2, .*, got '3x3'"),
    (["--backend", "tensorrt"], "expected a backend of the cpu .*, got tensorrt in fp32"),
    (["--opts", "val_dataset.val_path=none.txt"], "none.txt"),
]


@pytest.mark.parametrize("arguments, words", REFUSED)
def test_refused(folder, arguments, words):
    save_weights("other.safetensors", num_classes=4)
    with pytest.raises(InputError, match=words):
        run_command("tune", *SMALL, "--min_miou", "0.5", *arguments)
    assert not (folder / "out").exists()


def test_labels_that_are_no_classes(folder):
    cv2.imwrite("label3.png", np.full((64, 96), 9, np.uint8))
    with pytest.raises(InputError, match="expected label values of 0 to 2, got 9"):
        run_command("tune", *SMALL, "--min_miou", "0.5")
    assert not (folder / "out").exists()


FLAGS = [
    ([], "one of the arguments --budget_ms --min_miou --max_drop is required"),
    (["--budget_ms", "40", "--min_miou", "0.5"], "not allowed with"),
    (["--budget_ms", "0"], "expected a number from 0.001 to 1e+06, got '0'"),
    (["--budget_ms", "nan"], "got 'nan'"),
    (["--min_miou", "58"], "expected a number from 0 to 1, got '58'"),
    (["--min_miou", "0.5", "--frames", "0"], "got '0'"),
    (["--min_miou", "0.5", "--scales", "1", "0.01"], "expected a number from 0.1 to 4, got '0.01'"),
    (["--min_miou", "0.5", "--precision", "int4"], "invalid choice"),
]


@pytest.mark.parametrize("arguments, words", FLAGS)
def test_flags(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(["--config", "c.yml", *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and words in error and error.count("\n") == 1
