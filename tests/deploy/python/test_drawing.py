"""Overlays: what is coloured, what the legend says, and where it is left out."""

import unicodedata

import cv2
import numpy as np
import pytest
from rtseg_inference import InputError, drawing
from rtseg_inference.drawing import Style, overlay

NAMES = ("background", "leaf", "rust", "soil")
PALETTE = ((10, 20, 30), (0, 200, 0), (200, 0, 0), (0, 0, 200))


@pytest.fixture
def image():
    return np.random.RandomState(0).randint(0, 256, (240, 320, 3)).astype(np.uint8)


@pytest.fixture
def mask():
    """Three of four classes; the border between 1 and 2 lies at column 200."""
    mask = np.zeros((240, 320), np.uint8)
    mask[:, 100:200], mask[:, 200:] = 1, 2
    return mask


def blended(alpha, image, k):
    return np.rint(alpha * np.float64(PALETTE[k])[::-1] + (1 - alpha) * image)


@pytest.mark.parametrize("alpha", [0, 0.25, 0.5, 1])
def test_opacity(alpha, image, mask):
    found = overlay(image, mask, NAMES, PALETTE, Style(alpha=alpha, legend=False))
    np.testing.assert_array_equal(found[:, :100], image[:, :100])  # the background stays clear
    for k in (1, 2):
        np.testing.assert_array_equal(found[mask == k], blended(alpha, image[mask == k], k))


@pytest.mark.parametrize(
    ("clear", "expected"), [("leaf", 1), ("", None), ("background", 0), ("0", InputError), ("Leaf", InputError)]
)
def test_clear_class(clear, expected, image, mask):
    if expected is InputError:
        with pytest.raises(InputError, match=r"one of 4 \(background, leaf, rust, soil\), got"):
            overlay(image, mask, NAMES, PALETTE, Style(clear=clear))
        return
    assert drawing.clear_class(NAMES, clear) == expected
    found = overlay(image, mask, NAMES, PALETTE, Style(legend=False, clear=clear))
    for k in range(3):
        there = image[mask == k] if k == expected else blended(0.5, image[mask == k], k)
        np.testing.assert_array_equal(found[mask == k], there)


def test_other_names_of_the_background():
    assert drawing.clear_class(("road", "BG"), "background") == 1
    assert drawing.clear_class(("road", "car"), "background") is None


def test_outlines(image, mask):
    found = overlay(image, mask, NAMES, PALETTE, Style(outlines=True, legend=False))
    white = (found == 255).all(axis=2).all(axis=0)
    assert np.flatnonzero(white).tolist() == [99, 100, 199, 200]


def test_outlines_between_bands_equal_those_of_the_whole():
    mask = np.random.RandomState(1).randint(0, 2, (200, 90)).astype(np.uint16)
    mask = cv2.resize(mask, (1900, 1800), interpolation=cv2.INTER_NEAREST)
    grey = np.zeros((*mask.shape, 3), np.uint8)
    found = overlay(grey, mask, NAMES, PALETTE, Style(outlines=True, legend=False))
    np.testing.assert_array_equal((found == 255).all(axis=2), drawing.edges(mask, 4))


@pytest.mark.parametrize("legend", [True, False])
@pytest.mark.parametrize("room", [0, 10, 80])
def test_in_place(room, legend, image, mask):
    style = Style(legend=legend, outlines=True)
    expected = overlay(image, mask, NAMES, PALETTE, style)
    place = np.concatenate([image, image[:room]])[: len(image)]
    found = overlay(place, mask, NAMES, PALETTE, style, in_place=True)
    np.testing.assert_array_equal(found, expected)
    assert np.shares_memory(found, place) == (room == 80 or not legend)


def test_in_place_leaves_pictures_of_which_the_image_is_a_part_alone(image, mask):
    tall = np.concatenate([image, image, image])
    found = overlay(tall[5:245], mask, NAMES, PALETTE, Style(), in_place=True)
    assert len(found) > 240 and not np.shares_memory(found, tall)


def test_legend_names_the_classes_that_are_there(image, mask):
    found = overlay(image, mask, NAMES, PALETTE, Style())
    strip = found[240:]
    assert 0 < len(strip) <= 60 and found.shape[1:] == (320, 3)
    np.testing.assert_array_equal(found[:240], overlay(image, mask, NAMES, PALETTE, Style(legend=False)))
    there = [(strip == PALETTE[k][::-1]).all(axis=2).sum() >= 100 for k in range(4)]
    assert there == [False, True, True, False]
    assert (strip < 100).all(axis=2).any()  # letters
    everything = overlay(image, mask, NAMES, PALETTE, Style(), every_class=True)[240:]
    assert (everything == PALETTE[3][::-1]).all(axis=2).any()


@pytest.mark.parametrize("size", [(360, 480), (540, 720), (1024, 2048), (2160, 3840)])
def test_legends_grow_with_the_picture(size):
    unit = drawing.text_unit(*size)
    assert unit >= 12 and min(size) / 40 <= unit <= min(size) / 25


@pytest.mark.parametrize(
    ("size", "rows"), [((1, 1), 0), ((500, 60), 0), ((20, 400), 1), ((65_490, 200), 0), ((65_470, 200), 1)]
)
def test_pictures_without_room(size, rows):
    assert drawing.legend_layout(*size, ["leaf"]).rows == rows


def test_more_classes_than_there_is_room_for(image):
    names = [f"class with the number {k}" for k in range(90)]
    mask = np.repeat(np.arange(240, dtype=np.uint8)[:, None] % 90, 320, axis=1)
    palette = np.random.RandomState(0).randint(60, 200, (90, 3)).tolist()
    strips = [overlay(image, mask, names, palette, Style(clear=""), every_class=e)[240:] for e in (False, True)]
    assert len(strips[0]) == len(strips[1]) <= 240 / 4 + 12
    alone = overlay(image, mask * 0, names, palette, Style(clear=""), every_class=True)
    assert len(alone) == 240 + len(strips[0])  # frames of a video keep their size


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Straße", "Strase"),
        ("café", "cafe"),
        ("Łódź", "Lodz"),
        ("道路", "class 3"),
        ("road 道路", "class 3"),
        ("", "class 3"),
        (" ", "class 3"),
        ("\u00a0", "class 3"),
        ("tab\t", "class 3"),
        ("a_b (c)", "a_b (c)"),
        ("x" * 500, "x" * 100),
    ],
)
def test_names_in_the_letters_of_the_font(name, shown):
    assert drawing.label(name, 3) == shown


def test_letters_lose_their_accents_only():
    for code in range(0xC0, 0x180):
        plain = unicodedata.normalize("NFKD", chr(code))[0]
        if plain.isascii():
            assert drawing.label(chr(code), 0) == plain


def test_long_names_end_in_dots():
    short = drawing.shorten("a name that is far too long", 12, 80)
    assert short.startswith("a n") and short.endswith("...") and drawing.text_width(short, 12) <= 80
    assert drawing.shorten("short", 12, 80) == "short"


@pytest.mark.parametrize("alpha", [-0.1, 1.01, float("nan"), None, "0.5", True])
def test_opacity_out_of_range(alpha):
    with pytest.raises(InputError, match="expected alpha, the opacity of the classes, from 0 to 1, got"):
        Style(alpha=alpha)
