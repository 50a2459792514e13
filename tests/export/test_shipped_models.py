"""Every model, exported in every format and on every CPU backend, gives the output that it has in training."""

import importlib.util

import paddle
import pytest
from rtseg_inference import Predictor
from rtseg_inference.configuration import BACKENDS
from tiny_models import LARGE_CASES, create
from tiny_network import PREPROCESSING

from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.export.onnx import obstacle

pytestmark = pytest.mark.slow

OLD_PADDLE = paddle.__version__.startswith("2.")


@pytest.mark.parametrize("form", ["pdmodel"] if OLD_PADDLE else ["json", "pdmodel"])
@pytest.mark.parametrize("case", LARGE_CASES, ids=lambda case: case.name)
def test_golden_output_is_reproduced(case, form, tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    network = create(case)
    network.eval()
    shape = (1, 3, 128, 128) if network.fixed_size_reason else None
    onnx = "no" if obstacle() or form == "pdmodel" else "required"  # as exports of that format have none
    folder = export_model(
        network, str(tmp_path / "model"), PREPROCESSING, shape, output_op="logits", format=form, onnx=onnx
    )
    backends = set(BACKENDS["cpu"])
    if OLD_PADDLE or form == "json":  # neither has OpenVINO
        backends.remove("openvino")
    if onnx == "no":
        backends -= {"onnxruntime", "openvino_runtime"}
    elif importlib.util.find_spec("openvino") is None:
        backends.remove("openvino_runtime")
    found = {backend: Predictor(folder, backend=backend).verify() for backend in backends}
    assert all(verification.passed for verification in found.values()), found
