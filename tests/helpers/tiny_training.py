"""Training small enough for a test: eight 64 x 64 images of coloured blocks, and a network that sees single pixels.

Also a program, for a run that is to be killed: ``python tiny_training.py ROOT SAVE_DIR NAME [PATCH]`` trains for four
iterations and dies halfway through the file NAME of its second checkpoint; without the patch of that name, if given.
"""

import os
import pathlib
import signal
import sys

import cv2
import numpy as np
import paddle
from paddle import nn
from paddleseg.core import train
from paddleseg.datasets import Dataset
from paddleseg.models.losses import CrossEntropyLoss
from paddleseg.transforms import Normalize

NUM_CLASSES = 4


def make_images(root: pathlib.Path) -> str:
    """Write the images, labels that number the colours or are 255, and the list of them; return the folder."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (256, 3), dtype=np.uint8)
    lines = []
    for i in range(8):
        label = random.integers(0, NUM_CLASSES, (8, 8)).astype(np.uint8)
        label[0, 0] = 255
        label = label.repeat(8, axis=0).repeat(8, axis=1)
        cv2.imwrite(str(root / f"image{i}.png"), colours[label])
        cv2.imwrite(str(root / f"label{i}.png"), label)
        lines.append(f"image{i}.png label{i}.png\n")
    (root / "list.txt").write_text("".join(lines))
    return str(root)


def dataset(root: str, mode: str) -> Dataset:
    paths = {"train_path": f"{root}/list.txt", "val_path": f"{root}/list.txt"}
    return Dataset(mode, root, [Normalize()], NUM_CLASSES, **paths)


class PixelNet(nn.Layer):
    """Two heads of logits from each pixel's colour alone."""

    def __init__(self):
        super().__init__()
        self.head, self.aux = nn.Conv2D(3, NUM_CLASSES, 1), nn.Conv2D(3, NUM_CLASSES, 1)

    def forward(self, x):
        return [self.head(x), self.aux(x)] if self.training else [self.head(x)]


def run(root, save_dir, iters, evaluate=False, network=PixelNet, **settings) -> nn.Layer:
    """Train on all eight images at a time, so that an iteration does not depend on their order; return the network."""
    paddle.seed(1)
    with paddle.utils.unique_name.guard():  # optimizers find their state by names that are counted in each process
        model = network()
        schedule = paddle.optimizer.lr.PolynomialDecay(0.05, decay_steps=100, end_lr=0.0, power=0.9)
        train(
            model,
            dataset(root, "train"),
            val_dataset=dataset(root, "val") if evaluate else None,
            optimizer=paddle.optimizer.AdamW(schedule, parameters=model.parameters()),
            save_dir=str(save_dir),
            iters=iters,
            losses={"types": [CrossEntropyLoss(), CrossEntropyLoss()], "coef": [1, 0.5]},
            **{"batch_size": 8, "save_interval": 2, **settings},
        )
    return model


def die_while_saving(name: str) -> None:
    """From now on, the second file of this name that Paddle writes is written by half, and the process killed."""
    paddle_save, seen = paddle.save, []

    def save(state, path, *args, **kwargs):
        paddle_save(state, path, *args, **kwargs)
        seen.append(path) if path.endswith(("/" + name, "-" + name)) else None
        if len(seen) == 2:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    paddle.save = save


if __name__ == "__main__":
    root, save_dir, name, *without = sys.argv[1:]
    from paddle_rtseg.compat.patches import PATCHES

    for patch in PATCHES:
        if patch.name in without:
            assert patch.undo()
    die_while_saving(name)
    run(root, save_dir, iters=4, use_ema=True)
