"""How patches are applied; and the patches of evaluation, the profiler, deploy.yaml and protobuf."""

import argparse
import ast
import contextlib
import inspect
import json
import linecache
import os
import pathlib
import traceback
import types
import warnings

import numpy as np
import paddle
import pytest
import tiny_training
import yaml
from comparing import zip_strict
from google.protobuf import descriptor_pb2
from paddle.distributed.fleet.base import distributed_strategy
from paddleseg.deploy.infer import DeployConfig
from paddleseg.utils import metrics, train_profiler
from tiny_configs import tiny_config, write_config

from paddle_rtseg.compat import patches
from paddle_rtseg.compat.patch import Patch, paddle_version
from paddle_rtseg.training import hooks


def halve(x):
    # half of it
    return x // 2 + missing  # noqa: F821


HALVE = Patch("halve", "-", "-", f"{__name__}:halve", [("x // 2 + missing", "x / shift(2)")], names={"shift": abs})


def test_apply_and_undo():
    alias, source = halve, inspect.getsource(halve)
    assert HALVE.apply()
    assert alias(3) == 1.5
    assert not HALVE.apply()
    assert HALVE.undo()
    assert not HALVE.undo()
    assert inspect.getsource(halve) == source
    with pytest.raises(NameError):
        alias(3)


def test_what_the_source_deserves_is_no_warning():
    escape = Patch("escape", "-", "-", HALVE.where, [("x // 2", "len('\\d')")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert escape.apply()
    assert escape.undo()


def test_traceback_shows_the_patched_source():
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
def test_patch_that_does_not_apply(where, wrong, paddle_from):
    assert not Patch("aside", "-", "-", where, [(wrong, "0")], paddle=paddle_from).apply()


def test_patches_are_applied_only_once():
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
    for area, values in zip_strict(areas, expected):
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


def test_counting_of_layers(without, tiny_images, tmp_path, capsys):
    with without("counting, quietly"):
        tiny_training.run(tiny_images, tmp_path / "with", iters=1)
    assert "flops has been counted" in capsys.readouterr().out
    tiny_training.run(tiny_images, tmp_path / "without", iters=1)
    printed = capsys.readouterr().out
    assert "Total Flops" in printed and "flops has been counted" not in printed and "Cannot find" not in printed


@pytest.mark.skipif(paddle_version() < (3, 0), reason="Paddle 2 writes .pdmodel")
def test_deploy_yaml_reading(without, tmp_path):
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
def test_deploy_yaml_writing(without, tiny_images, tmp_path):
    export = pytest.importorskip("paddleseg.core.export", reason="only PaddleSeg's develop branch has it").export
    config = write_config(tmp_path / "config.yml", tiny_config(tiny_images))
    arguments = argparse.Namespace(
        config=config,
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


@pytest.mark.skipif(paddle_version() >= (3, 3), reason="Paddle 3.3 works with protobuf 7")
def test_protobuf_7(without):
    message = descriptor_pb2.FileDescriptorProto(name="x", dependency=["a", "b"])
    old_protobuf = hasattr(message.DESCRIPTOR.fields[0], "label")
    with without("several processes with protobuf 7"):
        with contextlib.nullcontext() if old_protobuf else pytest.raises(AttributeError):
            distributed_strategy.get_msg_dict(message)
    found = distributed_strategy.get_msg_dict(message)
    assert (found["name"], found["dependency"]) == ("x", ["a", "b"])


@pytest.mark.parametrize("repeated", [False, True])
def test_repeated_fields_of_every_protobuf(repeated):
    old = types.SimpleNamespace(label=3 if repeated else 1, LABEL_REPEATED=3)
    new = types.SimpleNamespace(is_repeated=repeated)
    assert hooks.is_repeated(old) == hooks.is_repeated(new) == repeated


def test_every_patch_is_named_by_a_test():
    """Those tests show what happens without the patch, or call for its removal: see the fixture ``without``."""
    texts = set()
    for path in pathlib.Path(__file__).parents[1].rglob("test_*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert [patch.name for patch in patches.PATCHES if patch.name not in texts] == []


def test_patched_source_survives_a_cleared_cache(without):
    linecache.clearcache()
    with without("table of the classes"):
        pass
