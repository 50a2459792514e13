"""Poses from an exported network: its contract, its predictor, and bad boxes."""

import json
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from bad_contracts import BAD_POSE_CONTRACTS, spoil
from comparing import zip_strict
from rtseg_inference import InputError, PosePredictor, Predictor, contract, fastest
from rtseg_inference.pose import average_flipped, crop, decode, matrix, region_of, to_image
from rtseg_inference.pose_drawing import draw
from rtseg_inference.pose_predictor import Person
from tiny_pose import PREPROCESSING, SIZE, draw_persons, pose

PERSONS = [[(60, 50), (90, 80), (60, 130)], [(200, 60), (180, 90), (230, 140)]]


@pytest.fixture(scope="module")
def predictor(exported_pose):
    return PosePredictor(exported_pose, backend="native", threads=1)


@pytest.fixture
def picture(tmp_path):
    """An image of two persons, and the left, top, right and bottom of each."""
    boxes = draw_persons(tmp_path / "two.png", PERSONS, (300, 200))
    return str(tmp_path / "two.png"), [[left, top, left + w, top + h] for left, top, w, h in boxes]


def test_contract(exported_pose):
    found = contract.read_contract(exported_pose)
    assert found.task == "pose" and found.output.op == "heatmaps" and found.pose == pose()
    assert found.golden.mask is None and "golden_mask.png" not in found.files()
    document = contract.load(exported_pose)
    assert contract.to_document(contract.parse(document, "folder")) == document["rtseg"]
    assert document["rtseg"]["schema"] == 2  # which programs of before refuse


@pytest.mark.parametrize("name", BAD_POSE_CONTRACTS)
def test_bad_contracts(name, exported_pose, tmp_path):
    shutil.copy(f"{exported_pose}/deploy.yaml", tmp_path)
    spoil(tmp_path, name)
    with pytest.raises(InputError, match=re.escape(BAD_POSE_CONTRACTS[name]["expect"])) as caught:
        contract.parse(contract.load(str(tmp_path)), str(tmp_path))
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


def test_predictors_of_the_other_task(exported, exported_pose):
    with pytest.raises(
        InputError, match=r"for segmentation, got one for pose in .*; use rtseg_inference.PosePredictor"
    ):
        Predictor(exported_pose)
    with pytest.raises(InputError, match=r"for pose, got one for segmentation in .*; use rtseg_inference.Predictor"):
        PosePredictor(exported["logits"])
    with pytest.raises(InputError, match="PosePredictor"):
        fastest(exported_pose)


def test_finds_the_dots(predictor, picture):
    path, boxes = picture
    result = predictor.predict(path, boxes)
    for person, points, box in zip_strict(result.persons, PERSONS, boxes):
        np.testing.assert_allclose(person.keypoints, points, atol=3)  # a cell has 8 pixels here
        assert person.scores.min() > 0.5 and person.box.tolist() == box
        assert person.score == pytest.approx(float(person.scores.mean()))
    (whole,) = predictor.predict(cv2.imread(path)[:, :140]).persons
    np.testing.assert_allclose(whole.keypoints, PERSONS[0], atol=6)
    assert whole.box.tolist() == [0, 0, 140, 200]


def test_same_as_the_pieces(predictor, picture):
    """The network, run by hand on a crop and its mirror image."""
    path, (box, _) = picture
    image, region = cv2.imread(path), region_of(box, SIZE)
    pixels = crop(image, matrix(region, SIZE), SIZE)

    def heatmaps(crop):
        x = (crop[..., ::-1].astype(np.float32) / 255 - PREPROCESSING.mean) / PREPROCESSING.std
        return predictor.runtime.run(np.ascontiguousarray(x.transpose(2, 0, 1)[None].astype(np.float32)))[0]

    mean = average_flipped(heatmaps(pixels), heatmaps(pixels[:, ::-1]), [0, 1, 2])
    keypoints, scores = decode(mean)
    (person,) = predictor.predict(image, [box]).persons
    np.testing.assert_allclose(person.keypoints, to_image(keypoints, region, SIZE), atol=1e-9)
    np.testing.assert_allclose(person.scores, scores, rtol=1e-4)


def test_batches(predictor, picture):
    """Persons of several images, in whatever batches, are those of one image at a time; the score of a box counts."""
    path, boxes = picture
    scored = np.column_stack([boxes, [0.5, 1.0]])
    expected = predictor.predict(path, scored).persons
    for size in (1, 2, 64):
        first, none, last = predictor.predict([path, path, path], [scored, [], scored[1:]], size)
        assert none.persons == [] and (none.overlay() == cv2.imread(path)).all()
        for person, known in zip_strict([*first.persons, *last.persons], [*expected, expected[1]]):
            np.testing.assert_allclose(person.keypoints, known.keypoints, atol=1e-9)
            assert person.score == pytest.approx(known.score, rel=1e-5)
    assert expected[0].score == pytest.approx(0.5 * float(expected[0].scores.mean()), rel=1e-5)


