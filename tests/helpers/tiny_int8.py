"""The tiny network in INT8, and small datasets to calibrate it with and to measure it on."""

import dataclasses

import cv2
import numpy as np
import pytest
from paddleseg.datasets import Dataset
from rtseg_inference.contract import load, parse, read_contract, sha256, write_contract
from tiny_network import FRAMES, dygraph_logits
from tiny_onnx import export_with_onnx

SIZE = (96, 128)


def skip_without_quantiser():
    """Skip a test where the packages of the extra quant are not installed."""
    for package in ("onnx", "onnxruntime", "ml_dtypes"):
        pytest.importorskip(package, reason="needs the packages of the extra quant")


def few_turns(patch):
    """Time few runs, one right after the other, by a monkeypatch."""
    patch.setattr("paddle_rtseg.export.int8.TURNS", 2)
    patch.setattr("paddle_rtseg.export.int8.REST", 0)


def make_images(folder, count=8):
    """Write images of streets, (96, 128), to a folder; returns their paths."""
    frame = cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[0]))
    height, width = SIZE
    paths = [str(folder / f"{i}.png") for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(path, frame[20 * i : 20 * i + height, 25 * i : 25 * i + width])
    return paths


def make_dataset(model, folder):
    """PaddleSeg's dataset of such images, whose labels are what the model makes of them."""
    lines = []
    for path in make_images(folder):
        label = path.replace(".png", "_label.png")
        cv2.imwrite(label, dygraph_logits(model, [cv2.imread(path)])[0].argmax(axis=0).astype(np.uint8))
        lines.append(f"{path} {label}\n")
    (folder / "val.txt").write_text("".join(lines))
    return Dataset("val", str(folder), transforms=[], num_classes=7, val_path=str(folder / "val.txt"))


def quantization(model, folder, **limits):
    """How the tiny network is quantised in a test: any gain and any drop will do."""
    from paddle_rtseg.export.int8 import Quantization

    dataset = make_dataset(model, folder)
    images = [image for image, _ in dataset.file_list]
    return Quantization(images, dataset, **{"max_drop": 100, "min_gain": 0, **limits})


def export_in_int8(model, folder, **limits):
    """Export the tiny network's logits with its ONNX forms, INT8's among them; returns the folder."""
    from paddle_rtseg.export.int8 import add_int8

    contract = read_contract(export_with_onnx(model, folder / "model"))
    (folder / "images").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        few_turns(patch)
        contract = add_int8(contract, quantization(model, folder / "images", **limits))
    names = [name for name in contract.int8.files() if name not in contract.sha256]
    sums = {**contract.sha256, **{name: sha256(contract.path(name)) for name in names}}
    write_contract(dataclasses.replace(contract, sha256=sums), {})
    return contract.folder


def rewrite(folder, **changes):
    """Change the int8 section, and give all its files the checksums that they have."""
    found = parse(load(str(folder)), str(folder))
    int8 = dataclasses.replace(found.int8, **changes)
    sums = {**found.sha256, **{name: sha256(found.path(name)) for name in int8.files()}}
    write_contract(dataclasses.replace(found, int8=int8, sha256=sums), {})


def spoil_weights(path):
    """Weights of the INT8 convolution that are no longer those of the network."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
    onnx.save(model, path)
