"""Postprocessing on the host equals the full computation, pixel for pixel."""

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from measuring import peak_bytes
from rtseg_inference import postprocess, resizing
from rtseg_inference.geometry import Geometry
from tiny_network import assert_same_mask


def weights(n, size):
    """Bilinear interpolation from n samples to ``size``, half-pixel centres: left neighbour, right one, its weight."""
    position = np.maximum((np.arange(size) + 0.5) * (n / size) - 0.5, 0)
    left = np.minimum(position.astype(int), n - 1)
    return left, np.minimum(left + 1, n - 1), (position - left).astype(np.float32)


def upsampled(logits, height, width):
    """(C, h, w) -> (C, H, W) by the definition of bilinear interpolation, for every class."""
    left, right, a = weights(logits.shape[2], width)
    rows = logits[:, :, left] * (1 - a) + logits[:, :, right] * a
    top, bottom, b = weights(logits.shape[1], height)
    return rows[:, top] * (1 - b)[:, None] + rows[:, bottom] * b[:, None]


def random_logits(classes, height, width, seed=0):
    return np.random.RandomState(seed).randn(classes, height, width).astype(np.float32)


def street_logits(classes, height, width, seed=0):
    """Logits like those of a network on a street: regions with soft borders, and some noise."""
    coarse = random_logits(classes, 5, 7, seed)
    smooth = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse])
    return (6 * smooth + 0.3 * random_logits(classes, height, width, seed + 1)).astype(np.float32)


def whole(height, width):
    return Geometry((height, width), (height, width), (height, width))


@pytest.mark.parametrize("make", [random_logits, street_logits])
@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("size", [(256, 512), (251, 333), (97, 64)])
@pytest.mark.parametrize("classes", [2, 19])
def test_equals_the_full_computation(make, stride, size, classes, no_ipp):
    logits = make(classes, -(-size[0] // stride), -(-size[1] // stride))
    found = postprocess.argmax(logits, whole(*size))
    # In the same arithmetic, all classes at full size before the largest is taken: no pixel differs.
    full = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in logits])
    assert np.array_equal(found, full.argmax(axis=0))
    # By the definition, in float64: only pixels where two classes are equal to float32 rounding may differ.
    assert_same_mask(found, upsampled(logits.astype(np.float64), *size), rounding=1e-6)


def test_reference_equals_paddles_upsampling():
    logits = street_logits(11, 45, 60)
    theirs = F.interpolate(paddle.to_tensor(logits[None]), [360, 480], mode="bilinear").numpy()[0]
    np.testing.assert_allclose(upsampled(logits, 360, 480), theirs, atol=1e-5 * np.abs(logits).max())
    assert (postprocess.argmax(logits, whole(360, 480)) == theirs.argmax(axis=0)).mean() > 0.9999


def test_first_of_equal_classes_wins():
    logits = random_logits(3, 16, 24)
    logits = np.concatenate([logits, logits])  # each class has an equal three further on
    found = postprocess.argmax(logits, whole(128, 192))
    assert found.max() == 2
    assert np.array_equal(found, upsampled(logits, 128, 192).argmax(axis=0))


def test_logits_at_full_size_and_many_classes():
    logits = random_logits(300, 20, 30)
    found = postprocess.argmax(logits, whole(20, 30))
    assert found.dtype == np.uint16
    assert np.array_equal(found, logits.argmax(axis=0))


def test_padding_and_resizing_are_undone():
    logits = street_logits(5, 16, 24)
    sizes = Geometry(image=(200, 260), content=(100, 130), network=(128, 192))
    full = upsampled(logits, 128, 192)[:, :100, :130]
    assert np.array_equal(postprocess.argmax(logits, sizes), upsampled(full, 200, 260).argmax(axis=0))


def test_ids_are_not_interpolated():
    ids = np.uint8([[0, 9, 7], [9, 0, 7], [7, 7, 7]])
    found = postprocess.restore_ids(ids, Geometry(image=(4, 4), content=(2, 2), network=(3, 3)))
    assert np.array_equal(found, np.kron(ids[:2, :2], np.ones((2, 2), np.uint8)))


@pytest.mark.parametrize("image", [(97, 131), (256, 512), (60, 400), (300, 31)])
@pytest.mark.parametrize("content", [(64, 96), (60, 90)])
def test_bands_equal_whole_planes(content, image, monkeypatch):
    """Also where a row or a column of the image lies beyond the outermost logits."""
    logits = random_logits(5, 8, 12).round(1)
    sizes = Geometry(image, content, (64, 96))
    expected = postprocess.argmax(logits, sizes)
    monkeypatch.setattr(postprocess, "LARGE", 0)
    monkeypatch.setattr(resizing, "BAND", 37)
    assert np.array_equal(postprocess.argmax(logits, sizes), expected)


def test_memory_of_large_images():
    """It is that of the mask and of a few rows; planes of the image's size would take 8 bytes for each pixel."""
    sizes = Geometry((4100, 4000), (64, 96), (64, 96))
    logits = street_logits(5, 8, 12)
    mask, peak = peak_bytes(lambda: postprocess.argmax(logits, sizes))
    assert mask.shape == sizes.image and peak < 2 * mask.size
