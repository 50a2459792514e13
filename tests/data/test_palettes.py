"""Colours of classes without colours of their own, as people with each form of colour blindness see them."""

import numpy as np
import pytest

from paddle_rtseg.data.palettes import bit_colours, classes_and_palette, distinct_colours

#: From linear RGB to what is seen with a missing kind of cone: G. M. Machado, M. M. Oliveira and L. A. F. Fernandes,
#: "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15 (6), 2009, severity 1.0.
SEEN = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
#: Linear sRGB to XYZ with the white point D65, from IEC 61966-2-1.
XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = (0.95047, 1.0, 1.08883)


def lab(rgb, seen):
    """(N, 3) uint8 sRGB -> (N, 3) CIELAB of what is seen; about 2.3 is a difference that can just be noticed."""
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.transpose(seen), 0, 1) @ np.transpose(XYZ) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def least_distance(rgb, seen):
    colours = lab(rgb, SEEN[seen])
    first, second = np.triu_indices(len(rgb), k=1)
    return np.linalg.norm(colours[first] - colours[second], axis=1).min()


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("first", ["background", "leaf"])
def test_colour_blind_people_tell_classes_apart(first, seen):
    colours = distinct_colours([first, *map(str, range(11))])
    assert least_distance(colours[:8], seen) > 16  # 7 times what can just be noticed
    assert least_distance(colours[:10], seen) > 13


def test_paddlesegs_colours_would_not_pass():
    assert least_distance(bit_colours(8), "protanopia") < 5


def test_colours_stay_as_they_are():
    """Pictures of different runs and versions can be compared."""
    eight = [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)]
    assert distinct_colours(["background", *"abcdef"]).tolist() == list(map(list, eight))


@pytest.mark.parametrize("dataset", [None, "Dataset"])
def test_classes_without_names(dataset):
    names, palette = classes_and_palette(dataset, 20)
    assert names == [str(i) for i in range(20)]
    np.testing.assert_array_equal(palette, distinct_colours(names))


def test_named_datasets_keep_paddlesegs_colours():
    np.testing.assert_array_equal(classes_and_palette("ADE20K", 150)[1], bit_colours(150))
