"""Jump-broadcast's CSV files, made here in their form, as COCO's JSON: what is written, left out and refused."""

import json
import os
import re

import cv2
import numpy as np
import pytest
from comparing import zip_strict
from tiny_configs import run_command

from paddle_rtseg.data.jump_broadcast import NAMES, convert
from paddle_rtseg.data.keypoint_check import check_keypoints
from paddle_rtseg.data.keypoints import CocoKeypoints
from paddle_rtseg.errors import InputError

SIZE = (80, 60)
FRAMES = [(3, 120), (3, 121), (25, 7)]


class Sample:
    """The files of three frames, as text to change before they are written."""

    def __init__(self, folder):
        self.folder, rng = folder, np.random.default_rng(0)
        self.points = rng.uniform(10, 50, (len(FRAMES), len(NAMES), 2)).round(1)
        self.states = rng.integers(0, 3, (len(FRAMES), len(NAMES)))
        self.head = "event;frame_num;athlete;slowmotion;" + ";".join(f"{n}_{part}" for n in NAMES for part in "xys")
        self.lines = []
        for (event, frame), points, states in zip_strict(FRAMES, self.points, self.states):
            values = [f"{x};{y};{s}" for (x, y), s in zip_strict(points.tolist(), states.tolist())]
            self.lines.append(f"{event};{frame};somebody;0;" + ";".join(values))
            (folder / str(event)).mkdir(exist_ok=True)
            image = rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
            cv2.imwrite(str(folder / str(event) / f"{event}_({frame:05d}).jpg"), image)
        self.boxes = [f"{event}_({frame:05d}), {5 + event}, 6, 30, 40" for event, frame in FRAMES]

    def arguments(self, with_boxes=True):
        (self.folder / "train.csv").write_text("\n".join(["#3", self.head, *self.lines]) + "\n")
        (self.folder / "bbox.csv").write_text("\n".join(["image_id, min_x, min_y, width, height", *self.boxes]) + "\n")
        names = {"--input": "train.csv", "--images": ".", "--save": "train.json", "--boxes": "bbox.csv"}
        return [x for k, name in names.items() if with_boxes or k != "--boxes" for x in (k, self.folder / name)]


@pytest.fixture
def sample(tmp_path):
    return Sample(tmp_path)


def read(sample):
    with open(sample.folder / "train.json") as file:
        return json.load(file)


def test_what_is_written(sample, capsys):
    assert run_command("import_keypoints", *sample.arguments()) == 0
    content = read(sample)
    assert [image["file_name"] for image in content["images"]] == [
        *("3/3_(00120).jpg", "3/3_(00121).jpg", "25/25_(00007).jpg")
    ]
    assert [image["id"] for image in content["images"]] == [300120, 300121, 2500007]
    assert {(image["width"], image["height"]) for image in content["images"]} == {SIZE}
    for item, points, states in zip_strict(content["annotations"], sample.points, sample.states):
        np.testing.assert_array_equal(np.reshape(item["keypoints"], (20, 3)), np.column_stack([points, states]))
    assert [item["bbox"] for item in content["annotations"]] == [[8, 6, 30, 40], [8, 6, 30, 40], [30, 6, 30, 40]]
    shown = capsys.readouterr().out
    assert "3 persons in 3 images" in shown and "left out" not in shown
    for name, count in zip_strict(NAMES, (sample.states > 0).sum(axis=0)):
        assert re.search(rf"{name} +{count} ", shown)


def test_the_file_can_be_trained_with(sample):
    run_command("import_keypoints", *sample.arguments(with_boxes=False))
    settings = {"annotations": str(sample.folder / "train.json"), "images": str(sample.folder), "skeleton": "jbd"}
    report = check_keypoints(settings)
    assert report.defects == [] and report.remarks == [] and report.persons == 3
    dataset = CocoKeypoints(**settings, input_size=(48, 64))
    assert dataset[0]["heatmaps"].shape == (20, 16, 12)
    for person in dataset.persons:  # each visible keypoint lies in the box that was made
        points = person.keypoints[person.visible > 0]
        assert (points > person.box[:2]).all() and (points < person.box[2:]).all()


def test_what_is_left_out(sample, capsys):
    sample.lines.append(sample.lines[0].replace("3;120;", "3;122;", 1))
    sample.lines[1] = "3;121;somebody;0;" + ";".join(["1;2;0"] * len(NAMES))
    sample.boxes[2] = "9_(00001), 1, 2, 3, 4"
    sample.boxes.append("3_(00122), 1, 2, 3, 4")
    assert run_command("import_keypoints", *sample.arguments()) == 1
    assert len(read(sample)["annotations"]) == 1
    shown = capsys.readouterr().out
    for reason, name in (("no visible keypoint", "3_(00121)"), ("no box", "25_(00007)"), ("no image", "3_(00122)")):
        assert f"left out, {reason}: 1 ({name})" in shown


def set_head(text):
    return lambda sample: setattr(sample, "head", text)


def set_line(number, change):
    def make(sample):
        sample.lines[number] = change(sample.lines[number])

    return make


BAD = [
    (
        set_head("event,frame_num"),
        "the columns event, frame_num, head_x, ... in .* separated by ';', got none named event",
    ),
    (lambda s: setattr(s, "head", s.head.replace("ltoe_s", "ltoe_v")), "got none named ltoe_s"),
    (set_line(1, lambda line: line + ";1"), "expected 64 values in line 4 of .*, got 65"),
    (set_line(1, lambda line: "x" + line), "event and frame_num as whole numbers in line 4 of .*, got 'x3'"),
    (set_line(0, lambda line: line.replace("3;120", "3;123456")), "whole numbers in line 3 of .*, got '123456'"),
    (set_line(2, lambda line: line.rpartition(";")[0] + ";nan"), "a number as ltoe_s of line 5 of .*, got 'nan'"),
    (set_line(2, lambda line: line.rpartition(";")[0] + ";"), "a number as ltoe_s of line 5 of .*, got ''"),
    (lambda s: s.boxes.append("a, 1, 2, 3, wide"), "a number as height of line 5 of .*bbox.csv', got 'wide'"),
    (lambda s: s.lines.clear(), "expected athletes in .*, got none that can be used .no rows."),
    (lambda s: s.boxes.clear(), "got none that can be used .no box: 3."),
]


@pytest.mark.parametrize("make, words", BAD)
def test_bad_files(make, words, sample):
    make(sample)
    with pytest.raises(InputError, match=words) as e:
        run_command("import_keypoints", *sample.arguments())
    assert "\n" not in str(e.value) and not (sample.folder / "train.json").exists()


@pytest.mark.parametrize("content, words", [(None, "cannot read"), (b"#1\n\xff\xfe", "expected a CSV file")])
def test_files_that_are_none(content, words, sample):
    sample.arguments()
    path = sample.folder / "train.csv"
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        convert(str(path), str(sample.folder), str(sample.folder / "train.json"))


def test_an_image_that_is_damaged(sample):
    arguments = sample.arguments()
    (sample.folder / "3" / "3_(00120).jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="has the header of no format"):
        run_command("import_keypoints", *arguments)
    assert not (sample.folder / "train.json").exists()


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "train.csv")
    with pytest.raises(InputError, match="which is not a file"):
        convert(str(tmp_path / "train.csv"), str(tmp_path), str(tmp_path / "train.json"))
