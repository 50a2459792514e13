"""INT8 in the C++ program: checked with the same frames, chosen only by name, with the same words as in Python."""

import os
import re
import shutil

import cv2
import numpy as np
import pytest
from cpp_programs import run
from rtseg_inference import Predictor, processor
from rtseg_inference.errors import Remark
from tiny_int8 import rewrite, spoil_weights
from tiny_network import FRAMES

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(exported_int8, tmp_path):
    return shutil.copytree(exported_int8, tmp_path / "model")


def int8(program, folder, *arguments):
    return run(program, "--model", folder, "--backend", "onnxruntime", "--precision", "int8", *arguments)


def test_masks_and_verification_equal_python(onnx_infer, exported_int8, tmp_path):
    shutil.copy(sorted(FRAMES.glob("*.jpg"))[0], tmp_path / "frame.jpg")
    status, shown, err = int8(
        onnx_infer, exported_int8, "--input", tmp_path / "frame.jpg", "--save_dir", tmp_path, "--threads", 2
    )
    assert (status, err) == (0, "")
    predictor = Predictor(exported_int8, backend="onnxruntime", precision="int8", threads=2)
    assert f"using cpu onnxruntime int8 ({predictor.verify()})" in shown
    mask = cv2.imread(str(tmp_path / "masks" / "frame.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, predictor.predict(str(tmp_path / "frame.jpg")).mask)


def test_auto_times_it_and_chooses_fp32(onnx_infer, exported_int8):
    status, shown, err = run(onnx_infer, "--model", exported_int8)
    assert (status, err) == (0, "")
    assert re.search(
        r"cpu onnxruntime int8: [\d.]+ ms \(.*instead of 100\.00%; chosen only with --precision int8\)", shown
    )
    assert shown.splitlines()[-1] == "using cpu onnxruntime fp32"
    assert "using cpu onnxruntime int8" in run(onnx_infer, "--model", exported_int8, "--precision", "int8")[1]


def test_damaged_network_is_refused(onnx_infer, copied):
    spoil_weights(str(copied / "model_int8.onnx"))
    assert "model_int8.onnx has SHA-256" in int8(onnx_infer, copied)[2]
    rewrite(copied)
    status, _, err = int8(onnx_infer, copied)
    assert status == 2 and "cpu onnxruntime int8 does not reproduce the model's golden output" in err


def test_damaged_frame_is_refused(onnx_infer, copied):
    os.truncate(copied / "int8_mask_3.png", 50)
    assert "int8_mask_3.png has SHA-256" in int8(onnx_infer, copied)[2]


def test_folder_without_it(onnx_infer, exported):
    status, _, err = int8(onnx_infer, exported["logits"])
    assert status == 2 and "has no INT8 form of the model; export it with --precision int8" in err


@pytest.mark.parametrize("bits", [7, 8])
def test_warning_equals_pythons(bits, onnx_infer, copied):
    rewrite(copied, weight_bits=bits)
    expected = processor.int8_warning(bits)
    assert int8(onnx_infer, copied)[2] == ("" if expected is None else f"warning: {expected}\n")
    if expected is not None:
        with pytest.warns(Remark, match=re.escape(expected)):
            Predictor(str(copied), backend="onnxruntime", precision="int8")