def test_score_counts_keypoints_above_a_threshold():
    person = Person(np.zeros(4), np.zeros((3, 2)), np.array([0.4, 0.2, 0.8], np.float32), 0.5)
    assert person.score == pytest.approx(0.5 * 0.6)
    assert replace(person, scores=np.array([0.1, -1, 0.2], np.float32)).score == 0


def test_coco_results(predictor, picture):
    path, boxes = picture
    first, _ = predictor.predict(path, boxes).coco(7, file_name="two.png")
    assert list(first) == ["image_id", "file_name", "category_id", "keypoints", "score", "bbox"]
    assert first["bbox"] == [44, 34, 62, 112] and len(first["keypoints"]) == 9
    assert json.loads(json.dumps(first)) == first


def test_overlay_shows_what_was_found(predictor, picture):
    path, boxes = picture
    result = predictor.predict(path, boxes)
    assert (result.overlay() != result.image).any(axis=-1).sum() > 100
    assert (replace(result, threshold=0.95).overlay() == result.image).all()
    result.save(path.replace("two", "out"))
    assert (cv2.imread(path.replace("two", "out")) == result.overlay()).all()
    assert result._repr_png_().startswith(b"\x89PNG")


def test_drawing_leaves_out_what_was_not_found():
    image = np.zeros((40, 40, 3), np.uint8)
    points, links = np.array([[5.0, 5.0], [30.0, 30.0]]), [(0, 1)]
    both = draw(image, [(points, np.array([0.9, 0.9]))], links, 0.3)
    one = draw(image, [(points, np.array([0.9, 0.3]))], links, 0.3)
    assert both[17, 17].any() and both[30, 30].any() and image.sum() == 0
    assert one[5, 5].any() and not one[10:].any()


@pytest.mark.parametrize(
    "boxes, message",
    [
        ([[10, 10, 10, 50]], "a box with an area inside the image of 300 x 200 pixels, got 10, 10, 10, 50"),
        ([[50, 10, 10, 50]], "a box with an area"),
        ([[300, 10, 400, 50]], "a box with an area inside the image of 300 x 200 pixels, got 300, 10, 400, 50"),
        ([[-90, -90, -1, -1]], "a box with an area"),
        ([[0, 0, float("nan"), 9]], "a box with an area .*, got 0, 0, nan, 9"),
        ([[0, 0, float("inf"), 9]], "a box with an area"),
        ([[0, 0, 9, 9, float("nan")]], "scores of boxes that are numbers"),
        ([[0, 0, 9]], "boxes of left, top, right, bottom"),
        ([0, 0, 9, 9], "boxes of left, top, right, bottom"),
        (["a"], "boxes of left, top, right, bottom"),
    ],
)
def test_bad_boxes(boxes, message, predictor, picture):
    with pytest.raises(InputError, match=message):
        predictor.predict(picture[0], boxes)


def test_boxes_of_another_number_of_images(predictor, picture):
    with pytest.raises(InputError, match="expected boxes for 2 images, got 1"):
        predictor.predict([picture[0]] * 2, [[]])


def test_verification(predictor, exported_pose, tmp_path):
    verification = predictor.verify()
    assert verification.passed and str(verification).endswith("100.00% of the keypoints agree")
    folder = shutil.copytree(exported_pose, tmp_path / "model")
    document = yaml.safe_load((folder / "deploy.yaml").read_text())
    for keypoint in document["rtseg"]["golden"]["keypoints"]:
        keypoint[0] += 0.2
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document))
    moved = PosePredictor(str(folder), backend="native").verify()
    assert not moved.passed and moved.agreement < 0.5 and moved.rms_error < 1e-5


@pytest.mark.parametrize(
    "heatmaps, message", [(np.nan, "finite heatmaps"), (None, "heatmaps of 1x3x16x12 .* got 1x3x8x8")]
)
def test_output_of_another_network(heatmaps, message, exported_pose, picture):
    predictor = PosePredictor(exported_pose, backend="native")

    class Broken:
        def run(self, batch):
            return np.zeros((len(batch), 3, 8, 8)) if heatmaps is None else np.full((len(batch), 3, 16, 12), heatmaps)

    predictor.runtime = Broken()
    with pytest.raises(InputError, match=message):
        predictor.predict(picture[0])
