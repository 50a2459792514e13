"""Settings of evaluation and prediction: a config's ``test_config`` and the flags of val and predict."""

import inspect
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from ..config_checks import check_test_config
from ..config_files import note
from ..errors import InputError

#: Keys of ``test_config`` that only one of the two takes, by the name of its augmentation.
_ONLY = {"aug_eval": ("aug_eval", "auc_roc"), "aug_pred": ("aug_pred", "custom_color")}


def prediction_settings(
    function: Callable,
    settings: Mapping[str, Any],
    augment: bool = False,
    scales: Optional[Sequence[float]] = None,
    flip_horizontal: Optional[bool] = None,
    flip_vertical: Optional[bool] = None,
    is_slide: bool = False,
    crop_size: Optional[Sequence[int]] = None,
    stride: Optional[Sequence[int]] = None,
    **others: Any,
) -> Dict[str, Any]:
    """A config's ``test_config``, overridden by the arguments; None keeps what it has.

    Args:
        function: PaddleSeg's ``evaluate`` or ``predict``.
        settings: the ``test_config``.
        augment: average over ``scales`` and flips.
        is_slide: use sliding windows of ``crop_size`` at steps of ``stride``, both (width, height) in pixels.
        others: further arguments of ``function``, such as ``use_multilabel``.

    Raises:
        InputError: a value is out of range, has no effect without another, or needs a newer PaddleSeg.
    """
    parameters = inspect.signature(function).parameters
    switch = "aug_pred" if "aug_pred" in parameters else "aug_eval"
    other = {key for name, keys in _ONLY.items() if name != switch for key in keys}
    settings = {key: value for key, value in settings.items() if key not in other}

    augmentation = _given(scales=scales, flip_horizontal=flip_horizontal, flip_vertical=flip_vertical)
    windows = _given(crop_size=crop_size, stride=stride)
    if augment:
        settings = {"scales": 1.0, "flip_horizontal": False, "flip_vertical": False, **settings, switch: True}
    if is_slide:
        settings["is_slide"] = True
    for given, needed in ((augmentation, switch), (windows, "is_slide")):
        if given and not settings.get(needed):
            raise InputError(f"--{next(iter(given))} has no effect without --{needed}; add it")
    settings.update(augmentation, **windows, **_given(**others))
    check_test_config(settings, "--")
    if isinstance(settings.get("scales"), int):
        settings["scales"] = float(settings["scales"])  # PaddleSeg takes no other number
    for key in settings.keys() - parameters.keys():
        raise InputError(f"--{key} needs a newer PaddleSeg than the one installed; omit it or upgrade PaddleSeg")
    return settings


def check_labels(settings: Mapping[str, Any], dataset: Any) -> None:
    """Check that the first label has a map for each class, where ``use_multilabel`` is set.

    Raises:
        InputError: it does not.
    """
    if not settings.get("use_multilabel") or not len(dataset):
        return
    try:
        label = dataset[0]["label"]
    except Exception:  # a defect that evaluation will report
        return
    if label.ndim != 3 or len(label) != dataset.num_classes:
        raise InputError(
            f"expected labels of {dataset.num_classes} maps, one for each class, with use_multilabel, got one of shape "
            f"{list(label.shape)}; leave use_multilabel out or change the labels"
        )


def note_large_window(settings: Mapping[str, Any], height: int, width: int) -> None:
    """Say so if the sliding window is larger than an image of this size, which is then not divided."""
    crop = settings.get("crop_size") if settings.get("is_slide") else None
    if crop and crop[0] > width and crop[1] > height:
        note(
            f"the window of {crop[0]} x {crop[1]} pixels is larger than the first image, {width} x {height}, which is "
            "predicted as a whole"
        )


def _given(**arguments: Any) -> Dict[str, Any]:
    return {key: value for key, value in arguments.items() if value is not None}
