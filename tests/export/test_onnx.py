"""ONNX is kept only if it computes the same as Paddle."""

import os

import numpy as np
import paddle.nn.functional as F
import pytest
from rtseg_inference import Predictor
from tiny_network import PREPROCESSING, Tiny, tiny

from paddle_rtseg.errors import InputError
from paddle_rtseg.export.exporter import export_model

try:
    import onnxruntime
    import paddle2onnx  # noqa: F401
except ImportError:
    onnxruntime = None

needs_converter = pytest.mark.skipif(onnxruntime is None, reason="paddle2onnx and onnxruntime are not installed")


@needs_converter
@pytest.mark.parametrize("output_op", ["argmax", "logits"])
def test_same_output_as_paddle(output_op, model, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, output_op=output_op, format="onnx")
    predictor = Predictor(folder)
    assert "model.onnx" in predictor.contract.sha256
    batch = np.random.RandomState(0).rand(2, 3, 64, 80).astype(np.float32)
    found = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx")).run(None, {"x": batch})[0]
    np.testing.assert_allclose(found, predictor.runtime.run(batch), atol=1e-4)


class UnevenPooling(Tiny):
    """Pools to a size that does not divide the input's, which paddle2onnx 2.1 silently gets wrong."""

    def low_resolution_logits(self, x):
        x = self.body(x)
        return [self.head(F.interpolate(F.adaptive_avg_pool2d(x, [5, 7]), [32, 48], mode="bilinear"))]


@needs_converter
def test_wrong_conversion_is_not_kept(tmp_path):
    model = UnevenPooling()
    model.eval()
    with pytest.raises(InputError, match="got the network wrong"):
        export_model(model, str(tmp_path), PREPROCESSING, [1, 3, 128, 192], "logits", format="onnx")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(onnxruntime is not None, reason="the converter is installed")
def test_missing_package_is_named(tmp_path):
    with pytest.raises(InputError, match=r"pip install \"paddle_rtseg\[onnx\]\""):
        export_model(tiny(), str(tmp_path), PREPROCESSING, format="onnx")
    assert os.listdir(tmp_path) == []
