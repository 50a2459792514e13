"""What is mended in PaddleSeg's transforms."""

import numpy as np
import pytest
from paddleseg.transforms import RandomPaddingCrop

from paddle_rtseg.compat import patches


@pytest.mark.parametrize("many_classes", [True, False], ids=["limit kept", "limit never kept"])
def test_a_crop_with_a_limit_on_one_class_is_the_same_of_image_and_label(many_classes):
    patches.apply()
    label = np.arange(64 * 64).reshape(64, 64) % 251 * many_classes
    image = np.stack([label, label + 1, label + 2], axis=-1).astype("float32")
    data = {"img": image, "label": label.astype("uint8"), "gt_fields": ["label"]}
    cropped = RandomPaddingCrop([32, 32], category_max_ratio=0.75)(data)
    assert cropped["img"].shape == (32, 32, 3)
    np.testing.assert_array_equal(cropped["img"][..., 0], cropped["label"])
