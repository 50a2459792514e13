"""Masks as polygons, run lengths, areas and Detections, against the masks themselves and other libraries."""

import json
import sys
import types

import cv2
import numpy as np
import pytest
from measuring import peak_bytes
from rtseg_inference import InputError, postprocess
from rtseg_inference.coco_file import CocoFile
from rtseg_inference.geometry import Geometry
from rtseg_inference.predictor import Result, Timings
from rtseg_inference.results import class_areas, coco_annotations, detections, polygons, run_lengths

NAMES = ("background", "leaf", "rust", "soil")


@pytest.fixture
def mask():
    """A ring of class 1 with class 2 in its hole, a line of class 2, and single pixels."""
    mask = np.zeros((40, 60), np.uint8)
    cv2.circle(mask, (20, 20), 15, 1, -1)
    cv2.circle(mask, (20, 20), 6, 2, -1)
    cv2.line(mask, (45, 3), (57, 30), 2, 1)
    mask[0, 0] = mask[39, 59] = 1
    return mask


def test_polygons_fill_their_regions(mask):
    drawn = np.full_like(mask, 255)
    for polygon in polygons(mask):
        region = np.zeros_like(mask)
        contours = [part[:, None] for part in (polygon.outline, *polygon.holes)]
        links = [[-1, -1, 1 if polygon.holes else -1, -1]]
        links += [[i + 1 if i < len(polygon.holes) else -1, -1, -1, 0] for i in range(1, len(contours))]
        cv2.drawContours(region, contours, 0, 1, cv2.FILLED, hierarchy=np.array([links], np.int32))
        assert (drawn[region == 1] == 255).all()
        drawn[region == 1] = polygon.class_id
    np.testing.assert_array_equal(drawn, mask)
    ring = next(p for p in polygons(mask) if p.class_id == 1 and p.holes)
    assert len(ring.holes) == 1 and ring.outline.dtype == np.int32


def test_run_lengths_are_those_of_pycocotools(mask):
    coding = pytest.importorskip("pycocotools.mask")
    for ids in (mask, mask * 0, mask[:1, :1], mask[20:21], mask[:, 20:21]):
        codes = run_lengths(ids)
        assert sorted(codes) == np.unique(ids).tolist()
        for class_id, counts in codes.items():
            assert sum(counts) == ids.size
            code = coding.frPyObjects({"size": list(ids.shape), "counts": counts}, *ids.shape)
            np.testing.assert_array_equal(coding.decode(code).astype(bool), ids == class_id)


def test_coco_annotations(mask):
    coding = pytest.importorskip("pycocotools.mask")
    found = coco_annotations(mask, image_id=7, first_id=3)
    assert [a["category_id"] for a in found] == [0, 1, 2] and [a["id"] for a in found] == [3, 4, 5]
    for annotation in json.loads(json.dumps(found)):
        code = coding.frPyObjects(annotation["segmentation"], *mask.shape)
        region = mask == annotation["category_id"]
        assert annotation["area"] == coding.area(code) == region.sum()
        assert annotation["bbox"] == coding.toBbox(code).tolist() and annotation["image_id"] == 7


def test_coco_file(mask, tmp_path):
    """pycocotools opens it, and decodes each mask."""
    coco = pytest.importorskip("pycocotools.coco")
    masks = {"a.jpg": mask, "below/b.jpg": mask[::-1, :30]}
    path = str(tmp_path / "coco.json")
    file = CocoFile(path, NAMES)
    for name, ids in masks.items():
        file.add(name, ids)
    assert not (tmp_path / "coco.json").exists()
    file.close()
    found = coco.COCO(path)
    assert [c["name"] for c in found.loadCats(found.getCatIds())] == list(NAMES)
    assert [image["file_name"] for image in found.loadImgs(found.getImgIds())] == list(masks)
    for image in found.loadImgs(found.getImgIds()):
        ids = masks[image["file_name"]]
        assert (image["height"], image["width"]) == ids.shape
        drawn = np.full(ids.shape, 255)
        for annotation in found.loadAnns(found.getAnnIds(imgIds=[image["id"]])):
            drawn[found.annToMask(annotation).astype(bool)] = annotation["category_id"]
        np.testing.assert_array_equal(drawn, ids)


