"""Boxes from COCO's annotations, COCO's results and PaddleDetection's bbox.json, and which image each belongs to."""

import json

import numpy as np
import pytest
from box_files import BAD_FILES, GOOD_FILES, NAMES
from comparing import zip_strict
from rtseg_inference import InputError
from rtseg_inference.pose_boxes import image_ids, match, read_boxes, whole_images


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "boxes.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    return write


def found(path, score=0.0, category=None):
    images, line = match(read_boxes(path), NAMES, score, category)
    return {name: image for name, image in zip_strict(NAMES, images)}, line


def test_coco_annotations(write):
    images, line = found(write(GOOD_FILES["COCO's annotations"]))
    assert line == "2 boxes in 1 of 5 images; left out: 2 of images that are not in the input: 2 (elsewhere.jpg, 99)"
    assert images["a.jpg"].image_id == 7 and images["a.jpg"].size == (300, 200)
    np.testing.assert_array_equal(images["a.jpg"].boxes, [[1, 2, 4, 6, 1], [0.5, 0, 10, 10, 1]])
    assert images["sub/b.jpg"].image_id == 8 and len(images["sub/b.jpg"].boxes) == 0


def test_coco_results(write):
    """Without file names, images are found by the numbers that are their names."""
    images, line = found(write(GOOD_FILES["COCO's results"]), 0.3)
    assert line == (
        "1 boxes in 1 of 5 images; left out: 1 of images that are not in the input: 1 (12); 1 below --box_score"
    )
    np.testing.assert_array_equal(images["000000000785.jpg"].boxes, [[1, 2, 4, 6, 0.75]])
    assert images["000000000785.jpg"].image_id == 785


def test_paddle_detection(write):
    """Its image_id is the place in its own input; the file name counts."""
    with pytest.raises(InputError, match=r"boxes of one category in .*, got 2 \(0, 2\); choose one with --category"):
        found(write(GOOD_FILES["PaddleDetection"]))
    images, line = found(write(GOOD_FILES["PaddleDetection"]), 0.5, 0)
    assert line == "2 boxes in 2 of 5 images; left out: 1 below --box_score; 1 of other categories"
    assert [len(images[name].boxes) for name in NAMES] == [1, 1, 0, 0, 0]
    assert images["sub/b.jpg"].image_id == 0 and images["sub/b.jpg"].category == 0


def test_two_images_of_one_name(write):
    """A name without a folder is that of neither."""
    images, line = found(
        write([{"file_name": "x.jpg", "bbox": [1, 2, 3, 4]}, {"file_name": "two/x.jpg", "bbox": [1, 2, 3, 4]}])
    )
    assert line.startswith("1 boxes in 1 of 5 images; left out: 1 of images") and len(images["two/x.jpg"].boxes) == 1


def test_ids():
    assert image_ids(["a.jpg", "3.jpg", "x/003.png", "1.jpg"], {0: 1}) == [1, 3, 2, 4]
    assert [image.image_id for image in whole_images(["b.jpg", "2.jpg"])] == [1, 2]
    assert whole_images(["b.jpg"])[0].boxes is None


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name, write):
    content, message = BAD_FILES[name]
    with pytest.raises(InputError) as caught:
        read_boxes(write(content))
    assert message in str(caught.value) and "boxes.json" in str(caught.value) and "\n" not in str(caught.value)


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(
            InputError, match=r"expected a JSON file of boxes, got .*, which is no file; check the path"
        ):
            read_boxes(str(path))


def test_large_file(tmp_path):
    with open(tmp_path / "boxes.json", "wb") as f:
        f.truncate((1 << 28) + 1)
    with pytest.raises(InputError, match="in at most 256 MiB, got more"):
        read_boxes(str(tmp_path / "boxes.json"))
