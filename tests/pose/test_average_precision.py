"""COCO's average precision, scores and suppression, against what the published code gave for the same poses."""

import json
import pathlib

import numpy as np
import pytest
from comparing import zip_strict

from paddle_rtseg.data.keypoints import CocoKeypoints
from paddle_rtseg.pose import SKELETONS
from paddle_rtseg.pose.metrics import average_precision, oks, oks_nms, pose_scores
from paddle_rtseg.training import poses

DATA = dict(np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "pose_coco_eval.npz"))
SIGMAS = np.array(SKELETONS["coco"].sigmas)


def truth():
    images = [
        {"id": int(i), "width": int(w), "height": int(h)}
        for i, (w, h) in zip_strict(DATA["images/id"], DATA["images/width_height"])
    ]
    annotations = [
        {
            "id": int(DATA["gt/id"][i]),
            "image_id": int(DATA["gt/image_id"][i]),
            "category_id": 1,
            "bbox": DATA["gt/bbox_xywh"][i].tolist(),
            "area": float(DATA["gt/area"][i]),
            "iscrowd": int(DATA["gt/iscrowd"][i]),
            "num_keypoints": int(DATA["gt/num_keypoints"][i]),
            "keypoints": DATA["gt/keypoints"][i].ravel().tolist(),
        }
        for i in range(len(DATA["gt/id"]))
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def chosen(mode, those=None):
    """Indices of the predictions that count, of all or of ``those``, and the scores of all."""
    candidates = np.arange(len(DATA["dt/image_id"])) if those is None else np.array(those)
    scores = DATA["dt/bbox_score"].astype(np.float64)
    if mode != "bbox_score":
        scores = pose_scores(scores, DATA["dt/scores"])
    kept = []
    for image in np.unique(DATA["dt/image_id"]):
        those = candidates[DATA["dt/image_id"][candidates] == image]
        if mode == "reference":
            those = those[oks_nms(DATA["dt/keypoints"][those], scores[those], DATA["dt/area"][those], SIGMAS)]
        kept += those.tolist()
    return kept, scores


def result(i, scores):
    left, top, right, bottom = DATA["dt/bbox_xyxy"][i].tolist()
    return {
        "image_id": int(DATA["dt/image_id"][i]),
        "category_id": 1,
        "keypoints": np.column_stack([DATA["dt/keypoints"][i], DATA["dt/scores"][i]]).ravel().tolist(),
        "score": float(scores[i]),
        "bbox": [left, top, right - left, bottom - top],
    }


@pytest.mark.parametrize("mode", ["reference", "no_nms", "bbox_score"])
def test_average_precision(mode):
    pytest.importorskip("pycocotools")
    kept, scores = chosen(mode)
    found = sorted((int(DATA["dt/image_id"][i]), float(scores[i])) for i in kept)
    expected = sorted(zip_strict(DATA[f"ap/{mode}/kept_image_id"].tolist(), DATA[f"ap/{mode}/kept_score"].tolist()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    results = [result(i, scores) for i in kept]
    figures = average_precision(truth(), results, SIGMAS)
    assert list(figures) == DATA[f"ap/{mode}/names"].tolist()
    np.testing.assert_allclose(list(figures.values()), DATA[f"ap/{mode}/pycocotools"], atol=1e-6)
    assert average_precision(truth(), [], SIGMAS)["AP"] == 0


def test_average_precision_of_a_dataset(tmp_path):
    """From the file of annotations and one pose for each person, as the published code gives it for these."""
    pytest.importorskip("pycocotools")
    content = truth()
    names = {image["id"]: f"{image['id']}.jpg" for image in content["images"]}
    for image in content["images"]:
        image["file_name"] = names[image["id"]]
    (tmp_path / "val.json").write_text(json.dumps(content))
    dataset = CocoKeypoints(str(tmp_path / "val.json"), str(tmp_path), "val", "coco", (288, 384))
    of_person = []
    for person in dataset.persons:
        near = np.abs(DATA["dt/bbox_xyxy"] - person.box).max(axis=1) < 0.01
        of_person.append(int(np.flatnonzero(near & (DATA["dt/image_id"] == person.image_id))[0]))
    found = poses.Found(DATA["dt/keypoints"][of_person].astype(np.float64), DATA["dt/scores"][of_person])
    figures = poses.score(found, dataset).average_precision
    kept, scores = chosen("reference", of_person)
    results = [result(i, scores) for i in kept]
    np.testing.assert_allclose(
        list(figures.values()), list(average_precision(truth(), results, SIGMAS).values()), atol=1e-6
    )
    assert 0.5 < figures["AP"] < 0.9


def test_oks_of_a_pose_with_itself_and_with_one_far_away():
    pose = DATA["dt/keypoints"][0].astype(np.float64)
    near = pose + 2.0
    values = oks(pose, np.stack([pose, near, pose + 1e4]), 5000.0, np.full(3, 5000.0), SIGMAS)
    by_hand = np.mean([np.exp(-8 / (2 * 5000 * (2 * sigma) ** 2)) for sigma in SIGMAS])
    np.testing.assert_allclose(values, [1, by_hand, 0], atol=1e-6)
