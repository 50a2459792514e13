"""Segmentation in one line, with the bundled weights and with an exported folder."""

import pathlib

import cv2
import numpy as np
import pytest

import paddle_rtseg
from paddle_rtseg.errors import InputError

FRAME = next(iter(sorted((pathlib.Path(__file__).parent / "data" / "camvid_mini" / "images").glob("*.jpg"))))
LABEL = FRAME.parents[1] / "labels" / (FRAME.stem + ".png")


@pytest.mark.slow
def test_street_scene(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path))
    result = paddle_rtseg.predict(FRAME)
    label = cv2.imread(str(LABEL), cv2.IMREAD_UNCHANGED)
    assert ((result.mask == label) | (label == 255)).mean() > 0.7
    assert {"Road", "Sky"} & {entry["name"] for entry in result.areas()["classes"]}
    (folder,) = [path for path in tmp_path.iterdir() if (path / "deploy.yaml").exists()]
    again = paddle_rtseg.predict([FRAME, FRAME], model=folder, backend="onednn")
    assert len(again) == 2 and np.array_equal(again[1].mask, result.mask)


def test_unknown_model():
    with pytest.raises(InputError, match="nowhere"):
        paddle_rtseg.predict(FRAME, model="nowhere")
