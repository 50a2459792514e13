"""The facts about this machine name its GPUs, what the installed packages can run on them and what to install."""

import re
import sys
import types

import pytest
from rtseg_inference import gpu
from rtseg_inference.gpu import Card

from paddle_rtseg.benchmark import machine
from paddle_rtseg.tools import env

H200 = Card("NVIDIA H200", (9, 0), 143771, "580.65.06")


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "cards", list)
    assert machine.gpus() == {"GPU": {"NVIDIA": "none found"}}


def test_env_tells_what_fits_each_gpu(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "cards", lambda: [H200, Card("Tesla T4", (7, 5))])
    monkeypatch.setattr(gpu, "paddle_code", lambda paddle: gpu.Code(((7, 5), (8, 0))))
    monkeypatch.setattr("paddle.is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr("paddle.version.cuda", lambda: "11.8")
    env.main(env.parser().parse_args([]))
    first, second = capsys.readouterr().out.split("GPU 0\n")[1].split("GPU 1\n")
    assert "NVIDIA H200 (compute capability 9.0)" in first and "143771 MiB" in first and "580.65.06" in first
    assert "expected a Paddle with code for NVIDIA H200" in first and first.count("pip install") == 2  # told once
    assert re.search(rf"^  what to install +{re.escape(gpu.advice(H200))}$", first, re.MULTILINE)
    assert "Tesla T4 (compute capability 7.5)" in second and "unknown" in second and "can run on it" in second


@pytest.mark.parametrize(
    ("version", "capability", "answer"),
    [
        ("8.6.1", (6, 1), "8.6.1 runs on it: it supports 6.0 to 9.0"),
        ("10.5.0", (7, 0), "10.5.0 does not run on it: it supports 7.5 to 9.0"),
        ("10.5.0", (10, 0), "10.5.0 does not run on it: it supports 7.5 to 9.0"),
        ("10.13.0.35", (12, 0), "10.13.0.35 runs on it: it supports 7.5 to 12.1"),
        ("7.2.3", (7, 0), "7.2.3, of which it is not known"),
    ],
)
def test_tensorrt(version, capability, answer, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__=version))
    assert gpu.support(Card("card", capability))["TensorRT"] == answer


@pytest.mark.parametrize(("capability", "runs"), [((8, 6), True), ((8, 0), False), ((9, 0), False), ((12, 0), True)])
def test_tensorrt_rtx(capability, runs):
    assert ("does not run" not in gpu.support(Card("card", capability))["TensorRT-RTX"]) == runs


def test_packages_that_may_be_missing():
    assert machine.optional_version("no_such_package") == "not installed"
    assert machine.optional_version("pytest").startswith(f"{pytest.__version__} (pytest")
