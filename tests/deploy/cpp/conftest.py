"""The C++ programs, built once: with each engine that has its headers, and a second time with ONNX Runtime alone."""

import sys

import paddle
import pytest
from cpp_programs import HEADERS, ONNXRUNTIME_HEADERS, SOURCE, build, onnxruntime_options


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The folder of the programs that can be built here."""
    folder = tmp_path_factory.mktemp("build")
    configure = [SOURCE / "build_with_wheel.sh", HEADERS, folder, sys.executable, *onnxruntime_options()]
    if not HEADERS or paddle.__version__.startswith("2."):
        configure = ["cmake", "-S", SOURCE, "-B", folder]
    return build(configure, folder)


@pytest.fixture(scope="session")
def host_check(programs):
    """The program that exposes what runs around the network."""
    return programs / "host_check"


@pytest.fixture(scope="session")
def image_check(programs):
    """The program that exposes how images are read, found and written."""
    return programs / "image_check"


@pytest.fixture(scope="session")
def rtseg_infer(programs):
    """The program, linked with the installed wheel."""
    if not HEADERS:
        pytest.skip("PADDLE_INFERENCE_HEADERS does not name a folder of Paddle's inference headers")
    if paddle.__version__.startswith("2."):
        pytest.skip("PADDLE_INFERENCE_HEADERS belongs to the default Paddle, not to this one")
    return programs / "rtseg_infer"


@pytest.fixture(scope="session")
def onnx_infer(tmp_path_factory):
    """The program, linked with ONNX Runtime alone."""
    if not ONNXRUNTIME_HEADERS:
        pytest.skip("ONNXRUNTIME_HEADERS does not name a folder of ONNX Runtime's headers")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("onnx_build")
    return build(["cmake", "-S", SOURCE, "-B", folder, *onnxruntime_options()], folder) / "rtseg_infer"
