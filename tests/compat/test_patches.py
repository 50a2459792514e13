"""How patches are applied; and what they mend in evaluation, the profiler and deploy.yaml."""

import argparse
import inspect
import json
import os
import traceback

import numpy as np
import paddle
import pytest
import tiny_training
import yaml
from paddleseg.deploy.infer import DeployConfig
from paddleseg.utils import metrics, train_profiler

from paddle_rtseg.compat import patches
from paddle_rtseg.compat.patch import Patch, paddle_version


def halve(x):
    # half of it
    return x // 2 + missing  # noqa: F821


HALVE = Patch("halve", "-", "-", f"{__name__}:halve", [("x // 2 + missing", "x / shift(2)")], names={"shift": abs})


def test_patch_changes_the_function_itself_and_back():
    alias, source = halve, inspect.getsource(halve)
    assert HALVE.apply()
    assert alias(3) == 1.5
    assert not HALVE.apply()
    assert HALVE.undo()
    assert not HALVE.undo()
    assert inspect.getsource(halve) == source
    with pytest.raises(NameError):
        alias(3)


def test_traceback_shows_the_source_that_runs():
    assert HALVE.apply()
    with pytest.raises(TypeError) as error:
        halve("3")
    last = traceback.extract_tb(error.value.__traceback__)[-1]
    line = last.line
    assert HALVE.undo()
    assert line.startswith("return x / shift(2)")
    assert last.lineno == inspect.getsourcelines(halve)[1] + 2


@pytest.mark.parametrize(
    "where, wrong, paddle_from",
    [
        (f"{__name__}:halve", "not in the source", (2, 0)),
        (f"{__name__}:halve", "x // 2", (98, 0)),
        (f"{__name__}:no_such_function", "x // 2", (2, 0)),
        ("paddleseg.no_such_module:halve", "x // 2", (2, 0)),
    ],
)
def test_patch_stands_aside(where, wrong, paddle_from):
    assert not Patch("aside", "-", "-", where, [(wrong, "0")], paddle=paddle_from).apply()


def test_patches_are_applied_once_and_stay():
    assert patches.apply() == []
    assert len({patch.name for patch in patches.PATCHES}) == len(patches.PATCHES)


def test_patched_functions_keep_their_signatures(without):
    with without("scalar areas"):
        signature = inspect.signature(metrics.calculate_area)
    assert inspect.signature(metrics.calculate_area) == signature


def test_areas(without):
    random = np.random.default_rng(0)
    prediction, label = random.integers(0, 3, (2, 1, 1, 5, 7))
    label[0, 0, 0, :3] = 255
    tensors = paddle.to_tensor(prediction), paddle.to_tensor(label)
    with without("scalar areas"), pytest.raises(Exception, match=r"(?i)concat|rank|dim"):
        metrics.calculate_area(*tensors, num_classes=3)
    areas = metrics.calculate_area(*tensors, num_classes=3)
    valid = label != 255
    expected = (prediction[valid & (prediction == label)], prediction[valid], label[valid])
    for area, values in zip(areas, expected):
        np.testing.assert_array_equal(area.numpy(), np.bincount(values, minlength=3))


def test_profiler(without, monkeypatch, tiny_images, tmp_path):
    monkeypatch.setattr(train_profiler, "_profiler_step_id", 0)
    monkeypatch.chdir(tmp_path)
    options = f"batch_range=[1,2];state=CPU;profile_path={tmp_path}/profile.json;exit_on_finished=false"
    with without("profiler"), pytest.raises(AttributeError):
        tiny_training.run(tiny_images, tmp_path, iters=3, profiler_options=options)
    monkeypatch.setattr(train_profiler, "_profiler_step_id", 0)
    tiny_training.run(tiny_images, tmp_path, iters=3, profiler_options=options)
    events = json.loads((tmp_path / "profile.json").read_text())["traceEvents"]
    assert any("conv2d" in event.get("name", "") for event in events)
    assert sorted(os.listdir(tmp_path)) == ["iter_2", "iter_3", "profile.json"]


@pytest.mark.skipif(paddle_version() < (3, 0), reason="Paddle 2 writes .pdmodel")
def test_deploy_yaml_is_read_as_the_files_are(without, tmp_path):
    deploy = {"Deploy": {"model": "model.pdmodel", "params": "model.pdiparams", "transforms": []}}
    (tmp_path / "deploy.yaml").write_text(yaml.dump(deploy))
    (tmp_path / "model.json").write_text("{}")
    config = DeployConfig(str(tmp_path / "deploy.yaml"))
    with without("deploy.yaml, read"):
        assert not os.path.exists(config.model)
    assert config.model == str(tmp_path / "model.json")
    (tmp_path / "model.pdmodel").write_text("")
    assert config.model == str(tmp_path / "model.pdmodel")


@pytest.mark.skipif(paddle_version() < (3, 0), reason="Paddle 2 writes .pdmodel")
def test_deploy_yaml_is_written_as_the_files_are(without, tiny_images, tmp_path):
    export = pytest.importorskip("paddleseg.core.export", reason="only PaddleSeg's develop branch has it").export
    dataset = {"type": "Dataset", "dataset_root": tiny_images, "num_classes": 4, "transforms": [{"type": "Normalize"}]}
    config = {
        "batch_size": 1,
        "iters": 1,
        "train_dataset": {**dataset, "mode": "train", "train_path": f"{tiny_images}/list.txt"},
        "val_dataset": {**dataset, "mode": "val", "val_path": f"{tiny_images}/list.txt"},
        "model": {"type": "RTFormer_Slim", "base_channels": 8, "head_channels": 8, "spp_channels": 8},
        "optimizer": {"type": "SGD"},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.1},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 1]},
    }
    (tmp_path / "config.yml").write_text(yaml.dump(config))
    arguments = argparse.Namespace(
        config=str(tmp_path / "config.yml"),
        model_path=None,
        save_dir=str(tmp_path),
        output_op="argmax",
        input_shape=[1, 3, 64, 64],
        for_fd=False,
    )

    def written():
        export(arguments)
        return yaml.safe_load((tmp_path / "deploy.yaml").read_text())["Deploy"]["model"]

    with without("deploy.yaml, written"):
        assert written() == "model.pdmodel"
    assert written() == "model.json" and (tmp_path / "model.json").exists()
