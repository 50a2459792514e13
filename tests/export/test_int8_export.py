"""An export in INT8 is kept if it gains and loses what is asked for, and leaves nothing otherwise."""

import dataclasses
import logging
import os
import re

import numpy as np
import paddle
import pytest
import yaml
from rtseg_inference import InputError, Predictor
from rtseg_inference.contract import read_contract
from tiny_configs import run_command, tiny_config, write_config
from tiny_int8 import few_turns, make_dataset, make_images, quantization, skip_without_quantiser
from tiny_network import PREPROCESSING
from tiny_onnx import export_with_onnx

from paddle_rtseg.export import int8
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.export.int8 import add_int8
from paddle_rtseg.export.onnx import obstacle
from paddle_rtseg.export.onnx_int8 import to_int8

needs_converter = pytest.mark.skipif(obstacle("int8") is not None, reason=str(obstacle("int8")))


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    skip_without_quantiser()
    few_turns(monkeypatch)


@pytest.fixture(scope="module")
def base(model, tmp_path_factory):
    """Contract of the tiny network with its ONNX form."""
    skip_without_quantiser()
    return read_contract(export_with_onnx(model, tmp_path_factory.mktemp("base") / "model"))


@pytest.mark.parametrize("bits", [7, 8])
def test_middle_convolution_has_weights_of_so_many_bits(bits, base, model, tmp_path):
    import onnx
    from onnx import numpy_helper

    handlers = list(logging.getLogger().handlers)
    assert add_int8(base, quantization(model, tmp_path, weight_bits=bits)).int8.weight_bits == bits
    assert logging.getLogger().handlers == handlers
    graph = onnx.load(base.path("model_int8.onnx")).graph
    tensors = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    (weights,) = (tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim == 4)
    assert weights.shape == (16, 8, 3, 3) and np.abs(weights.astype(int)).max() == 2 ** (bits - 1) - (bits == 8)
    assert sum(node.op_type == "Conv" for node in graph.node) == 3


def test_first_last_and_pooled_convolutions_stay_in_float(tmp_path):
    """OpenVINO gets the input of a convolution wrong that it quantises together with a ReduceMax."""
    import onnx
    from onnx_models import model

    conv = {"kernel_shape": [1, 1]}
    nodes = [
        ("Conv", ["x", "w1"], ["a"], conv),
        ("Conv", ["a", "w2"], ["b"], conv),
        ("ReduceMax", ["b"], ["pooled"], {"axes": [2, 3]}),
        ("Conv", ["pooled", "w3"], ["c"], conv),
        ("Add", ["b", "c"], ["sum"], {}),
        ("Conv", ["sum", "w4"], ["y"], conv),
    ]
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((4, 4, 1, 1)).astype(np.float32) for i in (1, 2, 3, 4)}
    onnx.save(model(nodes, weights), tmp_path / "fp32.onnx")
    batch = rng.standard_normal((1, 4, 6, 8)).astype(np.float32)
    to_int8(str(tmp_path / "fp32.onnx"), str(tmp_path / "int8.onnx"), "x", iter([batch]), 8)
    tensors = {t.name: t.data_type for t in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    quantised = [name for name, kind in tensors.items() if name.startswith("w") and kind == onnx.TensorProto.INT8]
    assert [name[:2] for name in quantised if "quantized" in name] == ["w2"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"max_drop": 0},
            r"to lose at most 0 points of mIoU in onnxruntime, got [\d.]+ \(100.00% before, .*--max_drop",
        ),
        (
            {"min_gain": 1000},
            r"at least 1000 times as fast as fp32 in onnxruntime, got [\d.]+ ms in fp32, .*--min_gain",
        ),
    ],
)
@pytest.mark.slow
@needs_converter
def test_refused_where_it_loses_too_much_or_gains_too_little(limits, message, model, tmp_path):
    (tmp_path / "images").mkdir()
    wanted = quantization(model, tmp_path / "images", **limits)
    with pytest.raises(InputError, match=message):
        export_model(model, str(tmp_path / "out"), PREPROCESSING, precision="int8", quantization=wanted)
    assert os.listdir(tmp_path) == ["images"]


def test_what_was_measured_is_stated_for_each_backend(base, model, tmp_path, capsys):
    """The agreement that is asked for lies below what was measured."""
    section = add_int8(base, quantization(model, tmp_path)).int8
    shown = capsys.readouterr().out
    for backend, result in section.backends.items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{backend} int8: mIoU "))
        assert line.startswith(f"{backend} int8: mIoU {100 * result.miou:.2f}% on 8 images, ")
        worst = float(line.split("class, ")[1].split("%")[0]) / 100
        assert worst - int8.LARGEST_MARGIN - 1e-3 <= result.agreement < worst
        assert re.search(rf"{backend}: [\d.]+ ms in fp32, [\d.]+ in INT8, [\d.]+ times as fast", shown)


