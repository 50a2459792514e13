"""What an evaluation of poses in a training leaves in ``evaluation/``, as :mod:`.evaluation` does for segmentation.

================  ====================================================================================
``results.csv``   a row for each evaluation: step, network, PCK, AP, and the PCK@.1 of each keypoint
``curves.png``    PCK@.1 and the loss over the steps
================  ====================================================================================
"""

import os
from typing import Dict

import numpy as np

from . import evaluation


def write(
    display: evaluation.Display,
    means: Dict[float, float],
    each: np.ndarray,
    precision: Dict[str, float],
) -> None:
    """Write the files of an evaluation.

    Args:
        display: names of the keypoints, and the folder.
        means: PCK by threshold; 0.1 is among them.
        each: (K,) PCK@.1 of each keypoint.
        precision: COCO's figures, or none.
    """
    step, network, folder, _ = evaluation.begin(display)
    figures = {f"pck_{threshold:g}": means[threshold] for threshold in sorted(means, key=lambda t: (t != 0.1, -t))}
    figures["ap"] = precision.get("AP", float("nan"))
    path = os.path.join(folder, "results.csv")
    rows = evaluation.add_row(path, display.names, (step, network, *figures.values(), *each), tuple(figures))
    evaluation.save_curves(os.path.join(folder, "curves.png"), rows, "PCK@.1")
