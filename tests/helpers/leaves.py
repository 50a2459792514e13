"""A small dataset of one's own: leaves on soil, some with rust, drawn from a seed."""

import os
from typing import Tuple

import cv2
import numpy as np
from comparing import zip_strict

NAMES = ("background", "leaf", "rust")
COLOURS = ((60, 90, 120), (60, 160, 70), (40, 70, 190))  # BGR


def draw(rng: np.random.Generator, height: int = 96, width: int = 128) -> Tuple[np.ndarray, np.ndarray]:
    """An image (height, width, 3) uint8 BGR, and its label (height, width) uint8."""
    label = np.zeros((height, width), np.uint8)
    for class_id, size in ((1, 30), (1, 20), (2, 8), (2, 6)):
        centre = tuple(int(n) for n in rng.integers((size, size), (width - size, height - size)))
        axes = (size, max(2, int(size * rng.uniform(0.4, 0.8))))
        cv2.ellipse(label, centre, axes, float(rng.uniform(0, 180)), 0, 360, class_id, -1)
    image = np.array(COLOURS, np.float32)[label] + rng.normal(0, 12, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), label


def write(folder: str, train: int = 8, val: int = 4, seed: int = 0) -> str:
    """Write the images, labels, lists and the dataset file; return the path of the latter."""
    rng = np.random.default_rng(seed)
    for kind in ("images", "labels"):
        os.makedirs(os.path.join(folder, "leaves", kind), exist_ok=True)
    for mode, count in (("train", train), ("val", val)):
        lines = []
        for i in range(count):
            image, label = draw(rng)
            lines.append(f"images/{mode}_{i}.jpg labels/{mode}_{i}.png")
            for file, pixels in zip_strict(lines[-1].split(), (image, label)):
                cv2.imwrite(os.path.join(folder, "leaves", file), pixels)
        with open(os.path.join(folder, "leaves", f"{mode}.txt"), "w") as f:
            f.write("\n".join(lines) + "\n")
    path = os.path.join(folder, "leaves.yml")
    with open(path, "w") as f:
        f.write(f"path: leaves\ntrain: train.txt\nval: val.txt\nnames: [{', '.join(NAMES)}]\n")
    return path
