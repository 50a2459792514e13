"""What an evaluation of poses in a training leaves in ``evaluation/``, as :mod:`.evaluation` does for segmentation.

================  ====================================================================================
``results.csv``   a row for each evaluation: step, network, PCK, AP, and the PCK@.1 of each keypoint
``curves.png``    PCK@.1 and the loss over the steps
``examples.jpg``  persons of the validation data: labelled skeletons above, predicted ones below
================  ====================================================================================
"""

import os
from typing import Dict

import numpy as np
from rtseg_inference.images import read_image
from rtseg_inference.pose import crop, matrix, region_of
from rtseg_inference.pose_drawing import draw

from ..data.keypoints import CocoKeypoints
from . import evaluation

EXAMPLES = 8
EXAMPLE_HEIGHT = 320


def write(
    display: evaluation.Display,
    dataset: CocoKeypoints,
    keypoints: np.ndarray,
    means: Dict[float, float],
    each: np.ndarray,
    precision: Dict[str, float],
) -> None:
    """Write the files of an evaluation.

    Args:
        display: names of the keypoints, and the folder.
        keypoints: (N, K, 2) predicted ones in the persons' images.
        means: PCK by threshold; 0.1 is among them.
        each: (K,) PCK@.1 of each keypoint.
        precision: COCO's figures, or none.
    """
    step, network, folder, prefix = evaluation.begin(display)
    figures = {f"pck_{threshold:g}": means[threshold] for threshold in sorted(means, key=lambda t: (t != 0.1, -t))}
    figures["ap"] = precision.get("AP", float("nan"))
    path = os.path.join(folder, "results.csv")
    rows = evaluation.add_row(path, display.names, (step, network, *figures.values(), *each), tuple(figures))
    evaluation.save_curves(os.path.join(folder, "curves.png"), rows, "PCK@.1")
    evaluation.save_image(os.path.join(folder, f"{prefix}examples.jpg"), examples(dataset, keypoints))


def examples(dataset: CocoKeypoints, keypoints: np.ndarray) -> np.ndarray:
    """A page of persons, side by side: the labelled skeleton above, the predicted one below."""
    columns = [
        np.vstack([_drawn(dataset, i, dataset.persons[i].keypoints), _drawn(dataset, i, keypoints[i])])
        for i in np.unique(np.linspace(0, len(dataset) - 1, EXAMPLES).astype(int))
    ]
    labels, predictions = np.split(np.hstack(columns), 2)
    above, below = (evaluation.title_strip([word], labels.shape[1]) for word in ("label", "prediction"))
    return np.vstack([above, labels, below, predictions])


def _drawn(dataset: CocoKeypoints, index: int, keypoints: np.ndarray) -> np.ndarray:
    """A person as the network sees it, enlarged, with those of its keypoints that are labelled."""
    person = dataset.persons[index]
    size = max(1, round(EXAMPLE_HEIGHT * dataset.input_size[0] / dataset.input_size[1])), EXAMPLE_HEIGHT
    transform = matrix(region_of(person.box, size), size)
    image = crop(read_image(person.image), transform, size)
    points = keypoints @ transform[:, :2].T + transform[:, 2]
    return draw(image, [(points, person.visible)], dataset.skeleton.links, 0)
