"""Skeletons drawn into an image, by the same calls as in ``deploy/cpp/src/pose_drawing.cpp``."""

import math
from typing import Sequence, Tuple

import cv2

from .files import Array

#: Of links and keypoints in turn, BGR.
COLORS = (
    (0, 165, 255),
    (80, 220, 80),
    (255, 144, 30),
    (60, 60, 255),
    (255, 220, 0),
    (200, 80, 255),
    (0, 230, 230),
    (180, 130, 70),
)
SIDE = 400  #: pixels of an image's longer side for each pixel of a line's width
RADIUS = 1.5  #: of a keypoint's circle, in widths of a line
DARK = (32, 32, 32)


def draw(
    image: Array, persons: Sequence[Tuple[Array, Array]], links: Sequence[Tuple[int, int]], threshold: float
) -> Array:
    """A copy of an image with skeletons.

    Args:
        image: (H, W, 3) uint8 BGR.
        persons: (K, 2) keypoints in pixels and (K,) scores of each.
        links: pairs of keypoints to draw a line between.
        threshold: keypoints of this score or less, and their links, are left out.
    """
    drawn = image.copy()
    width = max(1, (max(image.shape[:2]) + SIDE // 2) // SIDE)
    radius = math.ceil(RADIUS * width)
    for keypoints, scores in persons:
        points = [(math.floor(x + 0.5), math.floor(y + 0.5)) for x, y in keypoints]
        for i, (first, second) in enumerate(links):
            if min(scores[first], scores[second]) > threshold:
                cv2.line(drawn, points[first], points[second], COLORS[i % len(COLORS)], width, cv2.LINE_AA)
        for k, point in enumerate(points):
            if scores[k] > threshold:
                cv2.circle(drawn, point, radius, COLORS[k % len(COLORS)], -1, cv2.LINE_AA)
                cv2.circle(drawn, point, radius, DARK, 1, cv2.LINE_AA)
    return drawn
