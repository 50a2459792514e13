"""Scores against a count by hand, and the mean IoU of the commands against PaddleSeg's."""

import numpy as np
import paddle
import pytest
from paddleseg.utils import metrics

from paddle_rtseg.data import scores
from paddle_rtseg.errors import InputError


def test_iou_counted_by_hand():
    labels = np.array([[0, 0, 1], [1, 255, 1]])
    masks = np.array([[0, 1, 1], [1, 2, 0]])
    confusion = scores.confusion_matrix(labels, masks, num_classes=3)
    assert confusion.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    iou = scores.intersection_over_union(confusion)
    np.testing.assert_allclose(iou, [1 / 3, 2 / 4, np.nan])


@pytest.mark.parametrize(
    "labels, masks, words",
    [
        ([[0]], [[0, 1]], "the label's size"),
        ([[3]], [[0]], "label values of 0 to 2, got 3"),
        ([[-1]], [[0]], "label values of 0 to 2, got -1"),
        ([[0]], [[7]], "mask values"),
    ],
)
def test_incomparable_masks(labels, masks, words):
    with pytest.raises(InputError, match=words):
        scores.confusion_matrix(np.array(labels), np.array(masks), num_classes=3)


@pytest.mark.parametrize(
    "iou, absent, words",
    [
        ([0.5, 1], 0, ["mean IoU of all 2 classes: 75.00%"]),
        ([0.5, 1, np.nan], 0, ["of all 3 classes: 50.00%, where the 1 in neither", "count as 0", "others: 75.00%"]),
        ([0.5, np.nan], 1, ["of all 2 classes: 75.00%, where", "count as 1", "others: 50.00%"]),
        ([np.nan], 0, ["of all 1 classes: 0.00%", "others: none"]),
    ],
)
def test_mean_in_words(iou, absent, words):
    text = scores.mean_in_words(np.array(iou), absent)
    assert [word for word in words if word not in text] == []
    assert ("others" in text) == bool(np.isnan(iou).any())


def test_evaluation_and_comparison_say_the_same():
    rng = np.random.default_rng(0)
    labels, masks = rng.integers(0, 3, (2, 20, 30))  # the fourth class is absent
    confusion = scores.confusion_matrix(labels, masks, 4)
    areas = [np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)]
    areas = [paddle.to_tensor(area) for area in areas]
    class_iou, mean = metrics.mean_iou(*areas)
    said = scores.evaluation_in_words(class_iou, *areas)
    assert f"all 4 classes: {mean:.2%}" in said and f"count as {class_iou[3]:g}" in said
    assert said == scores.mean_in_words(scores.intersection_over_union(confusion), class_iou[3])
