"""A network of two convolutions, its answers without any export, and how masks are compared with them."""

import pathlib

import numpy as np
import paddle
from paddle import nn
from rtseg_inference.contract import Preprocessing

from paddle_rtseg.models.base import SegmentationModel

FRAMES = pathlib.Path(__file__).parents[1] / "data" / "camvid_mini" / "images"
PREPROCESSING = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Tiny(SegmentationModel):
    """Two convolutions; logits at a quarter of the image's resolution."""

    def __init__(self, num_classes=7):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(3, 8, 3, stride=2, padding=1), nn.BatchNorm2D(8), nn.ReLU(), nn.Conv2D(8, 16, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Conv2D(16, num_classes, 1)

    def low_resolution_logits(self, x):
        return [self.head(self.body(x))]


def tiny(**arguments):
    paddle.seed(3)
    model = Tiny(**arguments)
    model.eval()
    return model


def normalised(images, preprocessing=PREPROCESSING):
    """(B, H, W, 3) uint8 BGR -> (B, 3, H, W) float32, computed in float64 and without any code of the package."""
    rgb = np.asarray(images, np.float64)[..., ::-1]
    return ((rgb / 255 - preprocessing.mean) / preprocessing.std).transpose(0, 3, 1, 2).astype(np.float32)


def dygraph_logits(model, images, preprocessing=PREPROCESSING):
    """(B, H, W, 3) uint8 BGR -> (B, C, H, W) logits of the model as it is trained."""
    with paddle.no_grad():
        return model(paddle.to_tensor(normalised(images, preprocessing)))[0].numpy()


def assert_same_mask(mask, logits, rounding=1e-5):
    """``mask`` (H, W) takes the largest of ``logits`` (C, H, W) at each pixel.

    Where two classes are apart by less than rounding, either will do; few pixels may be of that kind.
    """
    assert mask.shape == logits.shape[1:]
    differs = mask != logits.argmax(axis=0)
    best = logits.max(axis=0)
    chosen = np.take_along_axis(logits, mask[None].astype(np.int64), axis=0)[0]
    assert (best - chosen).max() <= rounding * np.abs(logits).max()
    assert differs.mean() <= 1e-4
