"""Patches of PaddleSeg's transforms."""

import numpy as np
import pytest
from paddleseg.transforms import RandomPaddingCrop


@pytest.mark.parametrize("several_classes", [True, False], ids=["limit kept", "limit never kept"])
def test_crop_with_class_limit_crops_image_and_label_alike(without, several_classes):
    def crop():
        np.random.seed(0)
        label = np.arange(64 * 64).reshape(64, 64) % 251 * several_classes
        image = np.stack([label, label + 1, label + 2], axis=-1).astype("float32")
        data = {"img": image, "label": label.astype("uint8"), "gt_fields": ["label"]}
        cropped = RandomPaddingCrop([32, 32], category_max_ratio=0.75)(data)
        return cropped["img"], cropped["label"]

    with without("crop with a limit on one class"):
        image, label = crop()
        assert label.shape == (32, 32)
        assert image.shape == ((32, 32) if several_classes else (64, 64, 3))  # the label, or the image uncropped
    image, label = crop()
    assert image.shape == (32, 32, 3)
    np.testing.assert_array_equal(image[..., 0], label)
