"""Masks next to labels: the scores against a count by hand, the picture against its colours."""

import cv2
import numpy as np
import pytest

from paddle_rtseg.data import comparison
from paddle_rtseg.errors import InputError

PALETTE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "labels", "masks"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), np.full((20, 30, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "labels" / "a.png"), np.full((20, 30), 255, np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.full((20, 30), 1, np.uint8))
    return [str(tmp_path / name) for name in ("images", "labels", "masks")]


def test_side_by_side(folders):
    sheet, confusion = comparison.side_by_side(comparison.pair_up(*folders), PALETTE, width=30)
    assert sheet.shape == (20, 90, 3) and confusion.sum() == 0
    assert sheet[10, [15, 45, 75]].tolist() == [[200] * 3, [0, 0, 0], [60, 50, 40]]  # BGR; ignored pixels are black


def test_missing_mask_and_missing_folder(folders, tmp_path):
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "b.png")
    with pytest.raises(InputError, match=r"expected a\.png in"):
        comparison.pair_up(*folders)
    with pytest.raises(InputError, match="nowhere"):
        comparison.pair_up("nowhere", *folders[1:])
