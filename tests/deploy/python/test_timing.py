"""The timing tool for exported models: its turns, its rows, what it skips, and its command."""

import json
import os
import shutil
import sys
import time

import pytest
from comparing import zip_strict
from processes import python
from rtseg_inference import Predictor, timing
from rtseg_inference.configuration import Configuration
from rtseg_inference.errors import InputError
from rtseg_inference.onnx_runtime import OnnxCpuRuntime
from rtseg_inference.timing import Clock, Journal, Milliseconds, Plan, Variant
from tiny_onnx import export_with_onnx

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


THREE_TURNS = Plan(turns=3)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The tiny network with its ONNX form."""
    return export_with_onnx(model, tmp_path_factory.mktemp("onnx") / "model")


@pytest.fixture
def folders(exported, tmp_path):
    """Two copies of the exported network."""
    return [shutil.copytree(exported, tmp_path / name) for name in ("first", "second")]


def timed(folders, journal, lines, batch_sizes=(1,), plan=THREE_TURNS):
    variants = [Variant(str(folder), Configuration("cpu", "onnxruntime")) for folder in folders]
    return timing.time_models(variants, batch_sizes, plan, journal, lines.append)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(timing, "REST", 0.0)


def test_turns():
    calls, seen = [], []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.measure(runs, turns=3, rest=0, calls=2, after_turn=lambda times: seen.append(len(times["b"])))
    assert "".join(calls) == "aabb" * 4
    assert {name: len(taken) for name, taken in times.items()} == {"a": 6, "b": 6}
    assert seen == [2, 4, 6]


def test_turns_end_with_the_time():
    times = timing.measure({"a": lambda: None}, turns=50, rest=0, until=time.monotonic())
    assert len(times["a"]) == timing.LEAST_TURNS


def test_quartiles():
    assert Milliseconds.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Milliseconds(3.0, 2.0, 4.0, 5)


def test_rows_hold_times_and_correctness(folders, tmp_path):
    lines, path = [], tmp_path / "rows.jsonl"
    assert timed(folders, Journal(str(path)), lines, batch_sizes=(1, 2)) == []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    expected = [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
    assert [(row["key"]["model"], row["key"]["batch_size"]) for row in rows] == expected
    for row, line in zip_strict(rows, lines):
        assert 0 < row["network"]["lower"] <= row["network"]["median"] < row["whole"]["upper"]
        assert row["golden"]["passed"] and row["network"]["calls"] == 3
        assert "correct (100.00%" in line and "NOT CORRECT" not in line
        assert ("100.00% in the batch as alone" in line) == (row["key"]["batch_size"] == 2)


def test_batch_that_mixes_its_images_up(folders, monkeypatch, capsys):
    run = OnnxCpuRuntime.run
    monkeypatch.setattr(OnnxCpuRuntime, "run", lambda self, batch: run(self, batch)[::-1])
    flags = ["--backend", "onnxruntime", "--batch_size", "1", "2", "--turns", "2"]
    assert timing.run(["--model", str(folders[0]), *flags]) == 1
    alone, together = capsys.readouterr().out.splitlines()
    assert "correct" in alone and "NOT CORRECT" not in alone
    assert "NOT CORRECT (100.00% of the pixels agree" in together and "% in the batch as alone" in together


def test_model_that_does_not_run_is_a_row_with_a_note(folders, tmp_path):
    (folders[0] / "golden_mask.png").write_bytes(b"another")
    journal, lines = Journal(str(tmp_path / "rows.jsonl")), []
    timed(folders, journal, lines)
    assert "did not run" in lines[0] and "SHA-256" in lines[0]
    assert "correct" in lines[1]
    assert "SHA-256" in json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])["note"]


def test_wrong_result_is_shown_beside_its_time():
    golden = {"passed": False, "agreement": 0.5, "rms_error": 0.25}
    times = {"median": 1.0, "lower": 1.0, "upper": 1.0, "calls": 3}
    row = {"network": times, "whole": times, "golden": golden, "build_seconds": 1, "megabytes": None}
    assert "NOT CORRECT (50.00% of the pixels agree, relative error 2.5e-01)" in timing.described(row)


def test_second_run_measures_what_is_missing(folders, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    timed(folders[:1], Journal(str(path)), [])
    before = path.read_text()
    loaded = []
    monkeypatch.setattr(Variant, "load", lambda v: loaded.append(v.model) or Predictor(v.model, backend="onnxruntime"))
    lines = []
    timed(folders, Journal(str(path)), lines)
    assert loaded == [str(folders[1])]
    assert "measured before" in lines[0]
    assert path.read_text().startswith(before)


def test_row_of_another_file_or_setting_is_measured_again(folders, tmp_path):
    journal = Journal(str(tmp_path / "rows.jsonl"))
    variant = Variant(str(folders[0]), Configuration("cpu", "onnxruntime"))
    settings = timing.machine("cpu")
    key = timing.row_key(variant, 1, settings)
    journal.put(key, network={})
    assert journal.find(timing.row_key(variant, 1, settings)) is not None
    assert journal.find(timing.row_key(variant, 2, settings)) is None
    assert journal.find(timing.row_key(variant, 1, {**settings, "machine": "another"})) is None
    with open(folders[0] / "deploy.yaml", "a") as f:
        f.write("\n")
    assert journal.find(timing.row_key(variant, 1, settings)) is None


def test_row_with_a_note_is_tried_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    Journal(str(path)).put({"model": "a"}, note="no such package")
    journal = Journal(str(path))
    assert journal.find({"model": "a"}) is None
    journal.put({"model": "a"}, network={})
    assert len(path.read_text().splitlines()) == 1
    assert Journal(str(path)).find({"model": "a"}) is not None


@pytest.mark.parametrize("content", ["| model |", "[1]", '{"model": "a"}', "\xff"])
def test_file_that_is_no_journal(tmp_path, content):
    path = tmp_path / "table.md"
    path.write_text('{"key": {}}\n' + content, encoding="latin-1")
    with pytest.raises(InputError, match="something else in line 2"):
        Journal(str(path))


def test_versions_are_those_of_the_packages_that_python_finds(tmp_path, monkeypatch):
    def install(folder, version):
        (tmp_path / folder / "onnxruntime").mkdir(parents=True)
        (tmp_path / folder / "onnxruntime" / "__init__.py").write_text("raise ImportError('not to be imported')")
        if version:
            described = tmp_path / folder / "onnxruntime_gpu.dist-info"
            described.mkdir()
            (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: {version}\n")
        monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
        monkeypatch.syspath_prepend(str(tmp_path / folder))
        return timing.machine("cpu")["onnxruntime"]

    assert install("first", "1.2.3") == "1.2.3"
    assert install("second", None) == "unknown"


def test_no_time_left(folders):
    plan = Plan(turns=3, clock=Clock(-1))
    skipped = timed(folders, Journal(), [], plan=plan)
    assert skipped == [f"{name}, cpu onnxruntime fp32: no time left" for name in ("first", "second")]


def test_batch_that_the_model_does_not_take(folders, monkeypatch):
    calls_of = timing.calls_of

    def of_one_image(predictor, images):
        if len(images) > 1:
            raise InputError("the model takes one image")
        return calls_of(predictor, images)

    monkeypatch.setattr(timing, "calls_of", of_one_image)
    lines = []
    timed(folders[:1], Journal(), lines, batch_sizes=(1, 2))
    assert "correct" in lines[0]
    assert lines[1].endswith("batch 2: did not run: the model takes one image")


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_command_without_paddle(folders, tmp_path):
    (tmp_path / "paddle.py").write_text("raise ImportError('blocked')")
    rows = tmp_path / "rows.jsonl"
    command = ["-m", "rtseg_inference.timing", "--model", *folders, "--turns", "2", "--backend", "onnxruntime"]
    done = python(*command, "--save", rows, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--turns", "1"], "expected --turns of 2 or more"),
        (["--calls", "0"], "expected --calls of 1 or more"),
        (["--seconds", "0"], "expected --seconds above 0"),
        (["--batch_size", "1", "0"], "expected --batch_size of 1 or more"),
        (["--backend", "fast"], "got 'fast'"),
        (["--provider", "cuda"], "expected a provider only with"),
        (["--backend", "onnxruntime", "--precision", "fp16"], "got 'fp16'"),
    ],
)
def test_bad_flags(folders, capsys, flags, message):
    assert timing.run(["--model", str(folders[0]), *flags]) == 2
    assert message in capsys.readouterr().err


def test_folder_without_a_model(tmp_path, capsys):
    assert timing.run(["--model", str(tmp_path)]) == 2
    assert "deploy.yaml" in capsys.readouterr().err
