"""Settings of evaluation and prediction, from a config and from flags."""

import numpy as np
import pytest
from paddleseg.core import evaluate, predict

from paddle_rtseg.errors import InputError
from paddle_rtseg.training.prediction_settings import check_labels, note_large_window, prediction_settings

WINDOWS = {"is_slide": True, "crop_size": [64, 32], "stride": [32, 32]}
PLAIN = {"scales": 1.0, "flip_horizontal": False, "flip_vertical": False}

#: The config's settings, the flags, and what PaddleSeg's function gets.
CASES = [
    (evaluate, {}, {}, {}),
    (evaluate, {"auc_roc": True}, {}, {"auc_roc": True}),
    (evaluate, {"auc_roc": True}, {"auc_roc": False}, {"auc_roc": False}),
    (evaluate, {}, {"augment": True}, {**PLAIN, "aug_eval": True}),
    (predict, {}, {"augment": True}, {**PLAIN, "aug_pred": True}),
    (evaluate, {"scales": 2}, {"augment": True}, {**PLAIN, "aug_eval": True, "scales": 2.0}),
    (evaluate, {"aug_eval": True}, {"scales": [0.5, 1]}, {"aug_eval": True, "scales": [0.5, 1]}),
    (evaluate, {}, {"augment": True, "flip_vertical": True}, {**PLAIN, "aug_eval": True, "flip_vertical": True}),
    (predict, {"aug_eval": True, "auc_roc": True}, {}, {}),
    (evaluate, {"custom_color": [0, 0, 0]}, {}, {}),
    (predict, {}, {"custom_color": [1, 2, 3, 4, 5, 6]}, {"custom_color": [1, 2, 3, 4, 5, 6]}),
    (evaluate, {}, WINDOWS, WINDOWS),
    (evaluate, WINDOWS, {"stride": [8, 8]}, {**WINDOWS, "stride": [8, 8]}),
]


@pytest.mark.parametrize("function, config, flags, expected", CASES)
def test_settings(function, config, flags, expected):
    assert prediction_settings(function, config, **flags) == expected


REFUSED = [
    (evaluate, {"scales": [0.5]}, "--scales has no effect without --aug_eval; add it"),
    (predict, {"flip_vertical": True}, "--flip_vertical has no effect without --aug_pred; add it"),
    (evaluate, {"crop_size": [9000, 9000]}, "--crop_size has no effect without --is_slide; add it"),
    (evaluate, {"stride": [1, 1]}, "--stride has no effect without --is_slide; add it"),
    (evaluate, {"augment": True, "scales": [0.0]}, "expected a number above 0 and up to 100 as --scales, got '0.0'"),
    (evaluate, {"augment": True, "scales": [float("nan")]}, "as --scales, got 'nan'"),
    (evaluate, {"augment": True, "scales": [1e9]}, "as --scales, got '1000000000.0'"),
    (evaluate, {**WINDOWS, "stride": [0, 0]}, "expected a whole number from 1 to .* as --stride, got '0'"),
    (evaluate, {**WINDOWS, "crop_size": [0, 0]}, "as --crop_size, got '0'"),
    (evaluate, {**WINDOWS, "stride": [65, 32]}, "a --stride of at most the --crop_size, 64 x 32, got 65 x 32"),
    (predict, {"custom_color": [0, 0, 300]}, "expected a whole number from 0 to 255 as --custom_color, got '300'"),
    (predict, {"custom_color": [0, 0, 0, 0]}, "expected red, green and blue of each class as --custom_color"),
    (predict, {"custom_color": [0] * 771}, "at most 256 times"),
]


@pytest.mark.parametrize("function, flags, words", REFUSED)
def test_refused(function, flags, words):
    with pytest.raises(InputError, match=words):
        prediction_settings(function, {}, **flags)


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("where", ["flag", "config"])
def test_multilabel_needs_a_newer_paddleseg(new, where):
    def evaluate_new(model, eval_dataset, aug_eval=False, use_multilabel=False):
        pass

    def evaluate_old(model, eval_dataset, aug_eval=False):
        pass

    config, flags = ({"use_multilabel": True}, {}) if where == "config" else ({}, {"use_multilabel": True})
    if new:
        assert prediction_settings(evaluate_new, config, **flags) == {"use_multilabel": True}
        return
    with pytest.raises(InputError, match="--use_multilabel needs a newer PaddleSeg"):
        prediction_settings(evaluate_old, config, **flags)


@pytest.mark.parametrize("crop, noted", [([65, 49], True), ([64, 49], False), ([65, 48], False)])
def test_window_larger_than_the_image(crop, noted, capsys):
    note_large_window({"is_slide": True, "crop_size": crop}, 48, 64)
    note_large_window({"crop_size": crop}, 48, 64)
    said = f"note: the window of {crop[0]} x {crop[1]} pixels is larger than the first image, 64 x 48, which is "
    assert capsys.readouterr().err == (said + "predicted as a whole\n" if noted else "")


class OneLabel(list):
    num_classes = 3

    def __init__(self, *shape):
        super().__init__([{"label": np.zeros(shape, np.uint8)}])


def test_multilabel_needs_a_map_for_each_class():
    settings = {"use_multilabel": True}
    check_labels(settings, OneLabel(3, 8, 8))
    check_labels({}, OneLabel(1, 8, 8))
    for shape in ([1, 8, 8], [8, 8]):
        with pytest.raises(
            InputError, match="expected labels of 3 maps, one for each class, with use_multilabel, got one"
        ):
            check_labels(settings, OneLabel(*shape))