def test_backend_in_which_it_loses_too_much_is_left_out(base, model, tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino")
    true_scores = int8._Networks.scores

    def worse_in_openvino(networks, dataset):
        scores = true_scores(networks, dataset)
        scores["openvino_runtime", "int8"] = dataclasses.replace(scores["openvino_runtime", "int8"], miou=0.4)
        return scores

    monkeypatch.setattr(int8._Networks, "scores", worse_in_openvino)
    section = add_int8(base, quantization(model, tmp_path, max_drop=50)).int8
    assert list(section.backends) == ["onnxruntime"]
    assert "left out: expected INT8 to lose at most 50 points of mIoU in openvino_runtime" in capsys.readouterr().out


@pytest.mark.parametrize(("worst", "expected"), [(0.98, 0.96), (0.99, 0.98), (0.8, 0.75), (1.0, 1.0)])
def test_tolerance(worst, expected):
    assert int8._tolerance(worst) == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def config(model, tmp_path, monkeypatch):
    """A config of the tiny network, its weights and its dataset, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    make_dataset(model, tmp_path / "images")
    content = tiny_config(tmp_path / "images", num_classes=7)
    for part, name in (("train_dataset", "train_path"), ("val_dataset", "val_path")):
        content[part][name] = str(tmp_path / "images" / "val.txt")
    write_config("config.yml", content)
    from paddle_rtseg import create_model

    arguments = dict(content["model"])
    paddle.seed(5)
    paddle.save(create_model(arguments.pop("type"), **arguments).state_dict(), "weights.pdparams")
    return tmp_path


def export(*arguments):
    flags = ("--device", "cpu", "--config", "config.yml", "--model_path", "weights.pdparams", "--save_dir", "out")
    return run_command("export", *flags, *arguments)


def dataset_of(folder, names):
    lines = [f"{os.path.basename(path)} label.png\n" for path in make_images(folder)]
    (folder / "list.txt").write_text("".join(lines))
    (folder / "data.yml").write_text(
        yaml.safe_dump({"path": ".", "train": "list.txt", "val": "list.txt", "names": names})
    )
    return folder / "data.yml"


@pytest.mark.slow
@needs_converter
def test_command(config, tmp_path, capsys):
    (tmp_path / "calibration").mkdir()
    file = dataset_of(tmp_path / "calibration", list("abcdefg"))
    export("--precision", "int8", "--calibration", file, "--max_drop", 100, "--min_gain", 0, "--output_op", "logits")
    assert "calibrated with 8 images" in capsys.readouterr().out
    predictor = Predictor("out", backend="onnxruntime", precision="int8")
    assert predictor.verify().passed and predictor.contract.int8.images == 8
    with open("out/deploy.yaml") as f:
        sums = yaml.safe_load(f)["rtseg"]["sha256"]
    assert set(predictor.contract.int8.files()) <= set(sums)


def few(folder):
    make_images(folder, 3)
    return folder


def unreadable(folder):
    for path in make_images(folder)[:1]:
        os.truncate(path, 500)
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (few, "expected at least 8 images to calibrate with, got 3 in "),
        (unreadable, r"0\.png"),
        (lambda folder: dataset_of(folder, ["sky", "road"]), "the network's 7 classes to calibrate with, got 2 in "),
        (lambda folder: folder, "expected images .* got none"),
        (lambda folder: folder / "missing", "expected an image .* or a folder, got "),
        (lambda folder: folder / "missing.yml", r"missing\.yml"),
    ],
    ids=["few", "unreadable", "other classes", "empty", "missing", "missing dataset"],
)
@needs_converter
def test_bad_calibration_leaves_nothing(make, message, config, tmp_path):
    (tmp_path / "calibration").mkdir()
    with pytest.raises(InputError, match=message) as raised:
        export("--precision", "int8", "--calibration", make(tmp_path / "calibration"))
    assert "\n" not in str(raised.value)
    assert not os.path.exists("out")


@pytest.mark.parametrize("flag", ["--calibration", "--samples", "--max_drop", "--min_gain", "--weight_bits"])
def test_flags_of_int8_alone(flag, config):
    with pytest.raises(InputError, match=f"expected --precision int8 with {flag}, got fp32; add it"):
        export(flag, 8)
    assert not os.path.exists("out")


def test_quantization_goes_with_int8(model, tmp_path):
    with pytest.raises(InputError, match="expected a Quantization for precision 'int8'"):
        export_model(
            model, str(tmp_path / "out"), PREPROCESSING, precision="fp32", quantization=int8.Quantization([], None)
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="Paddle 2 is named first")
@needs_converter
def test_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    assert obstacle("int8") == 'INT8 needs ml_dtypes, which is not installed; pip install "paddle_rtseg[quant]"'
    assert obstacle("fp16") is None
