"""Precisions that the processor lacks are refused in one sentence, and every instruction set gives the golden output.

ONEDNN_MAX_CPU_ISA limits oneDNN to smaller instruction sets, so that one machine shows how others behave.
"""

import os

import pytest
from processes import python
from rtseg_inference import processor
from rtseg_inference.errors import InputError

pytestmark = pytest.mark.slow

AVX512 = frozenset(("avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"))
#: Instruction sets to limit oneDNN to, and the processor flag that each needs.
INSTRUCTION_SETS = {"SSE41": "sse4_1", "AVX2": "avx2", "AVX512_CORE": "avx512bw", "AVX512_CORE_BF16": "avx512_bf16"}


@pytest.fixture(params=INSTRUCTION_SETS)
def limited(request):
    """The environment that limits oneDNN to an instruction set."""
    needed = INSTRUCTION_SETS[request.param]
    if needed not in processor.flags():
        pytest.skip(f"this processor has no {needed}")
    return {**os.environ, "ONEDNN_MAX_CPU_ISA": request.param}


def run(*arguments, env):
    return python(*arguments, **env)


@pytest.mark.parametrize(
    ("flags", "precision", "limit", "message"),
    [
        (AVX512, "fp32", "AVX2", None),
        (AVX512, "bf16", "", None),
        (AVX512, "bf16", "AVX512_CORE", None),
        (AVX512, "bf16", "avx2", "expected AVX-512 to be allowed for bf16, got ONEDNN_MAX_CPU_ISA=avx2; unset it"),
        ({"avx2"}, "fp32", "", None),
        ({"avx2"}, "bf16", "", "expected a processor with AVX-512 for bf16, got one without avx512f, avx512bw"),
        (AVX512, "fp16", "", "expected a processor with AVX-512 FP16 for fp16, got one without avx512_fp16; use fp32"),
        (AVX512 | {"avx512_fp16"}, "fp16", "", None),
        (AVX512 | {"avx512_fp16"}, "fp16", "AVX512_CORE", "got ONEDNN_MAX_CPU_ISA=AVX512_CORE"),
        ((), "bf16", "", "got one without avx512f"),
    ],
)
def test_obstacles(flags, precision, limit, message, monkeypatch):
    monkeypatch.setattr(processor, "flags", lambda: frozenset(flags))
    obstacle = processor.obstacle(precision, {"ONEDNN_MAX_CPU_ISA": limit})
    assert obstacle is None if message is None else message in obstacle


def test_require_raises_the_obstacle(monkeypatch):
    monkeypatch.setattr(processor, "flags", frozenset)
    processor.require("fp32")
    with pytest.raises(InputError, match="for bf16"):
        processor.require("bf16")


def test_golden_output_on_every_instruction_set(exported, limited):
    """The model was exported with this machine's best instruction set."""
    done = run("-m", "rtseg_inference", "--model", exported["logits"], env=limited)
    assert done.returncode == 0, done.stderr
    assert "cpu native fp32: " in done.stdout and "cpu onednn fp32: " in done.stdout
    assert "dropped" not in done.stdout.replace("openvino fp32: dropped", "")


def test_bf16_runs_or_is_refused(exported, limited):
    """It is never silently computed in fp32."""
    done = run(
        "-m",
        "rtseg_inference",
        "--model",
        exported["logits"],
        "--precision",
        "bf16",
        "--backend",
        "onednn",
        env=limited,
    )
    allowed = limited["ONEDNN_MAX_CPU_ISA"].startswith("AVX512")
    assert ("for bf16, got" in done.stderr) != allowed  # one without AVX-512, or ONEDNN_MAX_CPU_ISA
    assert allowed or done.returncode == 2
    assert "Traceback" not in done.stderr


def test_auto_backend_refuses_bf16_in_one_sentence(exported):
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = run("-m", "rtseg_inference", "--model", exported["logits"], "--precision", "bf16", env=env)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: expected")
    assert len(done.stderr.splitlines()[-1]) < 200
