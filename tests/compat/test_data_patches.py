"""The patches of datasets and scores: what PaddleSeg does without each, and with it."""

import tiny_training
from paddleseg.core import evaluate


def test_evaluation_says_which_mean_it_prints(without, tiny_images, capsys):
    model, data = tiny_training.PixelNet(), tiny_training.dataset(tiny_images, "val")
    with without("definition of mean IoU"):
        evaluate(model, data)
    assert "mean IoU" not in capsys.readouterr().out
    score = evaluate(model, data)[0]
    assert f"[EVAL] mean IoU of all 4 classes: {score:.2%}" in capsys.readouterr().out
