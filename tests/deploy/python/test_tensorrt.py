"""The parts of the TensorRT path that need no GPU: the keys of the engine cache, and errors for missing engines."""

import dataclasses
import os
import sys
import types

import numpy as np
import paddle
import pytest
from rtseg_inference import contract, tensorrt
from rtseg_inference.errors import InputError

MACHINE = {"gpu": "A", "capability": [8, 6], "tensorrt_version": [8, 6, 1], "paddle_version": "2.6.2"}


def test_cache_key_contains_all_dependencies(exported, monkeypatch):
    monkeypatch.setenv("RTSEG_CACHE", "somewhere")
    found = contract.read_contract(exported["logits"])
    shape = dataclasses.replace(found.tensorrt.shape, max=(8, 3, 2048, 2048))
    wider = dataclasses.replace(found.tensorrt, shape=shape)
    other_weights = {**found.sha256, found.params: "0" * 64}
    folders = [
        tensorrt.cache_folder(found, "fp32", MACHINE),
        tensorrt.cache_folder(found, "fp16", MACHINE),
        *(tensorrt.cache_folder(found, "fp32", {**MACHINE, key: "other"}) for key in MACHINE),
        tensorrt.cache_folder(dataclasses.replace(found, tensorrt=wider), "fp32", MACHINE),
        tensorrt.cache_folder(dataclasses.replace(found, sha256=other_weights), "fp32", MACHINE),
    ]
    assert len(set(folders)) == len(folders)
    assert folders[0] == tensorrt.cache_folder(found, "fp32", dict(reversed(MACHINE.items())))
    assert all(os.path.dirname(folder) == "somewhere" for folder in folders)


def test_subgraphs_are_read_from_paddles_log():
    log = "I1 a.cc:1] ---  detect a sub-graph with 120 nodes\nI1 b.cc:2] ---  detect a sub-graph with 7 nodes\n"
    assert tensorrt.subgraph_sizes(log) == [120, 7]
    assert tensorrt.subgraph_sizes("I1 no subgraphs") == []


def test_missing_engine_names_the_operators_left_outside(exported):
    found = contract.read_contract(exported["logits"])
    message = str(tensorrt._no_engine(found, ["feed", "conv2d", "relu", "conv2d", "fetch"]))
    assert "all 3 operators stayed outside (conv2d, relu)" in message and "paddle_rtseg.trt_report" in message


def test_a_conversion_that_fails_names_the_upstream_issues(exported, tmp_path, monkeypatch):
    """Paddle 3's converter is a stand-in that fails as it does on a stack from TensorRT 10.8 on."""

    def convert(path, config):
        raise RuntimeError("Failed to build\nthe engine")

    kinds = types.SimpleNamespace(FP16=16, FP32=32)
    converter = types.SimpleNamespace(Input=dict, PrecisionMode=kinds, TensorRTConfig=dict, convert=convert)
    monkeypatch.setitem(sys.modules, "paddle.tensorrt", converter)
    found = contract.read_contract(exported["logits"])
    with pytest.warns(UserWarning, match="79449.*79319"), pytest.raises(InputError) as raised:
        tensorrt._converted(found, "fp16", str(tmp_path), paddle, None)
    assert "for TensorRT (Failed to build the engine): TensorRT in Paddle 3 (paddle.tensorrt) is unreli" in str(
        raised.value
    )
    assert paddle.in_dynamic_mode() and not os.listdir(tmp_path)


def test_stderr_of_native_code_is_captured_and_shown_on_failure(capfd):
    with tensorrt.native_stderr() as log:
        os.write(2, b"a line\n")
    assert log() == "a line\n" and capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), tensorrt.native_stderr():
        os.write(2, b"the reason\n")
        raise RuntimeError
    assert "the reason" in capfd.readouterr().err


def test_engines_are_built_for_bounded_shapes(exported):
    found = contract.read_contract(exported["logits"])
    assert -1 in found.input.shape.max and -1 not in found.tensorrt.shape.max
    batches = tensorrt._batches(found)
    assert [b.shape for b in batches] == [(1, 3, 32, 32), (1, 3, 512, 1024), (4, 3, 1024, 2048)]
    assert all(b.dtype == np.float32 for b in batches)
