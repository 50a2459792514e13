"""Overlays are equal in Python and C++, pixel for pixel: colours, outlines, legends, and the names in these."""

import shutil

import cv2
import numpy as np
import pytest
import yaml
from cpp_programs import run
from rtseg_inference import InputError, drawing
from rtseg_inference.contract import read_contract
from rtseg_inference.drawing import Style

pytestmark = pytest.mark.slow

NAMES = ["background", "Straße", "Pfütze nach dem Regen", "道路", "x" * 90, "~!{}|\\", "plain"]
STYLES = {
    "default": (Style(), []),
    "outlines": (Style(outlines=True), ["--outlines"]),
    "no legend": (Style(legend=False), ["--no_legend"]),
    "opacity": (Style(alpha=0.37), ["--alpha", "0.37"]),
    "nothing": (Style(alpha=0.0, clear=""), ["--alpha", "0", "--clear", ""]),
    "opaque, another class clear": (Style(1.0, True, True, "道路"), ["--alpha", "1.", "--outlines", "--clear", "道路"]),
}


@pytest.fixture
def named(exported, tmp_path):
    """The folder of an exported model with such names of its classes."""

    def make(names):
        folder = shutil.copytree(exported["logits"], tmp_path / "model")
        document = yaml.safe_load((folder / "deploy.yaml").read_text())
        part = document["rtseg"]
        colours = np.random.RandomState(0).randint(0, 256, (len(names), 3)).tolist()
        part["output"]["num_classes"], part["classes"], part["palette"] = len(names), names, colours
        (folder / "deploy.yaml").write_text(yaml.safe_dump(document, allow_unicode=True))
        return folder

    return make


def assert_equal(host_check, model, tmp_path, size, style, flags, classes):
    random = np.random.RandomState(sum(size))
    image = random.randint(0, 256, (*size, 3)).astype(np.uint8)
    coarse = random.randint(0, classes, (5, 7)).astype(np.uint8 if classes <= 256 else np.uint16)
    mask = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    files = [tmp_path / name for name in ("image.png", "mask.png", "overlay.png")]
    status, _, err = run(host_check, "overlay", model, *files, *flags)
    assert status == 0, err
    contract = read_contract(str(model))
    expected = drawing.overlay(image, mask, contract.classes, contract.palette, style)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "overlay.png")), expected)
    return expected


@pytest.mark.parametrize("style", STYLES)
def test_styles(style, host_check, named, tmp_path):
    assert_equal(host_check, named(NAMES), tmp_path, (270, 360), *STYLES[style], len(NAMES))


@pytest.mark.parametrize("size", [(1, 1), (20, 700), (700, 100), (101, 131), (1080, 1920), (1700, 2000)])
def test_sizes(size, host_check, named, tmp_path):
    assert_equal(host_check, named(NAMES), tmp_path, size, Style(outlines=True), ["--outlines"], len(NAMES))


def test_more_classes_than_a_legend_and_a_byte_hold(host_check, named, tmp_path):
    names = [f"class with the number {k}" for k in range(300)]
    found = assert_equal(host_check, named(names), tmp_path, (120, 400), Style(), [], len(names))
    assert 120 < len(found) <= 150


def test_letters_of_the_font(host_check, named, tmp_path):
    names = ["".join(map(chr, range(0xC0 + 32 * i, 0xE0 + 32 * i))) for i in range(6)]
    names += ["".join(map(chr, range(0x20 + 48 * i, 0x50 + 48 * i))).replace("\x7f", "") for i in range(2)]
    assert_equal(host_check, named(names), tmp_path, (900, 1200), Style(), [], len(names))


def test_class_that_is_not_there(host_check, named, tmp_path):
    model = named(NAMES)
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((9, 9), np.uint8))
    files = [tmp_path / name for name in ("m.png", "m.png", "overlay.png")]
    with pytest.raises(InputError) as python:
        drawing.clear_class(NAMES, "sky\n")
    assert run(host_check, "overlay", model, *files, "--clear", "sky\n") == (2, "", f"error: {python.value}\n")
    assert "one of 7 (background, " in str(python.value) and "got 'sky?'" in str(python.value)
