"""Mean IoU of a sample of images, against PaddleSeg's definition, and its bootstrap interval."""

import numpy as np
import pytest
from comparing import zip_strict

from paddle_rtseg.data.scores import confusion_matrix, intersection_over_union
from paddle_rtseg.tune.accuracy import counts_of, difference, estimate, labelled_classes, mean_iou

CLASSES = 4


def sample(images=40, right=0.7, seed=0):
    """Labels with ignored pixels and masks of random images, and their counts."""
    random = np.random.default_rng(seed)
    labels = random.choice([0, 1, 2, 3, 255], (images, 8, 8))
    masks = np.where(
        (random.random(labels.shape) < right) & (labels < 255), labels, random.integers(0, 4, labels.shape)
    )
    counts = np.concatenate([counts_of(label, mask, CLASSES, 255) for label, mask in zip_strict(labels, masks)])
    return labels, masks, counts


def test_mean_iou_is_that_of_all_pixels_together():
    labels, masks, counts = sample()
    expected = intersection_over_union(confusion_matrix(labels, masks, CLASSES)).mean()
    assert mean_iou(counts) == pytest.approx(expected) and labelled_classes(counts) == CLASSES


def test_classes_without_a_label_do_not_count():
    labels, masks, _ = sample(right=1)
    labels[labels == 3] = 255
    counts = np.concatenate([counts_of(label, mask, CLASSES, 255) for label, mask in zip_strict(labels, masks)])
    assert mean_iou(counts) == 1 and labelled_classes(counts) == 3
    assert mean_iou(np.zeros_like(counts)) == 0 and labelled_classes(np.zeros_like(counts)) == 0


def test_interval_is_where_other_samples_are():
    """Of 95 % intervals from samples of a large population, about 95 % hold its mean IoU."""
    *_, population = sample(20_000, seed=1)
    truth = mean_iou(population)
    random = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        found = estimate(population[random.choice(len(population), 40)])
        assert found.low < found.value < found.high
        held += found.low <= truth <= found.high
    assert 88 <= held <= 99


def test_difference_is_of_the_same_images():
    """Networks that are right and wrong on the same images differ by little more than nothing, and surely."""
    _, _, counts = sample()
    worse = counts.copy()
    worse[:, 0] -= np.minimum(1, worse[:, 0])  # a pixel of each class in each image
    found = difference(worse, counts)
    assert found.value == pytest.approx(mean_iou(worse) - mean_iou(counts))
    assert found.low < found.value < found.high < 0
    assert found.error < 0.3 * estimate(counts).error
    assert difference(counts, counts) == (0, 0, 0, 0)


def alike(random, scenes, images, hard=0.3):
    """Counts of images in runs, each of one scene: in some scenes a network finds less than in others."""
    quality = np.repeat(np.clip(random.normal(0.7, hard, (scenes, CLASSES)), 0, 1), images, axis=0)
    found = np.rint(1000 * quality).astype(np.int64)
    return np.stack([found, found, np.full_like(found, 1000)], axis=1)


def test_interval_of_frames_that_resemble_their_neighbours():
    """Runs of images are drawn together, so that most intervals still hold the truth, which single images would not."""
    random = np.random.default_rng(3)
    truth = mean_iou(alike(random, 20_000, 1))
    held = {"runs": 0, "single": 0}
    for _ in range(100):
        counts = alike(random, 12, 10)
        order = random.permutation(len(counts))  # a search takes its frames in random order
        for how, places in (("runs", order), ("single", None)):
            found = estimate(counts[order], places)
            held[how] += found.low <= truth <= found.high
    assert held["runs"] > 80 and held["single"] < 60, held


def test_runs_of_images_that_do_not_resemble_each_other():
    """Then the intervals are about as wide as those of single images."""
    _, _, counts = sample(200)
    runs, single = estimate(counts, range(200)), estimate(counts)
    assert runs.value == single.value and runs.error == pytest.approx(single.error, rel=0.25)
    few = estimate(counts[:10], range(10))
    assert few.error == pytest.approx(estimate(counts[:10]).error, rel=0.1)
