"""Tiles: their places and weights, and masks against the same blending written plainly over the whole image."""

import re

import numpy as np
import pytest
from comparing import zip_strict
from measuring import peak_bytes
from rtseg_inference import InputError
from rtseg_inference.contract import Pad, Resize
from rtseg_inference.postprocess import softmax
from rtseg_inference.tiling import FITS, Tiles, choose_fit, pieces
from tiling_models import ToyPredictor


@pytest.mark.parametrize(
    "length, tile, overlap",
    [(10, 10, 4), (7, 10, 4), (11, 10, 4), (100, 16, 0), (100, 16, 8), (64, 20, 7), (17, 16, 7)],
)
def test_weights_sum_to_one(length, tile, overlap):
    found = pieces(length, tile, overlap)
    total = np.zeros(length)
    for piece in found:
        assert 0 <= piece.start <= piece.first < piece.end <= length and piece.end - piece.start == min(tile, length)
        weights = np.ones(piece.end - piece.first)
        weights[: len(piece.rising)] *= piece.rising
        weights[len(weights) - len(piece.falling) :] *= piece.falling
        total[piece.first : piece.end] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert found[0].first == 0 and found[-1].end == length
    for before, after in zip_strict(found[:-1], found[1:]):
        assert after.first == before.final == before.end - overlap


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (83, 121, 3), np.uint8)


def plain(fake, image, tile, overlap):
    """Logits of the whole image: the sum over all tiles of weight times logits."""
    height, width = image.shape[:2]
    total = np.zeros((3, height, width))
    for row in pieces(height, tile[0], overlap):
        for column in pieces(width, tile[1], overlap):
            weights = []
            for piece in (row, column):
                weight = np.zeros(piece.end - piece.start)
                weight[piece.first - piece.start :] = 1
                weight[piece.first - piece.start :][: len(piece.rising)] *= piece.rising
                weight[len(weight) - len(piece.falling) :] *= piece.falling
                weights.append(weight)
            box = slice(row.start, row.end), slice(column.start, column.end)
            total[(slice(None), *box)] += fake.logits(image[box]) * weights[0][:, None] * weights[1]
    return total


@pytest.mark.parametrize(
    "tile, overlap", [((32, 48), 8), ((32, 48), 15), ((50, 40), 0), ((83, 121), 10), ((200, 300), 64)]
)
def test_blending(tile, overlap, image):
    fake = ToyPredictor()
    result = Tiles(fake, tile, overlap).predict(image)
    expected = plain(fake, image, tile, overlap)
    best = np.sort(expected, axis=0)
    clear = best[-1] - best[-2] > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(result.mask[clear], expected.argmax(axis=0)[clear])
    assert fake.sizes == {(min(tile[0], 83), min(tile[1], 121))}
    assert (result.scores is None) == (tile[0] < 83) and result.timings.run == 2 * result.timings.pre


@pytest.mark.parametrize("op", ["none", "softmax", "argmax"])
def test_confidence_of_what_is_blended(op, image):
    fake = ToyPredictor(op)
    result = Tiles(fake, (32, 48), 8, with_confidence=True).predict(image)
    if op == "argmax":
        assert result.confidence is None
        return
    planes = plain(fake, image, (32, 48), 8)
    expected = planes if op == "softmax" else softmax(planes)
    np.testing.assert_allclose(result.confidence, expected.max(axis=0), rtol=1e-5)
    assert Tiles(fake, (32, 48), 8).predict(image).confidence is None


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("op", ["none", "argmax"])
@pytest.mark.parametrize("size", [(83, 121), (32, 48), (5, 121), (1, 1)])
def test_a_local_network_gives_the_untiled_mask(size, op, batch, image):
    """Of a graph of one size, tiles at the edge of a small image are padded."""
    image = image[: size[0], : size[1]]
    whole = ToyPredictor(local=True).logits(image).argmax(axis=0)
    for fake in (ToyPredictor(op, True), ToyPredictor(op, True, least=(32, 48), most=(32, 48))):
        np.testing.assert_array_equal(Tiles(fake, (32, 48), 8, batch).predict(image).mask, whole)
    assert fake.sizes == {(32, 48)}


def test_lists_give_lists(image):
    tiles = Tiles(ToyPredictor(), (32, 48))
    assert tiles.overlap == 8
    found = tiles.predict([image, image[:20]])
    assert [result.mask.shape for result in found] == [(83, 121), (20, 121)]


def test_images_that_fit_are_a_batch(image):
    """They are not cut, whatever their size, if the model takes it; others are."""
    fake = ToyPredictor(**FIXED)
    tiles = Tiles(fake, (32, 64))
    tiles.predict([image[:32, :64]] * 3)
    assert fake.batches == [3]
    tiles.predict([image[:32, :60]] * 3)
    assert fake.batches == [3, 1, 1, 1]


