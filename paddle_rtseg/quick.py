"""Segmentation in one line, with bundled weights or an exported model."""

import functools
import os
from typing import Any, List, Sequence, Union

from rtseg_inference import Predictor
from rtseg_inference.predictor import Image, Result

from .weights import released


def predict(
    images: Union[Image, Sequence[Image]], model: str = "rtformer_slim_camvid", **options: Any
) -> Union[Result, List[Result]]:
    """Segment an image, or a list of images as one batch. The model is loaded once in a process.

    Args:
        images: a path, an (H, W, 3) uint8 BGR array or a PIL image, or a list of these.
        model: the name of bundled weights, which are exported and cached by the first call, or the folder of an
            exported model.
        options: further arguments of :class:`rtseg_inference.Predictor`, such as ``backend="onednn"``.

    Returns:
        A :class:`rtseg_inference.predictor.Result`, or a list of them. A notebook shows it as a picture.

    Raises:
        InputError: an image cannot be read, or there is no such model.
    """
    return _predictor(os.fspath(model), **options).predict(images)


@functools.lru_cache(maxsize=4)
def _predictor(model: str, **options: Any) -> Predictor:
    return Predictor(released.exported(model), **options)
