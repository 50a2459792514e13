"""ONNX Runtime and OpenVINO's own runtime in the predictor: the same masks as Paddle's, and no need of Paddle."""

import contextlib
import dataclasses
import importlib.util
import os
import shutil

import cv2
import numpy as np
import paddle
import pytest
from comparing import zip_strict
from processes import python
from rtseg_inference import InputError, Predictor, cli, contract, fastest, processor
from tiny_network import PREPROCESSING, assert_same_mask, dygraph_logits
from tiny_onnx import export_with_onnx

from paddle_rtseg.export.exporter import export_model

PACKAGES = {"onnxruntime": "onnxruntime", "openvino_runtime": "openvino"}


def installed(*packages):
    return all(importlib.util.find_spec(package) for package in packages)


needs_converter = pytest.mark.skipif(
    not installed("paddle2onnx", "onnxruntime") or paddle.__version__.startswith("2."),
    reason="paddle2onnx and onnxruntime are not installed, or this Paddle is older than paddle2onnx takes",
)
backends = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=pytest.mark.skipif(not installed(package), reason=f"{package} is not installed"))
        for name, package in PACKAGES.items()
    ],
)

pytestmark = pytest.mark.skipif(not installed("onnx"), reason="onnx is not installed")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The tiny network with its ONNX form."""
    return export_with_onnx(model, tmp_path_factory.mktemp("onnx") / "model")


@pytest.fixture
def without_onnx(folder, tmp_path):
    """The same folder, as exports without the ONNX form wrote it."""
    copied = shutil.copytree(folder, tmp_path / "model")
    found = contract.read_contract(str(copied))
    sums = {name: digest for name, digest in found.sha256.items() if not name.endswith(".onnx")}
    contract.write_contract(dataclasses.replace(found, sha256=sums, onnx=None, onnx_fp16=None), {})
    return str(copied)


@needs_converter
@backends
@pytest.mark.parametrize("output_op", ["logits", "argmax"])
def test_what_the_exporter_wrote(backend, output_op, model, frame, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, output_op=output_op, format="onnx")
    predictor = Predictor(folder, backend=backend)
    assert predictor.verify().passed
    assert_same_mask(predictor.predict(frame).mask, dygraph_logits(model, [frame])[0])


@backends
def test_masks_equal_dygraph(backend, folder, model, frame):
    predictor = Predictor(folder, backend=backend, threads=1)
    assert predictor.verify().passed and predictor.runtime.threads == 1
    for image in (frame, frame[:100, :131]):
        assert_same_mask(predictor.predict(image).mask, dygraph_logits(model, [image])[0])
    batch = [frame[:64, :80], frame[64:128, :80], frame[128:192, :80]]
    results = predictor.predict(batch)
    for result, logits in zip_strict(results, dygraph_logits(model, batch)):
        assert_same_mask(result.mask, logits)


@backends
def test_results_are_not_overwritten_by_the_next_run(backend, folder, frame):
    predictor = Predictor(folder, backend=backend)
    first = predictor.predict(frame)
    kept = first.output.copy()
    predictor.predict(255 - frame)
    assert np.array_equal(first.output, kept)


@needs_converter
@backends
def test_raw_input(backend, model, frame, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, raw_input=True, output_op="logits", format="onnx")
    predictor = Predictor(folder, backend=backend)
    assert predictor.verify().passed
    assert_same_mask(predictor.predict(frame).mask, dygraph_logits(model, [frame])[0], rounding=1e-4)


@backends
def test_damaged_onnx_file_is_one_sentence(backend, folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "model")
    (copied / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"model\.onnx has SHA-256 .* changed or cut short"):
        Predictor(str(copied), backend=backend)
    found = contract.parse(contract.load(str(copied)), str(copied))
    sums = {**found.sha256, "model.onnx": contract.sha256(str(copied / "model.onnx"))}
    contract.write_contract(dataclasses.replace(found, sha256=sums), {})
    with pytest.raises(InputError, match=rf"cannot load model\.onnx as cpu {backend} fp32: ") as caught:
        Predictor(str(copied), backend=backend)
    assert "\n" not in str(caught.value)


@backends
def test_failed_run_is_one_sentence(backend, folder):
    predictor = Predictor(folder, backend=backend)
    with pytest.raises(InputError, match=rf"cannot run model\.onnx on 1x4x64x64 as cpu {backend} fp32: ") as caught:
        predictor.runtime.run(np.zeros((1, 4, 64, 64), np.float32))
    assert "\n" not in str(caught.value)


@backends
@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_failures_leave_the_stack_for_signals(backend, folder):
    """In a process of its own, with pytest's handler and Paddle: a signal after a failure must not end it."""
    done = python(
        "-c",
        "import faulthandler, os, signal, sys\n"
        "faulthandler.enable()\n"
        "import numpy as np\n"
        "import paddle\n"
        "from rtseg_inference import InputError, Predictor, signal_stack\n"
        "before = signal_stack.current()\n"
        "predictor = Predictor(sys.argv[1], backend=sys.argv[2])\n"
        "for _ in range(3):\n"
        "    try:\n"
        "        predictor.runtime.run(np.zeros((1, 4, 64, 64), np.float32))\n"
        "    except InputError:\n"
        "        pass\n"
        "assert before[1] == 0 and signal_stack.current() == before\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n",
        folder,
        backend,
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "handled", done.stderr


@backends
def test_image_outside_the_range(backend, folder, frame):
    with pytest.raises(InputError, match="the model takes NCHW inputs of 1x3x32x32 to"):
        Predictor(folder, backend=backend).predict(frame[:20, :20])


@backends
def test_folder_without_the_onnx_form(backend, without_onnx, capsys):
    assert cli.run(["--model", without_onnx, "--backend", backend]) == 2
    assert "has no ONNX form of the model; export it with --format onnx" in capsys.readouterr().err
    _, trials = fastest(without_onnx)
    note = next(str(trial) for trial in trials if f" {backend} " in trial.name)
    assert note.startswith(f"cpu {backend} fp32: left out (") and "export it with --format onnx" in note


@backends
def test_fastest_tries_it(backend, folder):
    _, trials = fastest(folder)
    trial = next(trial for trial in trials if trial.name == f"cpu {backend} fp32")
    assert trial.milliseconds is not None and "relative error" in trial.note


@backends
def test_missing_package_is_named(backend, folder, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, PACKAGES[backend], None)
    assert cli.run(["--model", folder, "--backend", backend]) == 2
    shown = capsys.readouterr().err
    assert f"pip install {PACKAGES[backend]}" in shown and shown.count("\n") == 1
    _, trials = fastest(folder)
    assert next(t for t in trials if f" {backend} " in t.name).left_out


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_bf16_in_openvino_runs_or_is_refused(folder):
    reason = processor.obstacle("bf16")
    refused = contextlib.nullcontext() if reason is None else pytest.raises(InputError, match="for bf16")
    with refused:
        assert Predictor(folder, backend="openvino_runtime", precision="bf16").verify().passed


def test_precisions_of_onnxruntime_on_a_cpu(folder):
    with pytest.raises(InputError, match="precision of cpu onnxruntime to be one of fp32, int8, got 'fp16'"):
        Predictor(folder, backend="onnxruntime", precision="fp16")


WITHOUT_PADDLE = """
import sys
class NoPaddle:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("paddle", "paddleseg", "paddle_rtseg"):
            raise ImportError("No module named " + name)
sys.meta_path.insert(0, NoPaddle)
"""


@pytest.mark.slow
def test_without_paddle(folder, frame, model, tmp_path):
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    program = WITHOUT_PADDLE + (
        "import numpy as np\n"
        "from rtseg_inference import InputError, Predictor, cli, fastest\n"
        "folder = sys.argv[1]\n"
        "predictor, trials = fastest(folder)\n"
        "assert predictor.configuration.backend in ('onnxruntime', 'openvino_runtime')\n"
        "assert [t.left_out for t in trials][:3] == [True] * 3\n"
        "np.save('mask.npy', Predictor(folder, backend='onnxruntime').predict('frame.png').mask)\n"
        "status = cli.run(['--model', folder, '--input', 'frame.png', '--save_dir', 'out'])\n"
        "assert 'paddle' not in sys.modules\n"
        "sys.exit(status or cli.run(['--model', folder, '--backend', 'native']))\n"
    )
    done = python("-c", program, folder, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    expected = (
        "error: expected Paddle, got none that can be imported (No module named paddle); pip install paddlepaddle,"
    )
    assert done.stderr.splitlines()[-1].startswith(expected)
    assert_same_mask(np.load(tmp_path / "mask.npy"), dygraph_logits(model, [frame])[0])
    assert_same_mask(
        cv2.imread(str(tmp_path / "out" / "masks" / "frame.png"), cv2.IMREAD_UNCHANGED),
        dygraph_logits(model, [frame])[0],
    )


@pytest.mark.slow
@backends
def test_memory_levels_off_with_new_sizes(backend, folder, frame):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    predictor = Predictor(folder, backend=backend)

    def resident_mb(rounds):
        for k in range(rounds):
            predictor.predict(np.ascontiguousarray(frame[: 100 + k % 97, : 100 + (7 * k) % 211]))
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    before = resident_mb(450)
    assert resident_mb(300) - before < 40
