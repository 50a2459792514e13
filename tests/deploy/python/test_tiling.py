"""Tiles: their places and weights, and masks against the same blending written plainly over the whole image."""

import types

import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference import InputError
from rtseg_inference.tiling import Tiles, pieces


@pytest.mark.parametrize(
    "length, tile, overlap",
    [(10, 10, 4), (7, 10, 4), (11, 10, 4), (100, 16, 0), (100, 16, 8), (64, 20, 7), (17, 16, 8)],
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


class Fake:
    """A predictor whose logits are any function of a tile; ``local`` ones ignore what lies around a pixel."""

    def __init__(self, op="none", local=True):
        output = types.SimpleNamespace(op=op, num_classes=3)
        preprocess = types.SimpleNamespace(resize=None, pad=None)
        self.contract = types.SimpleNamespace(output=output, preprocess=preprocess)
        self.local, self.sizes = local, set()

    def logits(self, tile):
        x = tile.astype(np.float32) / 255
        context = 0 if self.local else x.mean()
        return np.stack([x[..., 0], x[..., 1] + context, x[..., 2] * np.float32(1.1)])

    def predict(self, tile):
        from rtseg_inference.predictor import Result, Timings

        self.sizes.add(tile.shape)
        output = self.logits(tile)
        mask = output.argmax(axis=0).astype(np.uint8)
        ids_only = self.contract.output.op == "argmax"
        return Result(mask, tile, Timings(1, 2, 3), self.contract, mask if ids_only else output)


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
    "tile, overlap", [((32, 48), 8), ((32, 48), 16), ((50, 40), 0), ((83, 121), 10), ((200, 300), 64)]
)
def test_blending(tile, overlap, image):
    fake = Fake(local=False)
    result = Tiles(fake, tile, overlap).predict(image)
    expected = plain(fake, image, tile, overlap)
    best = np.sort(expected, axis=0)
    clear = best[-1] - best[-2] > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(result.mask[clear], expected.argmax(axis=0)[clear])
    assert fake.sizes == {(min(tile[0], 83), min(tile[1], 121), 3)}
    assert result.scores is None and result.timings.run == 2 * result.timings.pre


def test_a_local_network_gives_the_untiled_mask(image):
    fake = Fake()
    whole = fake.predict(image).mask
    np.testing.assert_array_equal(Tiles(fake, (32, 48), 8).predict(image).mask, whole)
    np.testing.assert_array_equal(Tiles(Fake("argmax"), (32, 48), 8).predict(image).mask, whole)


def test_ids_come_from_the_tile_with_the_larger_weight():
    class Numbered(Fake):
        def predict(self, tile):
            result = super().predict(tile)
            result.mask[...] = self.count
            self.count += 1
            return result

    fake = Numbered("argmax")
    fake.count = 0
    mask = Tiles(fake, (8, 8), 4).predict(np.zeros((8, 12, 3), np.uint8)).mask
    assert mask.tolist() == [[0] * 6 + [1] * 6] * 8


@pytest.mark.parametrize("tile, overlap", [((0, 8), 0), ((8, 8), 5), ((8, 8), -1)])
def test_sizes_that_do_not_work(tile, overlap):
    with pytest.raises(InputError, match="an overlap from 0 to half a tile"):
        Tiles(Fake(), tile, overlap)
