"""How exact an answer to the golden image is, and the tolerance that follows from it."""

import numpy as np
import paddle
import pytest
from rtseg_inference.contract import read_contract
from tiny_models import TINY_MIT
from tiny_network import PREPROCESSING

from paddle_rtseg import create_model
from paddle_rtseg.export import exporter
from paddle_rtseg.export.golden import rounding_error

BATCH = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)


def test_rounding_moves_a_sum_by_next_to_nothing():
    assert 0 < rounding_error(lambda change: 3 * change(BATCH), 3 * BATCH) < 1e-6


def test_rounding_decides_a_tie():
    """An output that depends on which of two equal numbers is larger."""

    def run(change):
        first, second = change(np.ones(2, np.float32))
        return np.where(first > second, BATCH, -BATCH)

    assert rounding_error(run, -BATCH) == pytest.approx(2)


@pytest.mark.parametrize(
    "merging, error, expected", [("hq", 1e-6, 1e-3), ("hq", 4e-3, 8e-3), ("hq", 1.0, 5e-2), ("2x2", 4e-3, 1e-3)]
)
def test_tolerance_allows_for_ties_between_tokens_that_match(tmp_path, monkeypatch, merging, error, expected):
    monkeypatch.setattr(exporter, "rounding_error", lambda run, output: error)
    paddle.seed(0)
    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": merging}
    model = create_model("SegFormerPP", num_classes=5, head_channels=16, backbone=backbone)
    folder = exporter.export_model(model, str(tmp_path), PREPROCESSING, [1, 3, 128, 128], output_op="logits", onnx="no")
    tolerance = read_contract(folder).golden.tolerance
    assert tolerance["fp32"].rms_error == expected
    assert tolerance["tf32"].rms_error == max(expected, 1e-2) and tolerance["bf16"].rms_error == 5e-2


def test_output_is_run_again_with_other_roundings(tmp_path, monkeypatch):
    """What the exporter passes on does move by a little when the input does."""
    found = []
    monkeypatch.setattr(exporter, "rounding_error", lambda *a: found.append(rounding_error(*a)) or found[-1])
    paddle.seed(0)
    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": "fast"}
    model = create_model("SegFormerPP", num_classes=5, head_channels=16, backbone=backbone)
    exporter.export_model(model, str(tmp_path), PREPROCESSING, [2, 3, 128, 160], output_op="logits", onnx="no")
    assert len(found) == 1 and 0 < found[0] < 0.1
