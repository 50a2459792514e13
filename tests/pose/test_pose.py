"""Geometry, targets, decoding and PCK against tensors that the published code made, and against plain loops."""

import pathlib

import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference.pose import average_flipped, crop, decode, matrix, region_of, to_image

from paddle_rtseg.errors import InputError
from paddle_rtseg.pose import SKELETONS, Skeleton, targets
from paddle_rtseg.pose.augmentation import half_body, mirrored
from paddle_rtseg.pose.metrics import pck
from paddle_rtseg.pose.skeletons import skeleton

CODEC = dict(np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "pose_codec.npz"))
SIZES = {"256x192": (192, 256), "384x288": (288, 384), "640x480": (480, 640), "192x144": (144, 192)}


@pytest.mark.parametrize("name", SIZES)
def test_regions_and_matrices(name):
    size = SIZES[name]
    for i, (box, degrees) in enumerate(zip_strict(CODEC["affine/boxes_xyxy"], CODEC["affine/rotation_degrees"])):
        region = region_of(box, size)
        np.testing.assert_allclose(region.center, CODEC[f"affine/{name}/center"][i], rtol=1e-6)
        np.testing.assert_allclose(region.scale, CODEC[f"affine/{name}/scale"][i], rtol=1e-6)
        for key, angle in (("matrix", 0), ("matrix_rotated", degrees)):
            # OpenCV computes them from float32 points, up to 5e-4 off.
            np.testing.assert_allclose(
                matrix(region, size, angle), CODEC[f"affine/{name}/{key}"][i], atol=1e-3, rtol=1e-4
            )


def test_crops():
    for i, box in enumerate(CODEC["warp/boxes_xyxy"]):
        expected = CODEC[f"warp/{i}/image"].astype(int)
        size = expected.shape[1::-1]
        turned = matrix(region_of(box, size), size, float(CODEC[f"warp/{i}/rotation_degrees"]))
        found = crop(CODEC["warp/image_bgr"], turned, size).astype(int)
        difference = abs(found - expected)  # versions of OpenCV differ; the image is noise
        assert difference.max() <= 4 and difference.mean() < 0.3


def test_back_to_the_image_inverts_the_matrix():
    size, region = (144, 192), region_of((10, 20, 110, 220), (144, 192))
    points = np.random.default_rng(0).uniform(0, 140, (7, 2))
    there = np.column_stack([to_image(points, region, size), np.ones(7)])
    np.testing.assert_allclose(there @ matrix(region, size).T, points, atol=1e-9)


def test_half_of_a_body():
    """The region is around the mean of the joints, and 1.5 times their extent."""
    for half in ("upper", "lower"):
        region = half_body(CODEC["fliplr/keypoints"][0][CODEC[f"halfbody/{half}/ids"]])
        np.testing.assert_allclose(region.center, CODEC[f"halfbody/{half}/center"], rtol=1e-5)
        np.testing.assert_allclose(region.scale, CODEC[f"halfbody/{half}/scale"], rtol=1e-5)


def test_mirrored_person():
    keypoints, visible, box = mirrored(
        *(CODEC[f"fliplr/{name}"][0] for name in ("keypoints", "visible", "bbox_xyxy")),
        int(CODEC["fliplr/width"]),
        SKELETONS["coco"].flip_indices,
    )
    np.testing.assert_allclose(keypoints, CODEC["fliplr/keypoints_flipped"][0], atol=1e-4)
    np.testing.assert_array_equal(visible, CODEC["fliplr/visible_flipped"][0])
    np.testing.assert_allclose(box, CODEC["fliplr/bbox_flipped"][0])


@pytest.mark.parametrize("case", "abc")
def test_targets(case):
    prefix = f"target/{case}/"
    size, sigma = tuple(CODEC[prefix + "input_size_wh"]), float(CODEC[prefix + "sigma"])
    heatmaps, weights = targets(CODEC[prefix + "keypoints"][0], CODEC[prefix + "visible"][0], size, sigma)
    np.testing.assert_array_equal(weights, CODEC[prefix + "weights"][0])
    np.testing.assert_allclose(heatmaps, CODEC[prefix + "heatmaps"], atol=1e-6)


@pytest.mark.parametrize("rule, fixture, tolerance", [("quarter", "quarter", 1e-5), ("dark", "dark11", 2e-3)])
def test_decoding(rule, fixture, tolerance):
    heatmaps = CODEC["decode/heatmaps"].astype(np.float32)
    keypoints, scores = decode(heatmaps, rule)
    np.testing.assert_allclose(scores, CODEC[f"decode/{fixture}/scores"][0], rtol=1e-6)
    np.testing.assert_allclose(keypoints, CODEC[f"decode/{fixture}/keypoints"][0], atol=tolerance)


