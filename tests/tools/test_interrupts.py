"""Ctrl-C and SIGTERM within every command that takes a while: 130 or 143, soon, without a traceback, half a file or a
process that is left behind.

While a command is still being imported the signal itself ends it, which a shell reports as the same status.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_configs import tiny_config, write_config
from tiny_models import TINY_RTFORMER
from tiny_network import PREPROCESSING, tiny

import paddle_rtseg
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.weights import save_state

pytestmark = pytest.mark.slow

TINY = "RTFormer_Slim:" + ",".join(f"{name}={value}" for name, value in TINY_RTFORMER.items())
OPTIONS = ["--config", "config.yml", "--device", "cpu"]
COMMANDS = {
    "train": ["paddleseg.train", *OPTIONS, "--iters", "100000", "--save_interval", "7", "--num_workers", "2"],
    "val": ["paddleseg.val", *OPTIONS, "--model_path", "w.pdparams", "--num_workers", "2"],
    "predict": ["paddleseg.predict", *OPTIONS, "--model_path", "w.pdparams", "--image_path", "images"],
    "export": ["paddleseg.export", *OPTIONS, "--model_path", "w.pdparams", "--save_dir", "exported"],
    "infer": ["rtseg_inference", "--model", "model", "--input", "images", "--save_dir", "out"],
    "benchmark": ["paddle_rtseg.benchmark", "--models", TINY, "--sizes", "64x64", "--turns", "10000", "--save", "t.md"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_images):
    """A folder with a config, weights, an exported model and many images."""
    root = tmp_path_factory.mktemp("interrupts")
    write_config(root / "config.yml", tiny_config(tiny_images))
    network = paddle_rtseg.create_model("RTFormer_Slim", num_classes=4, layer_nums=[1, 1, 1], **TINY_RTFORMER)
    save_state({name: value.numpy() for name, value in network.state_dict().items()}, root / "w.pdparams")
    export_model(tiny(), root / "model", PREPROCESSING, output_op="logits", onnx="no")
    (root / "images").mkdir()
    for i in range(3000):
        os.link(f"{tiny_images}/image{i % 8}.png", root / "images" / f"{i}.png")
    return root


def interrupted(arguments, folder, seconds, number):
    """Start a command; after some time send Ctrl-C to all its processes, as a terminal does, or SIGTERM to the first.

    Returns:
        Its status and what it said.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    try:
        _, errors = process.communicate(timeout=120)
        left_behind = time.monotonic() + 10
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < left_behind:
                os.killpg(process.pid, 0)
                time.sleep(0.1)
            raise AssertionError("processes are left behind")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, errors


@pytest.mark.parametrize("command", COMMANDS)
def test_interrupt(command, folder):
    start = time.monotonic()
    finished = 0
    for seconds, number in ((2, signal.SIGINT), (6, signal.SIGTERM)):
        status, errors = interrupted(COMMANDS[command], folder, seconds, number)
        finished += status == 0
        assert status in (0, 128 + number, -number), (seconds, status, errors[-2000:])
        if status == 128 + number:
            assert "Traceback" not in errors and "error:" not in errors, (seconds, errors[-2000:])
        for parent, folders, files in os.walk(folder):
            assert not [name for name in folders + files if name.startswith(".partial-")], (seconds, parent)
    assert finished < 2, f"never interrupted in {time.monotonic() - start:.0f} s"
