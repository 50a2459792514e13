"""Evaluation of networks for poses, in place of PaddleSeg's ``evaluate``."""

from typing import Any, Dict, List, Tuple

import numpy as np
import paddle
from paddleseg.utils import logger
from rtseg_inference.pose import Region, average_flipped, decode, to_image
from rtseg_inference.progress import Line

from ..data.keypoints import CocoKeypoints
from ..pose.metrics import pck
from .loading import CheckedLoader

THRESHOLDS = (0.2, 0.1, 0.05)
BATCH = 16


def evaluate(
    model: paddle.nn.Layer, dataset: CocoKeypoints, num_workers: int = 0, **settings: Any
) -> Tuple[float, float, np.ndarray, np.ndarray, np.ndarray]:
    """Score a network on labelled boxes, and print the PCK of each keypoint.

    Args:
        model: (B, 3, H, W) -> [(B, K, H / 4, W / 4)].
        dataset: of mode "val".
        num_workers: processes that load data.
        settings: of PaddleSeg's ``evaluate``; those for segmentation have no meaning here.

    Returns:
        In the places of PaddleSeg's mean IoU, accuracy and class IoU: PCK@.1, PCK@.05 and the PCK@.1 of each keypoint;
        then the (N, K, 2) keypoints in their images and their (N, K) scores.
    """
    keypoints, scores = predict(model, dataset, num_workers)
    truth = np.stack([person.keypoints for person in dataset.persons])
    visible = np.stack([person.visible for person in dataset.persons])
    boxes = np.stack([person.box for person in dataset.persons])
    found = {threshold: pck(keypoints, truth, visible, boxes, threshold) for threshold in THRESHOLDS}
    logger.info(f"[EVAL] #Persons: {len(dataset)} " + _in_words({t: mean for t, (_, mean) in found.items()}))
    logger.info("[EVAL] in percent:\n" + _table(dataset.skeleton.names, {t: each for t, (each, _) in found.items()}))
    return found[0.1][1], found[0.05][1], found[0.1][0], keypoints, scores


def predict(model: paddle.nn.Layer, dataset: CocoKeypoints, num_workers: int = 0) -> Tuple[np.ndarray, np.ndarray]:
    """(N, K, 2) keypoints of each person in its image, and (N, K) scores."""
    model.eval()
    keypoints: List[np.ndarray] = []
    scores: List[np.ndarray] = []
    line = Line(len(dataset), "evaluation")
    with paddle.no_grad():
        for batch in CheckedLoader(dataset, batch_size=BATCH, num_workers=num_workers):
            heatmaps = model(batch["img"])[0].numpy()
            if dataset.flip_test:
                mirrored = model(batch["img"].flip(axis=3))[0].numpy()
                heatmaps = average_flipped(heatmaps, mirrored, dataset.skeleton.flip_indices)
            for maps, region in zip(heatmaps, batch["region"].numpy()):
                cells, values = decode(maps)
                keypoints.append(to_image(cells, Region(region[:2], region[2:]), dataset.input_size))
                scores.append(values)
            line.step(len(heatmaps))
    line.clear()
    return np.stack(keypoints), np.stack(scores)


def _in_words(means: Dict[float, float]) -> str:
    return " ".join(f"PCK@{threshold:g}: {mean:.4f}" for threshold, mean in means.items())


def _table(names: Tuple[str, ...], shares: Dict[float, np.ndarray]) -> str:
    width = max(8, *map(len, names))
    lines = [f"{'keypoint':{width}}" + "".join(f"{f'PCK@{threshold:g}':>10}" for threshold in shares)]
    for k, name in enumerate(names):
        lines.append(f"{name:{width}}" + "".join(f"{100 * each[k]:10.2f}" for each in shares.values()))
    return "\n".join(lines)
