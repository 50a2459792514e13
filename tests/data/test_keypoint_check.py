"""check_dataset for keypoints: counts against those made here, and a sentence for everything that is wrong."""

import json
import os
import re

import cv2
import numpy as np
import persons
import pytest
from comparing import zip_strict
from tiny_configs import run_command, write_config

from paddle_rtseg.data.keypoint_check import check_keypoints
from paddle_rtseg.errors import InputError

GOOD = [10, 10, 2, 20, 20, 1, 30, 30, 2]


@pytest.fixture
def settings(tmp_path):
    folder = persons.write(tmp_path, train=4, val=2)
    return {"annotations": f"{folder}/train.json", "images": folder, "skeleton": persons.SKELETON}


def change(settings, make):
    """Let ``make`` change the content of the file."""
    with open(settings["annotations"]) as file:
        content = json.load(file)
    make(content)
    with open(settings["annotations"], "w") as file:
        json.dump(content, file)


def of_first(**changes):
    return lambda content: content["annotations"][0].update(changes)


def of_image(**changes):
    return lambda content: content["images"][0].update(changes)


def test_counts(settings):
    def make(content):
        for item, states in zip_strict(content["annotations"], ((2, 2, 0), (2, 1, 0), (0, 0, 0), (1, 0, 0))):
            item["keypoints"][2::3] = states

    change(settings, make)
    report = check_keypoints(settings)
    assert report.visible.tolist() == [2, 1, 0] and report.occluded.tolist() == [1, 1, 0]
    assert report.absent == [2] and report.persons == 3 and dict(report.left_out) == {"no visible keypoint": 1}
    assert report.defects == [] and len(report.file_list) == 4


LEFT_OUT = [
    ({"iscrowd": 1}, "a crowd"),
    ({"keypoints": [0] * 9}, "no visible keypoint"),
    ({"keypoints": [-5, -5, 0] * 3}, "no visible keypoint"),
    ({"bbox": [5, 5, 0, 10]}, "a box without an area"),
    ({"bbox": [5, 5, 10, -1]}, "a box without an area"),
    ({"bbox": [500, 5, 10, 10]}, "a box outside the image"),
    ({"bbox": [-50, 5, 10, 10]}, "a box outside the image"),
]


@pytest.mark.parametrize("changes, reason", LEFT_OUT)
def test_left_out(changes, reason, settings):
    change(settings, of_first(**changes))
    report = check_keypoints(settings)
    assert dict(report.left_out) == {reason: 1} and report.persons == 3 and report.defects == []


DEFECTS = [
    (of_first(keypoints=GOOD[:-1]), "9 numbers as keypoints of annotation 0 .* got 8 values; correct the file, or the"),
    (of_first(keypoints=GOOD * 2), "9 numbers as keypoints of annotation 0 .* got 18 values"),
    (of_first(keypoints=[float("nan"), *GOOD[1:]]), "9 numbers as keypoints of annotation 0 .* got .nan"),
    (of_first(keypoints=["10", *GOOD[1:]]), "9 numbers as keypoints of annotation 0"),
    (of_first(keypoints=None), "9 numbers as keypoints of annotation 0 .* got None"),
    (of_first(bbox=[float("inf"), 1, 2, 3]), "4 numbers as bbox of annotation 0"),
    (of_first(bbox=[1, 2, 3]), "4 numbers as bbox of annotation 0 .* got 3 values"),
    (of_first(image_id=99), "the image of annotation 0 .* got image_id 99"),
    (of_first(image_id={}), "the image of annotation 0 .* got image_id"),
    (of_image(file_name="none.png"), "none.png"),
    (of_image(file_name="/etc/passwd"), "images in their folder .* got '/etc/passwd'"),
    (of_image(file_name="../../x.png"), "images in their folder"),
    (of_image(width=64, height=48), "to have the 64 x 48 pixels that .* states, got 48 x 64; correct the file"),
    (of_image(width="48"), "file_name, width and height of each image"),
]


@pytest.mark.parametrize("make, words", DEFECTS)
def test_a_sentence_for_each_defect(make, words, settings):
    change(settings, make)
    report = check_keypoints(settings)
    (defect,) = report.defects
    assert re.search(words, defect) and "\n" not in defect and len(defect) < 500


def test_every_defect_is_named(settings):
    def make(content):
        content["annotations"][0]["keypoints"] = []
        content["annotations"][2]["bbox"] = "none"
        content["images"][1]["file_name"] = "gone.png"

    change(settings, make)
    with open(os.path.join(settings["images"], "train3.png"), "wb") as file:
        file.write(b"no image")
    report = check_keypoints(settings)
    assert len(report.defects) == 4
    for words in ("annotation 0", "annotation 2", "gone.png", "train3.png"):
        assert any(words in defect for defect in report.defects), words


REMARKS = [
    (of_first(keypoints=[500, 10, 2, *GOOD[3:]]), "1 persons with a keypoint outside their image"),
    (
        lambda content: content.update(categories=[{"keypoints": ["blue", "green", "red"]}]),
        "blue, green, red, those of",
    ),
    (lambda content: content["annotations"].pop(), "1 images without a person"),
]


@pytest.mark.parametrize("make, words", REMARKS)
def test_remarks(make, words, settings):
    assert check_keypoints(settings).remarks == []
    change(settings, make)
    (remark,) = check_keypoints(settings).remarks
    assert words in remark


REFUSED = [
    ({"skeleton": "cocoo"}, "did you mean 'coco'"),
    ({"input_size": [50, 64]}, "multiples of 4"),
    ({"sigma": "x"}, "a sigma above 0"),
    ({"mode": "test"}, "mode 'train' or 'val'"),
    ({"annotations": "none.json"}, "which is not a file"),
]


@pytest.mark.parametrize("changes, words", REFUSED)
def test_settings_are_checked_first(changes, words, settings):
    with pytest.raises(InputError, match=words):
        check_keypoints({**settings, **changes})


def test_command(settings, tmp_path, capsys):
    folder = settings["images"]
    path = write_config(tmp_path / "config.yml", persons.config(folder))
    assert run_command("check_dataset", "--config", path) == 0
    shown = capsys.readouterr().out
    assert "train_dataset: CocoKeypoints, 4 persons to use in 4 images, 0 defects" in shown
    assert shown.count("red") == 2 and "named by none" not in shown

    def make(content):
        for item in content["annotations"]:
            item["keypoints"][-1] = 0
        content["annotations"][0]["bbox"] = content["annotations"][1]["bbox"] = [1]

    change(settings, make)
    cv2.imwrite(os.path.join(folder, "extra.png"), np.zeros((8, 8, 3), np.uint8))
    assert run_command("check_dataset", "--config", path, "--limit", "1") == 1
    shown = capsys.readouterr().out
    assert "2 persons to use in 4 images, 2 defects" in shown and "... and 1 more (--limit)" in shown
    assert "never occurs" in shown and "extra.png" in shown
