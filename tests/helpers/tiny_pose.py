"""A network that finds red, green and blue dots by their colours, and persons of three such dots."""

import pathlib

import cv2
import numpy as np
from comparing import zip_strict
from paddle import nn
from rtseg_inference.contract import Preprocessing

from paddle_rtseg.export.pose import pose_of

SKELETON = {"names": ["red", "green", "blue"], "links": [["red", "green"], ["green", "blue"]], "sigmas": [0.1] * 3}
SIZE = (48, 64)  #: width and height of the network's input
COLORS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))  #: BGR
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
RADIUS = 6  #: of a dot, in pixels of the network's input


class Dots(nn.Layer):
    """(B, 3, H, W) -> [(B, 3, H / 4, W / 4) heatmaps]: how much of one colour is near a cell."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 3, 7, stride=4, padding=3)
        away = np.arange(7) - 3
        near = np.exp(-(away[:, None] ** 2 + away**2) / 8)
        weight = (1.5 * np.eye(3) - 0.5)[:, :, None, None] * near / near.sum() / 4
        self.conv.weight.set_value(weight.astype("float32"))
        self.conv.bias.set_value(np.full(3, -0.1, "float32"))

    def forward(self, x):
        return [self.conv(x)]


#: Flags that networks for poses do not take.
SEGMENTATION_FLAGS = [
    ["--tile", "64x64"],
    ["--overlap", "4"],
    ["--fit", "resize"],
    ["--alpha", "0.2"],
    ["--outlines"],
    ["--no_legend"],
    ["--clear", "sky"],
    ["--steady", "2"],
    ["--motion", "2"],
]


def dots():
    model = Dots()
    model.eval()
    return model


def pose(**arguments):
    """What surrounds the network."""
    return pose_of(SKELETON, SIZE, **arguments)


def draw_persons(path: pathlib.Path, persons, size):
    """Write an image of that width and height, and return the box (left, top, width, height) of each person.

    Args:
        persons: three (x, y) each.
    """
    image = np.full((size[1], size[0], 3), 40, np.uint8)
    boxes = []
    for points in persons:
        points = np.array(points)
        left, top = points.min(axis=0) - 16
        width, height = np.ptp(points, axis=0) + 32
        boxes.append([float(n) for n in (left, top, width, height)])
        scale = 1.25 * max(width / SIZE[0], height / SIZE[1])
        for point, color in zip_strict(points.tolist(), COLORS):
            cv2.circle(image, point, round(RADIUS * scale), color, -1)
    assert cv2.imwrite(str(path), image)
    return boxes