def test_decoding_without_a_shift():
    keypoints, scores = decode(CODEC["decode/heatmaps"].astype(np.float32), "none")
    np.testing.assert_array_equal(keypoints, 4 * CODEC["decode/argmax/locations"])
    np.testing.assert_allclose(scores, CODEC["decode/argmax/scores"])


def test_keypoints_in_the_image():
    size = tuple(CODEC["decode/input_size_wh"])
    keypoints = CODEC["decode/quarter/keypoints"][0]
    for box, expected in zip_strict(CODEC["affine/boxes_xyxy"], CODEC["decode/quarter/keypoints_in_image"]):
        np.testing.assert_allclose(to_image(keypoints, region_of(box, size), size), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shift", [0, 1])
def test_flip_test(shift):
    plain, mirrored = (CODEC[f"decode/{name}"].astype(np.float32) for name in ("heatmaps", "heatmaps_of_flipped_image"))
    mean = average_flipped(plain, mirrored, SKELETONS["coco"].flip_indices, bool(shift))
    expected = CODEC[f"decode/flip/shift{shift}/heatmaps_average"]
    np.testing.assert_allclose(mean[: len(expected)], expected, atol=1e-6)
    keypoints, scores = decode(mean)
    np.testing.assert_allclose(keypoints, CODEC[f"decode/flip/shift{shift}/keypoints"][0], atol=1e-5)
    np.testing.assert_allclose(scores, CODEC[f"decode/flip/shift{shift}/scores"][0], rtol=1e-5)


@pytest.mark.parametrize("threshold", ["0.05", "0.1", "0.2"])
def test_pck(threshold):
    arguments = [CODEC[f"pck/{name}"] for name in ("pred", "gt", "visible", "boxes_xyxy")]
    shares, mean = pck(*arguments, float(threshold))
    np.testing.assert_allclose(np.nan_to_num(shares, nan=-1), CODEC[f"pck/{threshold}/per_keypoint"], atol=1e-9)
    assert mean == pytest.approx(float(CODEC[f"pck/{threshold}/mean"]), abs=1e-9)
    if threshold == "0.1":
        assert abs(mean - CODEC["pck/micro_mean_0.1"][0]) > 1e-3  # the mean over keypoints, not over points


@pytest.mark.parametrize("name", ["coco", "jbd"])
def test_skeletons(name):
    known = SKELETONS[name]
    found = {"names": known.names, "flip_indices": known.flip_indices, "skeleton": known.links, "sigmas": known.sigmas}
    for key, value in found.items():
        expected = CODEC[f"meta/{name}/{key}"]
        np.testing.assert_array_equal(np.array(value, expected.dtype), expected)
    assert list(known.upper) == CODEC[f"meta/{name}/upper_ids"].tolist()
    assert list(known.lower) == CODEC[f"meta/{name}/lower_ids"].tolist()


def test_own_skeletons(tmp_path):
    (tmp_path / "hand.yml").write_text(
        "names: [wrist, left, right]\nflip_pairs: [[left, right]]\nlinks: [[wrist, 1], [0, right]]\n"
        "sigmas: [0.1, 0.2, 0.2]\n"
    )
    hand = skeleton(str(tmp_path / "hand.yml"))
    assert hand == Skeleton(("wrist", "left", "right"), ((1, 2),), ((0, 1), (0, 2)), (), (0.1, 0.2, 0.2))
    assert hand.flip_indices == [0, 2, 1] and hand.lower == (0, 1, 2)
    assert skeleton("lsp").flip_indices == [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13]


@pytest.mark.parametrize(
    "parts, match",
    [
        ("cocoo", "did you mean 'coco'"),
        (3, "expected a skeleton of coco"),
        ({"name": ["a"]}, "no key 'name'; did you mean 'names'"),
        ({}, "the names of a skeleton's keypoints"),
        ({"names": []}, "expected 1 to 1000 keypoints"),
        ({"names": ["a", "a"]}, "of different names"),
        ({"names": ["a", "b"], "flip_pairs": [["a"]]}, "flip_pairs as a list of pairs"),
        ({"names": ["a", "b"], "flip_pairs": [["a", "c"]]}, "the name or the number of a keypoint, got 'c'"),
        ({"names": ["a", "b"], "flip_pairs": [["a", "b"], ["b", "a"]]}, "in one flip pair at most"),
        ({"names": ["a", "b"], "links": [[0, 2]]}, "keypoints from 0 to 1 in a skeleton, got 2"),
        ({"names": ["a", "b"], "sigmas": [0.1]}, "expected 2 sigmas"),
        ({"names": ["a", "b"], "sigmas": [0.1, -1]}, "expected 2 sigmas above 0"),
        ({"names": ["a", "b"], "sigmas": "x"}, "sigmas as a list of numbers"),
    ],
)
def test_bad_skeletons(parts, match):
    with pytest.raises(InputError, match=match):
        skeleton(parts)