def test_memory_is_that_of_tiles():
    """And of ``overlap`` rows of each class; not 12 bytes for each pixel, as logits of the image would take."""
    image = np.full((3000, 3000, 3), 90, np.uint8)
    mask, peak = peak_bytes(lambda: Tiles(ToyPredictor(), (300, 500), 20).predict(image).mask)
    assert mask.shape == image.shape[:2] and peak < 4 * mask.size


def test_ids_come_from_the_tile_with_the_larger_weight():
    class Numbered(ToyPredictor):
        def logits(self, tile):
            self.count = getattr(self, "count", -1) + 1
            return np.eye(3)[self.count][:, None, None] * np.ones(tile.shape[:2])

    mask = Tiles(Numbered("argmax"), (9, 9), 4).predict(np.zeros((9, 14, 3), np.uint8)).mask
    assert mask.tolist() == [[0] * 7 + [1] * 7] * 9


FIXED = {"least": (32, 64), "most": (32, 64)}


@pytest.mark.parametrize(
    ("model", "asked", "log"),
    [
        ({}, {}, ""),
        ({}, {"fit": "resize"}, ""),
        ({}, {"tile": (64, 32)}, "segmenting in tiles of 64x32 pixels that overlap by 8"),
        ({}, {"tile": (640, 320), "overlap": 0}, "segmenting in tiles of 640x320 pixels that overlap by 0"),
        ({}, {"tile": (640, 320)}, "segmenting in tiles of 640x320 pixels that overlap by 64"),
        (FIXED, {}, "segmenting in tiles of 32x64 pixels that overlap by 8"),
        (FIXED, {"overlap": 15}, "segmenting in tiles of 32x64 pixels that overlap by 15"),
        (FIXED, {"tile": (32, 64)}, "segmenting in tiles of 32x64 pixels that overlap by 8"),
        (FIXED, {"fit": "resize"}, "resizing images to 32x64 pixels"),
        ({"pad": Pad(40, 50, 127.5)}, {}, "segmenting in tiles of 40x50 pixels that overlap by 10"),
        ({"pad": Pad(40, 50, 127.5)}, {"fit": "resize"}, "resizing images to 40x50 pixels"),
        ({**FIXED, "resize": Resize("exact", height=32, width=64)}, {}, ""),
    ],
)
def test_what_is_chosen(model, asked, log):
    fit = choose_fit(ToyPredictor(**model).preprocess, **asked)
    assert str(fit) == log


def test_models_of_one_size_take_any(image):
    for rules in (FIXED, {"pad": Pad(32, 64, 127.5)}):
        fake = ToyPredictor(**rules)
        with pytest.raises(InputError):
            fake.preprocess.input_shape([image])
        for fit in FITS:
            segmenter = choose_fit(fake.preprocess, fit=fit).applied(fake)
            if fit == "tile":
                assert segmenter.predict(image).mask.shape == image.shape[:2]
            else:
                assert segmenter.preprocess.input_shape([image]) == (1, 3, 32, 64)
                assert fake.contract.preprocess.resize is None


LARGER = "expected an overlap of less than half a tile of 8x9 pixels, got"


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        ({}, {"tile": (8, 9), "overlap": 4}, f"{LARGER} 4; lower --overlap"),
        ({}, {"tile": (8, 9), "overlap": 400}, f"{LARGER} 400"),
        ({}, {"tile": (8, 9), "overlap": -1}, f"{LARGER} -1"),
        (
            {"least": (32, 32)},
            {"tile": (31, 64)},
            "expected tiles of a size that the model takes, NCHW inputs of 1x3x32x32 to anyx3xanyxany, got 31x64; "
            "choose another --tile",
        ),
        (FIXED, {"tile": (64, 64)}, "NCHW inputs of 1x3x32x64 to anyx3x32x64, got 64x64"),
        ({"pad": Pad(40, 50, 127.5)}, {"tile": (41, 50)}, "got 41x50; choose another"),
        ({}, {"tile": (60000, 60000)}, "got 60000x60000; choose another"),
        ({}, {"overlap": 3}, "expected --overlap with --tile, or with a model of one size, got it alone; add --tile"),
        ({}, {"tile": (32, 32), "fit": "resize"}, "expected --tile and --overlap without --fit resize, got both"),
        (FIXED, {"overlap": 3, "fit": "resize"}, "expected --tile and --overlap without --fit resize, got both"),
        ({}, {"fit": "pad"}, "expected --fit tile or resize, got 'pad'"),
    ],
)
def test_what_does_not_work(model, asked, message):
    with pytest.raises(InputError, match=re.escape(message)):
        choose_fit(ToyPredictor(**model).preprocess, **asked)