def test_coco_file_of_a_run_that_fails(mask, tmp_path):
    file = CocoFile(str(tmp_path / "coco.json"), NAMES)
    file.add("a.jpg", mask)
    file.close(RuntimeError("what ended the run"))
    assert list(tmp_path.iterdir()) == []


def test_coco_file_on_a_full_disk(full_disk):
    file = CocoFile(str(full_disk / "coco.json"), NAMES)
    noise = np.random.RandomState(0).randint(0, 4, (200, 300)).astype(np.uint8)
    with pytest.raises(InputError, match=r"cannot write '.*coco.json' \(No space left on device\)") as error:
        for _ in range(20):
            file.add("a.jpg", noise)
        file.close()
    file.close(error.value)
    assert list(full_disk.iterdir()) == []


def test_class_areas(mask):
    confidence = np.random.default_rng(0).random(mask.shape, np.float32)
    found = json.loads(json.dumps(class_areas(mask, NAMES, confidence)))
    assert (found["height"], found["width"]) == mask.shape
    assert [c["name"] for c in found["classes"]] == ["background", "leaf", "rust"]
    leaf = found["classes"][1]
    assert leaf["pixels"] == (mask == 1).sum() and leaf["share"] == pytest.approx((mask == 1).mean())
    assert leaf["score"] == pytest.approx(confidence[mask == 1].mean(), rel=1e-5)
    assert class_areas(mask, NAMES, None)["classes"][0]["score"] is None


def test_areas_of_a_large_mask_take_little_memory():
    mask = np.random.default_rng(0).integers(0, 4, (3001, 1000), np.uint8)
    confidence = np.full(mask.shape, 0.25, np.float32)
    found, peak = peak_bytes(lambda: class_areas(mask, NAMES, confidence))
    assert [c["pixels"] for c in found["classes"]] == np.bincount(mask.ravel()).tolist()
    assert {c["score"] for c in found["classes"]} == {0.25} and peak < 4 * mask.size


@pytest.mark.parametrize("op", ["logits", "softmax"])
def test_confidence_is_the_largest_score(op):
    planes = np.random.RandomState(0).randn(5, 9, 13).astype(np.float32)
    sizes = Geometry((65, 97), (70, 100), (72, 104))
    restored = np.stack([postprocess.restore(plane, sizes) for plane in planes])
    expected = restored.max(axis=0) if op == "softmax" else postprocess.softmax(restored).max(axis=0)
    np.testing.assert_allclose(postprocess.confidence(planes, sizes, op == "softmax"), expected, rtol=1e-6)


def test_detections(mask, monkeypatch):
    def boxes(masks):
        return np.array([(*np.argwhere(m.T).min(0), *np.argwhere(m.T).max(0)) for m in masks])

    stand_in = types.SimpleNamespace(Detections=lambda **fields: fields, mask_to_xyxy=boxes)
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    found = detections(mask, NAMES)
    assert found["class_id"].tolist() == [0, 1, 2] and found["data"]["class_name"].tolist() == list(NAMES[:3])
    np.testing.assert_array_equal(found["mask"][2], mask == 2)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        detections(mask, NAMES)


def test_detections_of_supervision(mask):
    supervision = pytest.importorskip("supervision")
    found = detections(mask, NAMES)
    assert isinstance(found, supervision.Detections) and found.class_id.tolist() == [0, 1, 2]
    assert found.xyxy[0].tolist() == [0, 0, 59, 39] and found.area.tolist() == [(mask == k).sum() for k in range(3)]
    assert found["class_name"].tolist() == list(NAMES[:3])


def test_results_give_these_forms(mask):
    contract = types.SimpleNamespace(classes=NAMES, output=types.SimpleNamespace(op="argmax"))
    result = Result(mask, np.zeros((*mask.shape, 3), np.uint8), Timings(1, 1, 1), contract, mask)
    assert len(result.polygons()) == len(polygons(mask))
    assert result.areas() == class_areas(mask, NAMES, None)
    assert result.coco(3) == coco_annotations(mask, 3)
