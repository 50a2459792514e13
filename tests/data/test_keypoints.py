"""Persons from COCO's JSON as a dataset: what a sample holds, who is left out, and every defect in a sentence."""

import json
import random

import cv2
import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference.pose import decode

from paddle_rtseg.data.keypoints import MEAN, STD, CocoKeypoints
from paddle_rtseg.errors import InputError

HAND = {"names": ["wrist", "left", "right", "tip"], "flip_pairs": [["left", "right"]], "upper": ["left", "right"]}
POINTS = [[40, 30, 2], [60, 50, 2], [30, 60, 1], [0, 0, 0]]


@pytest.fixture
def write(tmp_path):
    """Writes an image of 120 x 100 pixels with a dot at each visible point, and annotations; returns the arguments."""
    image = np.zeros((100, 120, 3), np.uint8)
    for x, y, visible in POINTS:
        if visible:
            cv2.circle(image, (x, y), 2, (255, 255, 255), -1)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)

    def write(annotations=({},), image=None, content=None):
        images = [{"id": 7, "file_name": "a.png", "width": 120, "height": 100, **(image or {})}]
        good = {"image_id": 7, "bbox": [20, 20, 60, 50], "keypoints": [n for point in POINTS for n in point]}
        persons = [{"id": i, **good, **changes} for i, changes in enumerate(annotations)]
        path = tmp_path / "persons.json"
        path.write_text(json.dumps({"images": images, "annotations": persons} if content is None else content))
        return {"annotations": str(path), "images": str(tmp_path / "images"), "skeleton": HAND, "input_size": [48, 64]}

    return write


def test_a_sample_for_evaluation(write):
    dataset = CocoKeypoints(**write(), mode="val", sigma=1.0)
    sample = dataset[0]
    assert sample["img"].shape == (3, 64, 48) and sample["img"].dtype == np.float32
    assert sample["heatmaps"].shape == (4, 16, 12) and sample["weights"].tolist() == [1, 1, 1, 0]
    np.testing.assert_allclose(sample["region"], [50, 45, 75, 100])  # 60 x 50, 1.25 times, as wide as 48 is to 64
    grey = (sample["img"] * STD[:, None, None] + MEAN[:, None, None]).mean(axis=0)
    for (x, y), weight in zip_strict(decode(sample["heatmaps"], "none")[0], sample["weights"]):
        if weight:  # a dot lies where its heatmap has its peak
            assert grey[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3].max() > 0.5


def test_samples_for_training_follow_the_seed_and_their_keypoints(write):
    dataset = CocoKeypoints(**write(), mode="train", sigma=1.0)

    def draw(seed):
        random.seed(seed)
        np.random.seed(seed)
        return dataset[0]

    samples = [draw(seed) for seed in range(30)]
    np.testing.assert_array_equal(samples[3]["img"], draw(3)["img"])
    assert len({sample["img"].tobytes() for sample in samples}) > 25
    hits = total = 0
    for sample in samples:
        grey = (sample["img"] * STD[:, None, None] + MEAN[:, None, None]).mean(axis=0)
        cells, scores = decode(sample["heatmaps"], "none")
        for k in np.flatnonzero((sample["weights"] > 0) & (scores == 1)):
            x, y = cells[k].astype(int)
            hits += grey[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5].max(initial=0) > 0.2
            total += 1
    assert total > 40 and hits > 0.9 * total


def test_who_is_left_out(write):
    crowd = {"iscrowd": 1}
    nobody = {"keypoints": [0] * 12}
    flat, outside = {"bbox": [20, 20, 0, 50]}, {"bbox": [500, 500, 10, 10]}
    dataset = CocoKeypoints(**write([{}, crowd, nobody, flat, outside]), mode="val")
    assert (len(dataset), dataset.left_out) == (1, 4)
    with pytest.raises(InputError, match="got none of 2 annotations"):
        CocoKeypoints(**write([crowd, nobody]))


BAD = {
    "length": (
        {"annotations": [{"keypoints": [1] * 9}]},
        "expected 12 numbers as keypoints of annotation 0 .* got 9 values; correct the file, or the config's skeleton",
    ),
    "text": ({"annotations": [{"keypoints": "x"}]}, "expected 12 numbers as keypoints .* got x"),
    "not a number": ({"annotations": [{"keypoints": [float("nan")] * 12}]}, "expected 12 numbers as keypoints"),
    "box": ({"annotations": [{"bbox": [1, 2, 3]}]}, "expected 4 numbers as bbox"),
    "huge box": ({"annotations": [{"bbox": [0, 0, 1e300, 1]}]}, "expected 4 numbers as bbox"),
    "image": ({"annotations": [{"image_id": 9}]}, "expected the image of annotation 0 .* got image_id 9"),
    "image id": ({"annotations": [{"image_id": [9]}]}, "expected the image of annotation 0 .* got image_id .9."),
    "same image twice": (
        {"content": {"images": [{"id": 1}, {"id": 1}], "annotations": []}},
        "with an id of their own .* got 1",
    ),
    "image without an id": ({"image": {"id": None}}, "images with an id of their own"),
    "huge number": ({"annotations": [{"keypoints": [10**400] * 12}]}, "expected 12 numbers as keypoints"),
    "truth value": ({"annotations": [{"bbox": [1, 2, 3, True]}]}, "expected 4 numbers as bbox"),
    "outside": ({"image": {"file_name": "../a.png"}}, "expected images in their folder"),
    "no name": ({"image": {"file_name": 3}}, "expected file_name, width and height"),
    "no size": ({"image": {"width": None}}, "expected file_name, width and height"),
    "a list": ({"content": [1]}, "expected an object"),
    "no lists": ({"content": {}}, "expected a list 'images'"),
}


@pytest.mark.parametrize("changes, match", BAD.values(), ids=BAD)
def test_defective_files(changes, match, write):
    with pytest.raises(InputError, match=match) as e:
        CocoKeypoints(**write(**changes))
    assert "\n" not in str(e.value) and len(str(e.value)) < 500


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"mode": "test"}, "mode 'train' or 'val'"),
        ({"input_size": [50, 64]}, "multiples of 4"),
        ({"input_size": [48]}, "an input_size of width and height"),
        ({"sigma": 0}, "a sigma above 0"),
        ({"skeleton": "cocoo"}, "did you mean 'coco'"),
        ({"skeleton": "lsp"}, "expected 42 numbers as keypoints"),
        ({"annotations": "nowhere.json"}, "which is not a file"),
    ],
)
def test_defective_arguments(changes, match, write):
    with pytest.raises(InputError, match=match):
        CocoKeypoints(**{**write(), **changes})


@pytest.mark.parametrize(
    "image, match",
    [({"width": 100, "height": 120}, "120 pixels that .* states, got 120 x 100"), ({"file_name": "b.png"}, "b.png")],
)
def test_images_that_do_not_fit(image, match, write):
    with pytest.raises(InputError, match=match):
        CocoKeypoints(**write(image=image), mode="val")[0]
