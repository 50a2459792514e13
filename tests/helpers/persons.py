"""Persons that are drawn as dots of different colours, one for each keypoint, with COCO's annotations."""

import json
import os
from typing import Any, Dict, Sequence, Tuple

import cv2
import numpy as np
from comparing import zip_strict

#: Three keypoints in colours that an oracle finds again: blue, green and red in OpenCV's order.
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))
SKELETON = {"names": ["red", "green", "blue"], "flip_pairs": [], "links": [["red", "green"]], "sigmas": [0.1, 0.1, 0.1]}


def colours(count: int) -> Sequence[Tuple[int, int, int]]:
    """``COLOURS``, and further ones."""
    rng = np.random.default_rng(1)
    more = rng.integers(80, 255, (max(0, count - len(COLOURS)), 3))
    return [*COLOURS, *(tuple(map(int, colour)) for colour in more)][:count]


def write(folder: Any, keypoints: int = 3, train: int = 32, val: int = 8, size: Tuple[int, int] = (48, 64)) -> str:
    """Write images of (width, height) and ``train.json`` and ``val.json``; return the folder."""
    folder, rng = str(folder), np.random.default_rng(0)
    for mode, count in (("train", train), ("val", val)):
        images, annotations = [], []
        for i in range(count):
            image = rng.integers(0, 40, (size[1], size[0], 3), np.uint8)
            points = rng.integers((8, 8), (size[0] - 8, size[1] - 8), (keypoints, 2))
            for point, colour in zip_strict(points, colours(keypoints)):
                cv2.circle(image, tuple(map(int, point)), 4, colour, -1)
            cv2.imwrite(os.path.join(folder, f"{mode}{i}.png"), image)
            images.append({"id": i, "file_name": f"{mode}{i}.png", "width": size[0], "height": size[1]})
            box = [5, 7, size[0] - 10, size[1] - 14]
            flat = [int(n) for point in points for n in (*point, 2)]
            annotations.append({"id": i, "image_id": i, "bbox": box, "keypoints": flat})
        with open(os.path.join(folder, f"{mode}.json"), "w") as file:
            json.dump({"images": images, "annotations": annotations}, file)
    return folder


def config(folder: Any, **parts: Any) -> Dict[str, Any]:
    """A complete config: a tiny SegFormer++ for the persons in the folder. ``parts`` replace top-level keys."""
    dataset = {"type": "CocoKeypoints", "images": str(folder), "skeleton": SKELETON, "input_size": [48, 64], "sigma": 1}
    backbone = {"type": "MiT_B0", "embed_dims": [8, 16, 40, 64], "depths": [1, 1, 1, 1]}
    return {
        "batch_size": 8,
        "iters": 4,
        "model": {"type": "SegFormerPPPose", "num_keypoints": 3, "head_channels": 16, "backbone": backbone},
        "train_dataset": {**dataset, "annotations": f"{folder}/train.json", "mode": "train"},
        "val_dataset": {**dataset, "annotations": f"{folder}/val.json", "mode": "val"},
        "loss": {"types": [{"type": "HeatmapMSELoss"}], "coef": [100]},
        "optimizer": {"type": "AdamW"},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.005},
        **parts,
    }
