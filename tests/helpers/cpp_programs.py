"""Building and running the C++ programs.

Everything except the network itself is built wherever CMake, OpenCV and yaml-cpp are installed. rtseg_infer also needs
Paddle's headers, of the installed version, in the folder that PADDLE_INFERENCE_HEADERS names, or ONNX Runtime's, not
newer than the installed package, in the folder that ONNXRUNTIME_HEADERS names.
"""

import importlib.util
import os
import pathlib
import shutil
import subprocess
from typing import Any, List, Sequence, Tuple

import pytest

SOURCE = pathlib.Path(__file__).parents[2] / "deploy" / "cpp"
HEADERS = os.environ.get("PADDLE_INFERENCE_HEADERS")
ONNXRUNTIME_HEADERS = os.environ.get("ONNXRUNTIME_HEADERS")
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"


def run(*command: Any) -> Tuple[int, str, str]:
    """Status and both outputs of a command."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def onnxruntime_options() -> List[str]:
    """What CMake is told of the installed ONNX Runtime; nothing if it or its headers are missing."""
    package = importlib.util.find_spec("onnxruntime")
    if not ONNXRUNTIME_HEADERS or package is None:
        return []
    return [f"-DONNXRUNTIME={os.path.dirname(str(package.origin))}", f"-DONNXRUNTIME_HEADERS={ONNXRUNTIME_HEADERS}"]


def build(configure: Sequence[Any], folder: pathlib.Path, *targets: str) -> pathlib.Path:
    """Configure and build, without warnings, and return the folder."""
    if not shutil.which("cmake"):
        pytest.skip("CMake is not installed")
    wanted = ["--target", *targets] if targets else []
    for command in (configure, ["cmake", "--build", folder, "--parallel", 2, *wanted]):
        status, out, err = run(*command)
        if status and "Could not find a package configuration file" in err:
            pytest.skip("OpenCV or yaml-cpp for C++ is not installed (libopencv-dev, libyaml-cpp-dev)")
        assert status == 0, out + err
        assert "warning: " not in out + err
    return folder


def build_with_sanitizers(folder: pathlib.Path, *targets: str) -> pathlib.Path:
    """Build programs that end where they misuse memory or overflow, and return the folder."""
    source = folder / "probe.cpp"
    source.write_text("int main() {}\n")
    flags = SANITIZERS.split()
    if shutil.which("c++") and run("c++", *flags, source, "-o", folder / "probe")[0]:
        pytest.skip("the compiler has no sanitizers")
    # GCC warns of uninitialised values in the standard library's own code when it adds its checks.
    flags = [*flags, "-Wno-maybe-uninitialized"]
    options = [f"-DCMAKE_CXX_FLAGS={' '.join(flags)}", "-DCMAKE_BUILD_TYPE=None"]
    return build(["cmake", "-S", SOURCE, "-B", folder / "build", *options], folder / "build", *targets)
