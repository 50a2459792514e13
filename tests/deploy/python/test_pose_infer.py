"""The inference command for poses: images, folders and videos, with and without boxes."""

import json
import pathlib

import cv2
import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference import cli
from tiny_pose import SEGMENTATION_FLAGS, draw_persons

PERSONS = {
    "a.png": [[(60, 50), (90, 80), (60, 130)], [(200, 60), (180, 90), (230, 140)]],
    "below/12.png": [[(30, 30), (60, 60), (90, 90)]],
    "nobody.png": [],
}
SIZE = (300, 200)


@pytest.fixture
def source(tmp_path):
    """A folder of images, and the file of their boxes."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    images, annotations = [], []
    for image_id, (name, persons) in enumerate(PERSONS.items(), start=20):
        images.append({"id": image_id, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        boxes = draw_persons(folder / name, persons, SIZE)
        annotations += [{"image_id": image_id, "category_id": 1, "bbox": box} for box in boxes]
    (tmp_path / "boxes.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def infer(model, source, out, *arguments):
    command = ["--model", model, "--input", source, "--save_dir", out, "--backend", "native", *arguments]
    return cli.run([str(word) for word in command])


def results(out):
    return json.loads((out / "keypoints.json").read_text())


def places(result):
    return np.array(result["keypoints"]).reshape(-1, 3)[:, :2]


def overlays(out):
    return sorted(str(p.relative_to(out / "overlays")) for p in pathlib.Path(out, "overlays").rglob("*.*"))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_folder_with_boxes(batch_size, exported_pose, source, tmp_path, capsys):
    arguments = ["--boxes", tmp_path / "boxes.json", "--batch_size", batch_size]
    assert infer(exported_pose, source, tmp_path / "out", *arguments) == 0
    found = results(tmp_path / "out")
    assert [(r["image_id"], r["file_name"]) for r in found] == [(20, "a.png"), (20, "a.png"), (21, "below/12.png")]
    for result, points in zip_strict(found, [*PERSONS["a.png"], *PERSONS["below/12.png"]]):
        np.testing.assert_allclose(places(result), points, atol=3)
    assert overlays(tmp_path / "out") == ["a.jpg", "below/12.jpg", "nobody.jpg"]
    out = capsys.readouterr().out
    assert "3 boxes in 2 of 3 images\n" in out and "3 written to " in out and "ms per image" in out


def test_whole_images(exported_pose, source, tmp_path):
    """Without boxes each image is one person; ids are the numbers in the names, and otherwise free ones."""
    assert infer(exported_pose, source, tmp_path / "out", "--write", "masks") == 0
    found = results(tmp_path / "out")
    assert [(r["image_id"], r["bbox"]) for r in found] == [(n, [0, 0, 300, 200]) for n in (1, 2, 12)]
    assert not (tmp_path / "out" / "masks").exists() and not (tmp_path / "out" / "overlays").exists()


def test_one_image(exported_pose, source, tmp_path):
    boxes = [{"file_name": "12.png", "bbox": [14, 14, 92, 92], "score": 0.5}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    arguments = ["--boxes", tmp_path / "boxes.json"]
    assert infer(exported_pose, source / "below" / "12.png", tmp_path / "out", *arguments) == 0
    (result,) = results(tmp_path / "out")
    np.testing.assert_allclose(places(result), PERSONS["below/12.png"][0], atol=3)
    assert result["image_id"] == 12 and 0.4 < result["score"] < 0.5


def test_images_that_fail(exported_pose, source, tmp_path, capsys):
    """They are named, the others are written."""
    document = json.loads((tmp_path / "boxes.json").read_text())
    document["images"][0]["width"] = 301
    document["annotations"].append({"image_id": 22, "bbox": [400, 0, 10, 10]})
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    (source / "damaged.png").write_bytes(b"\x89PNG")
    assert infer(exported_pose, source, tmp_path / "out", "--boxes", tmp_path / "boxes.json") == 1
    err = capsys.readouterr().err
    assert "skipped a: expected the 301 x 200 pixels that --boxes states, got 300 x 200; correct the file" in err
    assert (
        "skipped nobody: expected a box with an area inside the image of 300 x 200 pixels, got 400, 0, 410, 10" in err
    )
    assert "skipped damaged: expected an image" in err and err.count("\n") == 3
    assert [r["file_name"] for r in results(tmp_path / "out")] == ["below/12.png"]
    assert overlays(tmp_path / "out") == ["below/12.jpg"]


def test_nobody(exported_pose, source, tmp_path):
    (tmp_path / "boxes.json").write_text("[]")
    assert infer(exported_pose, source, tmp_path / "out", "--boxes", tmp_path / "boxes.json") == 0
    assert results(tmp_path / "out") == [] and len(overlays(tmp_path / "out")) == 3


def test_video(exported_pose, source, tmp_path, capsys):
    """Each frame is one person; boxes belong to images."""
    video = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(video, cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for _ in range(3):
        writer.write(cv2.imread(str(source / "a.png")))
    writer.release()
    assert infer(exported_pose, video, tmp_path / "out", "--max_frames", 2) == 0
    assert [(r["image_id"], r["file_name"]) for r in results(tmp_path / "out")] == [
        (0, "clip/000000"),
        (1, "clip/000001"),
    ]
    assert overlays(tmp_path / "out") == ["clip.mp4"]
    assert infer(exported_pose, video, tmp_path / "no", "--boxes", tmp_path / "boxes.json") == 2
    assert "expected images with --boxes, got the video " in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("flag", [["--boxes", "boxes.json"], ["--category", "1"], ["--box_score", "0.5"]])
def test_flags_for_poses_with_another_model(flag, exported, source, tmp_path, capsys):
    assert infer(exported["logits"], source, tmp_path / "out", *flag) == 2
    assert f"expected {flag[0]} with a model for poses only, got one for another task" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", SEGMENTATION_FLAGS)
def test_flags_for_segmentation(flag, exported_pose, source, tmp_path, capsys):
    assert infer(exported_pose, source, tmp_path / "out", *flag) == 2
    assert f"expected {flag[0]} with a model for segmentation only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_forms_of_masks(exported_pose, source, tmp_path, capsys):
    assert infer(exported_pose, source, tmp_path / "out", "--write", "overlays", "json") == 2
    assert "expected --write overlays with a model for poses, got overlays,json" in capsys.readouterr().err


def test_bad_boxes_leave_nothing_behind(exported_pose, source, tmp_path, capsys):
    (tmp_path / "boxes.json").write_text("[{}]")
    assert infer(exported_pose, source, tmp_path / "out", "--boxes", tmp_path / "boxes.json") == 2
    assert capsys.readouterr().err.startswith("error: expected 4 numbers as bbox of each box in ")
    assert not (tmp_path / "out").exists()


def test_verify_and_auto(exported_pose, capsys):
    assert cli.run(["--model", exported_pose, "--verify"]) == 0
    out = capsys.readouterr().out
    assert "cpu native fp32: " in out and "100.00% of the keypoints agree" in out and "using cpu " in out
