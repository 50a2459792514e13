"""What is known of a GPU, and what its user is told; nvidia-smi and the runtimes are stand-ins."""

import os
import shutil
import stat
import subprocess
import sys
import time
import types

import pytest
from rtseg_inference import gpu
from rtseg_inference.errors import InputError
from rtseg_inference.gpu import Card

H200 = "GPU-aaaa1111, 9.0, 143771, 580.65.06, NVIDIA H200\n"
T4 = "GPU-bbbb2222, 7.5, 15360, 535.183.01, Tesla T4\n"
HOPPER = Card("NVIDIA H200", (9, 0), 143771, "580.65.06")


@pytest.fixture(autouse=True)
def nothing_known():
    gpu._installed.cache_clear()
    yield
    gpu._installed.cache_clear()


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """``smi(script)`` puts an nvidia-smi with this shell script first on PATH; no library of a driver answers."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "_ASK_LIBRARY", "raise SystemExit(1)")

    def install(script):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return install


def printing(text):
    return f"cat <<'END'\n{text}END\n"


def test_cards(smi):
    smi(printing(H200 + T4))
    assert gpu.cards() == [HOPPER, Card("Tesla T4", (7, 5), 15360, "535.183.01")]
    assert str(gpu.cards()[0]) == "NVIDIA H200 (compute capability 9.0)"


@pytest.mark.parametrize(
    "script",
    [
        "exit 9",
        "echo 'No devices were found'",
        "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2",
        "printf ',,,,\\n\\377\\376, \\n'",
        "echo 'GPU-1, nine, 1, 2, name'",
        "head -c 1000000 /dev/zero",
    ],
)
def test_no_usable_answer(script, smi):
    smi(script)
    assert gpu.cards() == []


def test_values_that_the_driver_does_not_tell(smi):
    smi(printing("GPU-1, 8.0, [N/A], [Unknown Error], NVIDIA A100-SXM4-80GB MIG 1g.10gb, a\x1b[31m part\n"))
    (card,) = gpu.cards()
    assert card == Card("NVIDIA A100-SXM4-80GB MIG 1g.10gb, a [31m part", (8, 0), None, "")


@pytest.mark.slow
def test_a_driver_that_does_not_answer(smi, monkeypatch):
    monkeypatch.setattr(gpu, "TIMEOUT", 0.3)
    smi("sleep 30 & wait")  # the child keeps the output open after its parent was killed
    start = time.monotonic()
    assert gpu.cards() == []
    assert time.monotonic() - start < 15


def test_the_library_is_asked_where_nvidia_smi_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # which the library respects itself
    monkeypatch.setattr(gpu, "_ASK_LIBRARY", "print('-, 12.0, 32607, -, NVIDIA GeForce RTX 5090')")
    assert gpu.cards() == [Card("NVIDIA GeForce RTX 5090", (12, 0), 32607, "")]


#: A driver's library with one RTX 5090 in it.
LIBRARY = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int index) { *device = 7; return index; }
int cuDeviceGetName(char* name, int size, int device) {
  strncpy(name, "NVIDIA GeForce RTX 5090", size);
  return device != 7;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 12 : 0;
  return device != 7;
}
int cuDeviceTotalMem_v2(size_t* size, int device) { *size = 32607ull << 20; return device != 7; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_drivers_library_is_asked_in_its_own_language(monkeypatch, tmp_path):
    source = tmp_path / "cuda.c"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", source], check=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert gpu.cards() == [Card("NVIDIA GeForce RTX 5090", (12, 0), 32607, "")]


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("0,1", ["NVIDIA H200", "Tesla T4"]),
        ("1", ["Tesla T4"]),
        ("GPU-bbbb", ["Tesla T4"]),
        ("1,7,0", ["Tesla T4"]),
        ("", []),
        ("-1", []),
        ("MIG-5c9e", ["NVIDIA H200", "Tesla T4"]),
    ],
)
def test_cuda_visible_devices(variable, names, smi, monkeypatch):
    smi(printing(H200 + T4))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert [card.name for card in gpu.cards()] == names


@pytest.mark.parametrize(
    ("capability", "driver", "told"),
    [
        ((6, 0), "580.1", ["cudnn]<1.27"]),
        ((7, 0), "580.1", ["cudnn]<1.27", "paddlepaddle-gpu==2.6.2"]),
        ((7, 5), "580.1", ["cudnn]>=1.29", "paddlepaddle-gpu==2.6.2"]),
        ((8, 9), "", ["cudnn]>=1.29", "paddlepaddle-gpu==2.6.2"]),
        ((8, 9), "550.54", ["cudnn]<1.27", "paddlepaddle-gpu==2.6.2"]),
        ((9, 0), "580.1", ["cudnn]>=1.29", "stable/cu126/"]),
        ((10, 0), "580.1", ["cudnn]==1.28.0", "stable/cu129/"]),
        ((10, 3), "580.1", ["cudnn]<1.27", "stable/cu129/"]),
        ((12, 0), "580.1", ["cudnn]>=1.29", "stable/cu129/"]),
        (
            (8, 0),
            "470.1",
            ["cudnn]<1.27", "paddlepaddle-gpu==2.6.2", "driver from 470.1 to 525 or later"],
        ),
        ((5, 2), "470.1", ["no package is known that supports compute capability 5.2, so use --device cpu"]),
        ((13, 0), "900.1", ["no package is known that supports compute capability 13.0, so use --device cpu"]),
    ],
)
def test_advice(capability, driver, told, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12))
    advice = gpu.advice(Card("card", capability, None, driver))
    assert all(part in advice for part in told), advice
    assert "\n" not in advice
    assert advice.count("pip install") == len([part for part in told if part.startswith(("cudnn", "paddle", "stable"))])


def test_advice_for_an_older_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10))  # no wheel of ONNX Runtime for CUDA 13
    assert "cudnn]<1.27" in gpu.advice(HOPPER)


def paddle(version, cuda, archs=None, devices=1, capability=(9, 0)):
    """A stand-in for an installed Paddle."""
    module = types.ModuleType("paddle")
    module.__version__ = version
    module.is_compiled_with_cuda = lambda: bool(cuda)
    module.version = types.SimpleNamespace(cuda=lambda: cuda)
    if archs is not None:
        module.version.cuda_archs = lambda: archs
    seen = types.SimpleNamespace(name="NVIDIA H200", major=capability[0], minor=capability[1], total_memory=1 << 37)
    module.device = types.SimpleNamespace(
        cuda=types.SimpleNamespace(device_count=lambda: devices, get_device_properties=lambda index: seen)
    )
    return module


@pytest.mark.parametrize(
    ("installed", "capability", "message"),
    [
        (paddle("2.6.2", "11.8"), (8, 6), None),
        (paddle("2.6.2", "11.8"), (8, 9), None),
        (paddle("2.6.2", "11.8"), (9, 0), "expected a Paddle with code for card (compute capability 9.0), got Paddle "),
        (paddle("2.6.2", "11.8"), (6, 0), "which has it for 6.1, 7.0, 7.5, 8.0, 8.6; "),
        (paddle("2.6.2", "12.0"), (9, 0), None),  # not listed: the build is not known to lack anything
        (paddle("3.3.1", "12.6", [70, 75, 80, 90]), (9, 0), None),
        (paddle("3.3.1", "12.6", ["70", "75", "80", "90"]), (12, 0), "which has it for 7.0, 7.5, 8.0, 9.0; "),
        (paddle("3.3.1", "12.9", [90, 100, 120]), (12, 1), None),
        (paddle("3.3.1", ""), (9, 0), "got Paddle 3.3.1 for the CPU; "),
    ],
)
def test_obstacles_of_paddle(installed, capability, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "paddle", installed)
    obstacle = gpu.obstacle_paddle(Card("card", capability, None, "580.1"))
    assert obstacle is None if message is None else (message in obstacle and "pip install" in obstacle)


def test_paddle_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "paddle", None)
    assert "got none that can be imported; for inference run 'pip install" in gpu.obstacle_paddle(HOPPER)


def onnxruntime(version, cuda):
    """A stand-in for an installed ONNX Runtime."""
    module = types.ModuleType("onnxruntime")
    module.__version__ = version
    module.cuda_version = cuda
    module.get_available_providers = lambda: ["CUDAExecutionProvider"] * bool(cuda) + ["CPUExecutionProvider"]
    return module


@pytest.mark.parametrize(
    ("installed", "card", "message"),
    [
        (onnxruntime("1.31.1", "13.0"), HOPPER, None),
        (onnxruntime("1.31.1", "13.0"), Card("card", (7, 0), None, "580.1"), "for CUDA 13.0, which has it for 7.5, "),
        (onnxruntime("1.31.1", "13.0"), Card("card", (10, 0), None, "580.1"), "for 7.5, 8.0, 8.6, 8.9, 9.0, 12.0; "),
        (onnxruntime("1.28.0", "13.0"), Card("card", (10, 0), None, "580.1"), None),
        (onnxruntime("1.28.0", "13.0"), Card("card", (10, 3), None, "580.1"), "9.0, 10.0, 12.0, PTX 12.0; "),
        (onnxruntime("1.27.0", "13.0"), Card("card", (10, 3), None, "580.1"), None),  # not listed
        (onnxruntime("1.32.0", "13.0"), Card("card", (10, 3), None, "580.1"), None),
        (onnxruntime("1.19.2", "12.6"), Card("card", (7, 0), None, "580.1"), None),
        (onnxruntime("1.31.1", "13.0"), Card("card", (9, 0), None, "550.54"), "NVIDIA driver 580 or later for ONNX"),
        (onnxruntime("1.26.0", "12.8"), Card("card", (9, 0), None, "550.54"), None),
        (onnxruntime("1.26.0", "12.8"), Card("card", (10, 3), None, "580.1"), None),
        (onnxruntime("1.26.0", "12.8"), Card("card", (5, 2), None, "580.1"), "8.6, 9.0, PTX 9.0; no package is known"),
        (onnxruntime("1.32.0", ""), HOPPER, "got ONNX Runtime 1.32.0 for the CPU, to be uninstalled first; for inf"),
    ],
)
def test_obstacles_of_onnxruntime(installed, card, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", installed)
    obstacle = gpu.obstacle_onnxruntime(card)
    assert obstacle is None if message is None else message in obstacle


@pytest.mark.parametrize(
    ("installed", "answer", "message"),
    [
        (paddle("3.3.1", "", devices=0), "", "expected an NVIDIA GPU, got a machine without one"),
        (paddle("3.3.1", "", devices=0), H200, "expected a Paddle with CUDA, to use NVIDIA H200"),
        (paddle("2.6.2", "11.8"), H200, "expected a Paddle with code for NVIDIA H200 (compute capability 9.0), got "),
        (paddle("3.3.1", "12.6", [90], devices=0), H200, "expected Paddle to find GPU 0, got none; check the driver"),
        (paddle("3.3.1", "12.6", [90]), T4 + H200, None),  # Paddle's order of the cards counts
        (paddle("2.6.2", "11.8"), T4 + H200, "expected a Paddle with code for NVIDIA H200"),
    ],
)
def test_require_paddle(installed, answer, message, smi, monkeypatch):
    smi(printing(answer))
    monkeypatch.setitem(sys.modules, "paddle", installed)
    if message is None:
        gpu.require_paddle()
    else:
        with pytest.raises(InputError) as raised:
            gpu.require_paddle()
        assert message in str(raised.value)
        assert str(raised.value).endswith(", or use --device cpu")
