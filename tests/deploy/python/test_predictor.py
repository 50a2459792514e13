"""What the predictor takes in Python, and what it refuses."""

import pathlib
import sys
import types

import cv2
import numpy as np
import pytest
from PIL import Image
from rtseg_inference import InputError, Predictor, fastest
from rtseg_inference.files import write_image


@pytest.fixture(scope="module")
def predictor(exported):
    return Predictor(pathlib.Path(exported["logits"]), backend="native")


def test_paths_are_texts_or_path_objects(predictor, frame, tmp_path):
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), frame)
    expected = predictor.predict(frame).mask
    assert np.array_equal(predictor.predict(path).mask, expected)
    results = predictor.predict((path, str(path), frame))
    assert all(np.array_equal(result.mask, expected) for result in results) and len(results) == 3
    assert len(predictor.predict(np.stack([frame, frame]))) == 2
    results[0].save(tmp_path / "mask.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED), expected)


PIXELS = np.zeros((240, 320, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "got None; convert it"),
        ([], "expected at least one image, got none"),
        (np.zeros((0, 240, 320, 3), np.uint8), "expected at least one image, got none"),
        ([None], "got None"),
        (PIXELS[:, :, 0], r"got an array of uint8 \(240, 320\); for a grey image, give cv2.cvtColor"),
        ([PIXELS[:, :, 0]], r"got an array of uint8 \(240, 320\); for a grey image"),
        (PIXELS.astype(np.float32), r"8-bit BGR images of shape \(H, W, 3\), got an array of float32 \(240, 320, 3\)"),
        (np.zeros((240, 320, 4), np.uint8), r"got an array of uint8 \(240, 320, 4\)"),
        (np.zeros((0, 320, 3), np.uint8), r"got uint8 \(0, 320, 3\)"),
        (PIXELS[0, 0], r"got an array of uint8 \(3,\)"),
        (b"frame.png", "got an object of the type builtins.bytes"),
        ({"image": PIXELS}, "got an object of the type builtins.dict"),
        (7, "got an object of the type builtins.int"),
        ("nowhere.png", "cannot read the image 'nowhere.png'"),
    ],
)  # fmt: skip
def test_other_images_are_refused_in_words(images, message, predictor):
    with pytest.raises(InputError, match=message) as error:
        predictor.predict(images)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_pillow_images(mode, predictor, frame):
    image = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1])).convert(mode)
    expected = predictor.predict(np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])).mask
    assert np.array_equal(predictor.predict(image).mask, expected)
    assert np.array_equal(predictor.predict([image, image])[1].mask, expected)


def test_notebooks_show_a_result(predictor, frame):
    result = predictor.predict(frame)
    shown = cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown, result.overlay(legend=True)) and len(shown) > len(frame)


def test_show_in_a_notebook(predictor, frame, monkeypatch):
    shown = []
    display = types.SimpleNamespace(display=shown.append)
    shell = types.SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    result = predictor.predict(frame)
    result.show()
    assert shown == [result]


@pytest.mark.parametrize(
    ("display", "words"),
    [(None, "expected a display to show the picture on, got none"), (":987", "cannot open a window on this display")],
)
def test_show_without_a_display(display, words, predictor, frame, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(InputError, match=words):
        predictor.predict(frame).show()


@pytest.mark.parametrize("threads", [-1, 1025, 99999999999, 1.5, "2", None, True])
def test_threads_out_of_range(threads, exported):
    for load in (Predictor, fastest):
        with pytest.raises(InputError, match=r"expected threads from 0 to 1024, got .*; 0 takes every core"):
            load(exported["logits"], threads=threads)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"model_dir": None},
            "expected the folder of an exported model, got None; pass its path as a text or a pathlib.Path",
        ),
        ({"model_dir": 7}, "expected the folder of an exported model, got 7"),
        ({"device": []}, "expected the device to be one of cpu, gpu"),
        ({"backend": ["native"]}, "expected the cpu backend to be one of"),
        ({"precision": None}, "expected the precision of cpu onednn to be one of"),
    ],
)
def test_other_arguments_are_refused(arguments, message, exported):
    with pytest.raises(InputError, match=message):
        Predictor(**{"model_dir": exported["logits"], **arguments})


@pytest.mark.parametrize("name", ["m.jpg", "m.JPEG", "m.webp", "m", "m.xyz", "m.ppm"])
def test_masks_are_saved_without_loss(name, predictor, frame, tmp_path):
    result = predictor.predict(frame)
    with pytest.raises(InputError, match=r"expected a lossless format for class ids \(.png, .tif, .tiff, .bmp\), got"):
        result.save(tmp_path / name)
    for suffix in (".png", ".TIF", ".bmp"):
        result.save(str(tmp_path / ("m" + suffix)))
        assert np.array_equal(cv2.imread(str(tmp_path / ("m" + suffix)), cv2.IMREAD_UNCHANGED), result.mask)


def test_images_of_no_format_are_not_written(tmp_path):
    with pytest.raises(
        InputError, match=r"OpenCV cannot write an image of uint8 .* to '.*picture.xyz'; use a name with .png"
    ):
        write_image(str(tmp_path / "picture.xyz"), PIXELS)
    assert list(tmp_path.iterdir()) == []
