"""COCO's average precision, scores and suppression, against what the published code gave for the same poses."""

import pathlib

import numpy as np
import pytest
from comparing import zip_strict

from paddle_rtseg.pose import SKELETONS
from paddle_rtseg.pose.metrics import average_precision, oks, oks_nms, pose_scores

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


def chosen(mode):
    """Indices of the predictions that count, with their scores."""
    scores = DATA["dt/bbox_score"].astype(np.float64)
    if mode != "bbox_score":
        scores = pose_scores(scores, DATA["dt/scores"])
    kept = []
    for image in np.unique(DATA["dt/image_id"]):
        those = np.flatnonzero(DATA["dt/image_id"] == image)
        if mode == "reference":
            those = those[oks_nms(DATA["dt/keypoints"][those], scores[those], DATA["dt/area"][those], SIGMAS)]
        kept += those.tolist()
    return kept, scores


@pytest.mark.parametrize("mode", ["reference", "no_nms", "bbox_score"])
def test_average_precision(mode):
    pytest.importorskip("pycocotools")
    kept, scores = chosen(mode)
    found = sorted((int(DATA["dt/image_id"][i]), float(scores[i])) for i in kept)
    expected = sorted(zip_strict(DATA[f"ap/{mode}/kept_image_id"].tolist(), DATA[f"ap/{mode}/kept_score"].tolist()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    results = [
        {
            "image_id": int(DATA["dt/image_id"][i]),
            "category_id": 1,
            "keypoints": np.column_stack([DATA["dt/keypoints"][i], DATA["dt/scores"][i]]).ravel().tolist(),
            "score": float(scores[i]),
            "bbox": np.append(
                DATA["dt/bbox_xyxy"][i][:2], np.diff(DATA["dt/bbox_xyxy"][i].reshape(2, 2), axis=0)
            ).tolist(),
        }
        for i in kept
    ]
    figures = average_precision(truth(), results, SIGMAS)
    assert list(figures) == DATA[f"ap/{mode}/names"].tolist()
    np.testing.assert_allclose(list(figures.values()), DATA[f"ap/{mode}/pycocotools"], atol=1e-6)
    assert average_precision(truth(), [], SIGMAS)["AP"] == 0


def test_oks_of_a_pose_with_itself_and_with_one_far_away():
    pose = DATA["dt/keypoints"][0].astype(np.float64)
    near = pose + 2.0
    values = oks(pose, np.stack([pose, near, pose + 1e4]), 5000.0, np.full(3, 5000.0), SIGMAS)
    by_hand = np.mean([np.exp(-8 / (2 * 5000 * (2 * sigma) ** 2)) for sigma in SIGMAS])
    np.testing.assert_allclose(values, [1, by_hand, 0], atol=1e-6)
