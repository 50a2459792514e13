"""The image that exported networks are checked with, and how exact the answer to it is."""

from typing import Callable

import cv2
import numpy as np

Change = Callable[[np.ndarray], np.ndarray]  #: of a network's input

TIES = 2.0  #: how many times as far as by another rounding a runtime's output may be
WIDEST = 0.05  #: tolerance, which has to find a wrong network
ROUNDINGS = 8
ROUNDING = 3e-7  #: relative, about that of float32 after some operations


def street_scene(height: int, width: int) -> np.ndarray:
    """A drawn street: (height, width, 3) uint8 BGR, the same on every machine.

    It has smooth regions, sharp edges, thin objects and texture, so that a wrong resize, channel order or kernel shows;
    noise would hide most of these errors, and a constant image all of them.
    """
    h, w = 256, 384
    rows = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    scene = np.float32([235, 190, 140]) * (1 - rows) + np.float32([215, 225, 230]) * rows  # sky, BGR
    scene = np.ascontiguousarray(np.broadcast_to(scene, (h, w, 3))).astype(np.uint8)
    for left, top, right, color in (
        (0, 40, 90, (70, 95, 140)),
        (90, 80, 150, (120, 120, 125)),
        (290, 25, 384, (60, 70, 90)),
    ):
        cv2.rectangle(scene, (left, top), (right, 175), color, -1)
        for y in range(top + 10, 160, 22):
            for x in range(left + 8, right - 10, 20):
                cv2.rectangle(scene, (x, y), (x + 9, y + 12), tuple(c // 2 for c in color), -1)
    cv2.rectangle(scene, (0, 170), (w, h), (110, 125, 130), -1)  # pavement
    cv2.fillPoly(scene, [np.int32([(30, h), (165, 170), (230, 170), (w - 20, h)])], (75, 72, 70))  # road
    for y in range(180, h, 24):
        cv2.line(scene, (197, y), (197, y + 9), (230, 235, 235), 2)
    cv2.circle(scene, (255, 110), 38, (45, 110, 60), -1)  # tree
    cv2.rectangle(scene, (250, 140), (260, 185), (40, 60, 80), -1)
    cv2.rectangle(scene, (128, 175), (186, 205), (40, 30, 170), -1)  # car
    cv2.circle(scene, (140, 206), 7, (25, 25, 25), -1)
    cv2.circle(scene, (174, 206), 7, (25, 25, 25), -1)
    cv2.line(scene, (330, 60), (330, 215), (60, 60, 60), 3)  # pole
    cv2.rectangle(scene, (305, 168), (316, 212), (130, 60, 50), -1)  # pedestrian
    cv2.circle(scene, (310, 162), 6, (140, 160, 200), -1)
    texture = np.random.RandomState(0).randint(-12, 13, scene.shape)
    scene = np.clip(scene.astype(np.int32) + texture, 0, 255).astype(np.uint8)
    # Nearest-neighbour is the one resize that gives the same result in all versions of OpenCV.
    return cv2.resize(scene, (width, height), interpolation=cv2.INTER_NEAREST)


def rounding_error(run: Callable[[Change], np.ndarray], output: np.ndarray) -> float:
    """How far a network's output moves if its input is rounded in another way, as a share of its root mean square.

    Next to nothing, unless tokens match and two pairs of them are so alike that rounding decides which one merges. The
    other choice is as right, and other runtimes make it.

    Args:
        run: gives the network's output for its input, after a function of that input.
        output: for the input as it is.
    """

    def rounded(seed: int) -> Change:
        def change(batch: np.ndarray) -> np.ndarray:
            noise = np.random.default_rng(seed).standard_normal(batch.shape)
            return (batch * (1 + ROUNDING * noise)).astype(batch.dtype)

        return change

    moved = [run(rounded(seed)) - output for seed in range(ROUNDINGS)]
    return float(max(np.linalg.norm(change) for change in moved) / np.linalg.norm(output))
