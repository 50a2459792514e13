"""Masks as polygons, run lengths, areas and Detections, against the masks themselves and other libraries."""

import json
import sys
import types

import cv2
import numpy as np
import pytest
from rtseg_inference import InputError
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
    for region in (mask == 0, mask == 1, mask == 9, mask < 9):
        counts = run_lengths(region)
        assert sum(counts) == mask.size
        code = coding.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)
        np.testing.assert_array_equal(coding.decode(code).astype(bool), region)


def test_coco_annotations(mask):
    coding = pytest.importorskip("pycocotools.mask")
    found = coco_annotations(mask, image_id=7, first_id=3)
    assert [a["category_id"] for a in found] == [0, 1, 2] and [a["id"] for a in found] == [3, 4, 5]
    for annotation in json.loads(json.dumps(found)):
        code = coding.frPyObjects(annotation["segmentation"], *mask.shape)
        region = mask == annotation["category_id"]
        assert annotation["area"] == coding.area(code) == region.sum()
        assert annotation["bbox"] == coding.toBbox(code).tolist() and annotation["image_id"] == 7


def test_class_areas(mask):
    scores = np.random.default_rng(0).random((4, *mask.shape), np.float32)
    found = json.loads(json.dumps(class_areas(mask, NAMES, scores)))
    assert (found["height"], found["width"]) == mask.shape
    assert [c["name"] for c in found["classes"]] == ["background", "leaf", "rust"]
    leaf = found["classes"][1]
    assert leaf["pixels"] == (mask == 1).sum() and leaf["share"] == pytest.approx((mask == 1).mean())
    assert leaf["score"] == pytest.approx(scores[1][mask == 1].mean(), rel=1e-5)
    assert class_areas(mask, NAMES, None)["classes"][0]["score"] is None


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


def test_results_give_these_forms(mask):
    contract = types.SimpleNamespace(classes=NAMES, output=types.SimpleNamespace(op="argmax"))
    result = Result(mask, np.zeros((*mask.shape, 3), np.uint8), Timings(1, 1, 1), contract, mask)
    assert len(result.polygons()) == len(polygons(mask))
    assert result.areas() == class_areas(mask, NAMES, None)
    assert result.coco(3) == coco_annotations(mask, 3)
