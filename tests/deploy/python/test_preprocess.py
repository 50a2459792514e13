"""Preprocessing equals PaddleSeg's transforms, bit for bit."""

import dataclasses

import cv2
import numpy as np
import paddleseg.transforms as T
import pytest
from measuring import peak_bytes
from paddleseg.cvlibs import manager
from rtseg_inference import InputError, contract, preprocess, resizing
from rtseg_inference.preprocess import INTERPOLATION, Preprocessor
from rtseg_inference.resizing import resize

from paddle_rtseg.export.preprocessing import from_transforms

NORMALIZE = {"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CHAINS = {
    "normalize": [{"type": "Normalize"}],
    "exact": [{"type": "Resize", "target_size": [333, 250]}, NORMALIZE],
    "fit": [{"type": "Resize", "target_size": [200, 320], "keep_ratio": True, "size_divisor": 32}, NORMALIZE],
    "nearest": [{"type": "Resize", "target_size": [200, 100], "interp": "NEAREST"}, NORMALIZE],
    "long": [{"type": "ResizeByLong", "long_size": 301}, NORMALIZE],
    "short": [{"type": "ResizeByShort", "short_size": 100}, NORMALIZE],
    "short, limited": [{"type": "ResizeByShort", "short_size": 400, "max_size": 500}, NORMALIZE],
    "limit": [{"type": "LimitLong", "max_long": 320}, NORMALIZE],
    "limit, not reached": [{"type": "LimitLong", "max_long": 3200, "min_long": 20}, NORMALIZE],
    "pad": [{"type": "Padding", "target_size": [512, 384], "im_padding_value": 100}, NORMALIZE],
    "resize and pad": [
        {"type": "ResizeByLong", "long_size": 250},
        {"type": "Padding", "target_size": [256, 256]},
        NORMALIZE,
    ],
}


def preprocessor(model_folder, transforms):
    """The host's preprocessing for an export with these transforms."""
    found = contract.read_contract(model_folder)
    return Preprocessor(dataclasses.replace(found, preprocess=from_transforms(transforms)))


@pytest.mark.parametrize("name", CHAINS)
def test_equals_paddleseg(name, exported, frame, no_ipp):
    components = [manager.TRANSFORMS[t["type"]](**{k: v for k, v in t.items() if k != "type"}) for t in CHAINS[name]]
    expected = T.Compose(components)({"img": frame.astype("float32")})["img"]
    found = preprocessor(exported["argmax"], CHAINS[name])([frame])
    assert found.dtype == expected.dtype == np.float32
    assert np.array_equal(found[0], expected)


def test_memory_of_large_images(exported):
    """Floats of all three channels at the image's size would take 12 bytes for each pixel."""
    image = np.full((3000, 3000, 3), 90, np.uint8)
    prepare = preprocessor(exported["argmax"], CHAINS["exact"])
    batch, peak = peak_bytes(lambda: prepare([image]))
    assert batch.shape == (1, 3, 250, 333) and peak < 6 * 3000 * 3000


@pytest.mark.parametrize("size", [(40, 60), (96, 160), (500, 161), (32, 32)])
@pytest.mark.parametrize("rows", [7, 64])
def test_large_images_are_resized_to_the_same_pixels(rows, size, exported, frame, monkeypatch):
    exact = {"type": "Resize", "target_size": [size[1], size[0]]}
    prepare = preprocessor(exported["argmax"], [exact, NORMALIZE])
    expected = prepare([frame])
    monkeypatch.setattr(preprocess, "LARGE", 0)
    monkeypatch.setattr(resizing, "BAND", rows)
    assert np.array_equal(prepare([frame]), expected)
    image = np.full((3000, 3000, 3), 90, np.uint8)
    assert peak_bytes(lambda: prepare([image]))[1] < 3000 * 3000


@pytest.mark.parametrize("name", INTERPOLATION)
def test_resizes_are_the_same_with_and_without_ipp(name, frame):
    def resized(with_ipp):
        cv2.ipp.setUseIPP(with_ipp)
        found = resize(frame.astype(np.float32), (157, 333), INTERPOLATION[name])
        assert cv2.ipp.useIPP() is (with_ipp and has_ipp)
        with pytest.raises(cv2.error):
            resize(frame, (0, 333), INTERPOLATION[name])
        assert cv2.ipp.useIPP() is (with_ipp and has_ipp)
        return found

    has_ipp = cv2.ipp.useIPP()
    try:
        assert np.array_equal(resized(False), resized(True))
    finally:
        cv2.ipp.setUseIPP(has_ipp)


def test_images_of_a_batch_have_one_size(exported, frame):
    prepare = preprocessor(exported["argmax"], CHAINS["normalize"])
    assert prepare([frame, frame[::-1]]).shape == (2, 3, 360, 480)
    with pytest.raises(InputError, match="to have one size"):
        prepare([frame, frame[:64]])
    resizing = preprocessor(exported["argmax"], CHAINS["exact"])
    assert resizing([frame, frame[:64]]).shape == (2, 3, 250, 333)


def test_refuses_other_arrays_and_sizes(exported, frame):
    with pytest.raises(InputError, match="8-bit BGR"):
        preprocessor(exported["argmax"], CHAINS["normalize"])([frame.astype(np.float32)])
    with pytest.raises(InputError, match="1x3x16x480"):
        preprocessor(exported["argmax"], CHAINS["normalize"])([frame[:16]])
    with pytest.raises(InputError, match="at most 384 x 512"):
        preprocessor(exported["argmax"], CHAINS["pad"])([cv2.resize(frame, None, fx=2, fy=2)])


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"type": "RandomHorizontalFlip"}, NORMALIZE], "got RandomHorizontalFlip"),
        ([NORMALIZE, {"type": "Resize"}], "got Resize elsewhere"),
        ([{"type": "Resize", "interp": "LANCZOS4"}, NORMALIZE], "got LANCZOS4"),
        ([], "Normalize"),
    ],
)
def test_refuses_other_transforms(transforms, message):
    with pytest.raises(InputError, match=message):
        from_transforms(transforms)
