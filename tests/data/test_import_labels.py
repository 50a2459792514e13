"""Labels of other forms: the same leaves as polygons, run lengths, colours and black and white give the same ids."""

import base64
import json
import os

import cv2
import numpy as np
import pytest
import yaml
from leaves import NAMES, draw

from paddle_rtseg.data.dataset_file import read_dataset_file
from paddle_rtseg.data.import_labels import import_labels, open_source
from paddle_rtseg.errors import InputError

POLYGONS = {  # by class, drawn in this order
    "leaf": [[10.0, 10.0], [90.0, 12.0], [80.0, 70.0], [15.0, 60.0]],
    "rust": [[30.0, 30.0], [50.0, 30.0], [40.0, 50.0]],
}


@pytest.fixture
def images(tmp_path):
    """Three images of 96 x 128 pixels."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c d"):
        cv2.imwrite(str(folder / f"{name}.png"), draw(rng)[0])
    return folder


def expected():
    label = np.zeros((96, 128), np.uint8)
    for class_id, points in enumerate(POLYGONS.values(), start=1):
        cv2.fillPoly(label, [np.array(points, np.int32)], class_id)
    return label


def labelme(folder, name, shapes, size=(96, 128)):
    shapes = [{"label": label, "shape_type": kind, "points": points, **more} for label, kind, points, more in shapes]
    content = {"shapes": shapes, "imageHeight": size[0], "imageWidth": size[1]}
    (folder / f"{name}.json").write_text(json.dumps(content))


def polygons():
    return [(label, "polygon", points, {}) for label, points in POLYGONS.items()]


def run(tmp_path, *arguments, **options):
    source, colours = open_source(*arguments)
    outcome = import_labels(source, str(tmp_path / "out"), colours=colours, **options)
    return outcome, read_dataset_file(outcome.dataset_file)


def label_of(outcome, name):
    folder = os.path.dirname(outcome.dataset_file)
    return cv2.imread(os.path.join(folder, "labels", f"{name}.png"), cv2.IMREAD_UNCHANGED)


def test_labelme(images, tmp_path):
    for name in ("a", "c d"):
        labelme(images, name, polygons())
    labelme(images, "b", [("rust", "rectangle", [[0, 0], [9, 9]], {}), ("leaf", "circle", [[60, 40], [60, 60]], {})])
    outcome, found = run(tmp_path, "labelme", str(images))
    assert found.names == ("background", "leaf", "rust") and (outcome.train, outcome.val) == (2, 1)
    np.testing.assert_array_equal(label_of(outcome, "a"), expected())
    np.testing.assert_array_equal(label_of(outcome, "c d"), expected())
    circle = label_of(outcome, "b") == 1
    assert abs(circle.sum() - np.pi * 20**2) < 60 and (label_of(outcome, "b")[:10, :10] == 2).all()
    assert outcome.remarks == {"a shape covers part of an earlier one of another class": 2} and not outcome.defects
    assert f"1 leaf {outcome.pixels[1] / outcome.pixels.sum():.3%}" in " ".join(str(outcome).split())
    assert found.separator == "\t"  # one of the names has a space
    from paddleseg.datasets import Dataset

    pairs = []
    for mode in ("train", "val"):
        arguments = {key: value for key, value in found.as_config(mode).items() if key != "type"}
        pairs += Dataset(transforms=[], **arguments).file_list
    assert sorted(os.path.basename(image) for image, _ in pairs) == ["a.png", "b.png", "c d.png"]
    assert all(os.path.isfile(file) for pair in pairs for file in pair)


def test_labelme_mask(images, tmp_path):
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10:20] = 255
    text = base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()
    for name in ("a", "b"):
        labelme(images, name, [("leaf", "mask", [[40, 50], [69, 69]], {"mask": text})])
    outcome, _ = run(tmp_path, "labelme", str(images))
    label = label_of(outcome, "a")
    assert label.sum() == 100 and (label[55:65, 50:60] == 1).all()
    assert outcome.defects == [f"{images}/c d.png: it has no JSON file"]


@pytest.mark.parametrize("corners", [[[40, 50], [70, 69]], [[-1, 0], [28, 19]], [[100, 50], [129, 69]], [[5, 5]]])
def test_labelme_mask_elsewhere(corners, images, tmp_path):
    text = base64.b64encode(cv2.imencode(".png", np.ones((20, 30), np.uint8))[1].tobytes()).decode()
    labelme(images, "a", [("leaf", "mask", corners, {"mask": text})])
    drawn = next(iter(open_source("labelme", str(images))[0]))
    assert "a PNG mask and its two corners inside the image" in drawn.defect


@pytest.mark.parametrize("text", ["", "!", None, 3, base64.b64encode(b"\x89PNG" + bytes(30)).decode()])
def test_labelme_mask_that_is_none(text, images, tmp_path):
    labelme(images, "a", [("leaf", "mask", [[0, 0], [9, 9]], {"mask": text})])
    assert "a PNG mask" in next(iter(open_source("labelme", str(images))[0])).defect


def coco(tmp_path, annotations):
    content = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(("a", "b"))],
        "categories": [{"id": 7, "name": "leaf"}, {"id": 9, "name": "rust"}],
        "annotations": annotations,
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_coco(images, tmp_path):
    coding = pytest.importorskip("pycocotools.mask")
    masks = [(expected() > 0).astype(np.uint8), (expected() == 2).astype(np.uint8)]
    code = coding.encode(np.asfortranarray(masks[1]))
    runs = np.diff(np.flatnonzero(np.diff(masks[1].T.ravel(), prepend=2, append=2)))
    counts = [int(n) for n in runs] if masks[1].T.ravel()[0] == 0 else [0, *(int(n) for n in runs)]
    outline = [[number for point in POLYGONS["leaf"] for number in point]]
    small = {"size": [96, 128], "counts": code["counts"].decode()}
    annotations = [
        {"image_id": 0, "category_id": 9, "segmentation": small},  # the smaller one covers the larger
        {"image_id": 0, "category_id": 7, "segmentation": outline},
        {"image_id": 1, "category_id": 9, "segmentation": {"size": [96, 128], "counts": counts}},
    ]
    outcome, found = run(tmp_path, "coco", coco(tmp_path, annotations), str(images))
    assert found.names == ("background", "leaf", "rust") and not outcome.defects
    np.testing.assert_array_equal(label_of(outcome, "a"), expected())
    np.testing.assert_array_equal(label_of(outcome, "b"), masks[1] * 2)


BAD_COCO = {
    "damaged code": ({"size": [96, 128], "counts": "12345"}, "got a damaged one"),
    "long code": ({"size": [96, 128], "counts": "o" * 1000}, "got a damaged one"),
    "another size": ({"size": [9, 9], "counts": [81]}, "a run-length code of 96 x 128"),
    "run lengths": ({"size": [96, 128], "counts": [5]}, "run lengths that sum to 12288"),
    "negative": ({"size": [96, 128], "counts": [-1, 12289]}, "run lengths that sum to 12288"),
    "odd": ([[1, 2, 3]], "polygons as x, y, x, y"),
    "not finite": ([[1, 2, 3, float("inf"), 4, 5]], "points of two numbers"),
    "text": ("polygon", "a polygon or a run-length code"),
}


@pytest.mark.parametrize("segmentation, match", BAD_COCO.values(), ids=BAD_COCO)
def test_bad_coco_is_left_out(segmentation, match, images, tmp_path):
    pytest.importorskip("pycocotools.mask")
    good = [[10, 10, 50, 10, 50, 50]]
    bad = [{"image_id": 0, "category_id": 7, "segmentation": s} for s in (good, segmentation)]
    source, _ = open_source("coco", coco(tmp_path, bad), str(images))
    first, second = source
    assert match in first.defect and first.label is None
    assert second.label is not None and second.remarks == ["no annotation: all background"]


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "", 3])
def test_coco_stays_in_the_folder(name, images, tmp_path):
    pytest.importorskip("pycocotools.mask")
    path = tmp_path / "coco.json"
    content = {"images": [{"id": 0, "file_name": name}], "categories": [{"id": 1, "name": "leaf"}], "annotations": []}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="file names in the folder of images"):
        open_source("coco", str(path), str(images))


@pytest.mark.parametrize("form", ["colours", "binary"])
def test_masks(form, images, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    colours = np.array([[0, 0, 0], [255, 255, 255]] if form == "binary" else [[9, 9, 9], [0, 255, 0], [200, 0, 1]])
    label = np.minimum(expected(), len(colours) - 1)
    for name in ("a", "b", "c d"):
        cv2.imwrite(str(masks / f"{name}.png"), colours[label][..., ::-1].astype(np.uint8))
    smoothed = cv2.GaussianBlur(colours[label][..., ::-1].astype(np.uint8), (5, 5), 0)
    cv2.imwrite(str(masks / "c d.png"), smoothed)
    data = tmp_path / "colours.yml"
    for mode in ("train", "val"):
        (tmp_path / f"{mode}.txt").write_text("")
    data.write_text(
        yaml.safe_dump({"train": "train.txt", "val": "val.txt", "names": list(NAMES), "colors": colours.tolist()})
    )
    outcome, found = run(
        tmp_path, form, str(masks), str(images), None, str(data) if form == "colours" else None, val=0.5
    )
    np.testing.assert_array_equal(label_of(outcome, "a"), label)
    assert found.names == (NAMES if form == "colours" else ("background", "object"))
    assert found.colors is None if form == "binary" else found.colors.tolist() == colours.tolist()
    assert len(outcome.defects) == 1 and "save the mask without smoothing" in outcome.defects[0]


def test_shapes_that_do_not_fit_are_named(images, tmp_path):
    labelme(
        images,
        "a",
        [
            ("leaf", "polygon", [[200, 200], [220, 200], [220, 220]], {}),
            ("leaf", "polygon", [[5, 5], [6, 6]], {}),
            ("leaf", "polygon", [[100, 50], [160, 50], [160, 80], [100, 80]], {}),
        ],
    )
    labelme(images, "b", [("leaf", "line", [[5, 5], [6, 6]], {})])
    labelme(images, "c d", polygons(), size=(48, 64))
    first, second, third = open_source("labelme", str(images))[0]
    assert first.remarks == [
        "a polygon outside the image was left out",
        "an empty polygon was left out",
        "a polygon that leaves the image was cut off",
    ]
    assert "got 'line' of 2 points; draw it as a polygon" in second.defect
    assert "to be for an image of 128 x 96, got 64 x 48" in third.defect


BAD_JSON = {
    "cut short": '{"shapes": [',
    "list": "[1]",
    "no shapes": "{}",
    "no label": '{"shapes": [{"points": []}]}',
    "points": '{"shapes": [{"label": "leaf", "points": "x"}]}',
    "deep": "[" * 100000,
    "not a shape": '{"shapes": [3]}',
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_bad_labelme_files_are_left_out(content, images, tmp_path):
    labelme(images, "a", polygons())
    labelme(images, "c d", polygons())
    (images / "b.json").write_text(content)
    outcome, _ = run(tmp_path, "labelme", str(images))
    assert len(outcome.defects) == 1 and "b.json" in outcome.defects[0] and "\n" not in outcome.defects[0]
    assert outcome.train + outcome.val == 2


def test_names_that_disagree(images):
    labelme(images, "a", polygons())
    drawn = next(iter(open_source("labelme", str(images), None, ["soil", "leaf"])[0]))
    assert "expected a label of soil, leaf in" in drawn.defect and "got 'rust'; add or rename it" in drawn.defect


@pytest.mark.parametrize(
    "arguments, match",
    [
        (("labelme", "IMAGES"), "a JSON file of Labelme in "),
        (("labelme", "IMAGES", None, None, None, "_mask"), "expected --suffix and --nearest with masks only"),
        (("labelme", "IMAGES", None, None, "x.yml"), "expected --data with --format colours only"),
        (("coco", "x.json"), "expected --images FOLDER with --format coco"),
        (("binary", "IMAGES", "IMAGES", ["a"]), "expected two --names"),
        (("colours", "IMAGES", "IMAGES"), "expected --data FILE"),
    ],
)
def test_settings_that_do_not_go_together(arguments, match, images):
    with pytest.raises(InputError, match=match):
        open_source(*(str(images) if argument == "IMAGES" else argument for argument in arguments))


def test_a_folder_that_was_imported_already(images, tmp_path):
    for name in ("a", "b"):
        labelme(images, name, polygons())
    outcome, _ = run(tmp_path, "labelme", str(images))
    before = os.path.getmtime(outcome.dataset_file)
    with pytest.raises(InputError, match=r"expected a folder without dataset\.yml"):
        run(tmp_path, "labelme", str(images))
    assert os.path.getmtime(outcome.dataset_file) == before


def test_one_pair_is_not_enough(images, tmp_path):
    labelme(images, "a", polygons())
    with pytest.raises(
        InputError, match="expected at least two images with labels, got 1; the first that was left out"
    ):
        run(tmp_path, "labelme", str(images))
