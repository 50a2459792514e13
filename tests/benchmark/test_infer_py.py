"""The comparison with PaddleSeg's infer.py: a missing file and a failure of that program are one sentence."""

import cv2
import numpy as np
import pytest

from paddle_rtseg.benchmark import infer_py
from paddle_rtseg.benchmark.infer_py import compare_infer
from paddle_rtseg.errors import InputError


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "infer.py").write_text("raise ValueError('made for another Paddle')")
    (tmp_path / "text.txt").write_text("")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "deploy.yaml").write_text("Deploy: {}")
    cv2.imwrite("image.png", np.zeros((8, 8, 3), np.uint8))
    return {"infer": "infer.py", "theirs": "model", "ours": ["model"], "image": "image.png"}


@pytest.mark.parametrize(
    "name, path, words",
    [
        ("infer", "none.py", "expected a file infer.py, got 'none.py', which is none; check --infer"),
        ("infer", "text.txt", "expected a file infer.py, got 'text.txt'"),
        ("theirs", "none", "expected a file deploy.yaml, got 'none/deploy.yaml'"),
        ("theirs", "text.txt", "expected a file deploy.yaml, got 'text.txt/deploy.yaml'"),
        ("image", "text.txt", "text.txt"),
        ("image", "none.png", "cannot read the image 'none.png'"),
    ],
)
def test_missing_files(files, name, path, words):
    with pytest.raises(InputError, match=words):
        compare_infer(**{**files, name: path})


@pytest.mark.slow
def test_program_that_fails(files, monkeypatch):
    monkeypatch.setattr(infer_py, "read_contract", lambda folder: None)  # the model is whole
    with pytest.raises(
        InputError, match=r"a mask from 'infer.py', got an error: ValueError made for another Paddle; try"
    ):
        compare_infer(**files)
