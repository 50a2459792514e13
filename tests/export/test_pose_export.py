"""Exports of networks for poses: heatmaps as published, the pose from the config, and what contradicts it."""

import json
import pathlib

import numpy as np
import paddle
import pytest
from comparing import zip_strict
from rtseg_inference import InputError, PosePredictor
from rtseg_inference.contract import Preprocessing, Resize, read_contract
from rtseg_inference.selection import load_model
from tiny_configs import run_command
from tiny_models import TINY_MIT
from tiny_pose import PREPROCESSING, SIZE, SKELETON, dots, pose

import paddle_rtseg
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.export.pose import from_dataset, pose_of
from paddle_rtseg.models.mix_transformer import MixTransformer
from paddle_rtseg.models.segformer_pp_pose import SegFormerPPPose
from paddle_rtseg.weights import convert, load_weights

REFERENCE = pathlib.Path(__file__).parents[1] / "fixtures" / "segformerpp_pose_tiny.npz"
OLD = paddle.__version__.startswith("2.")


def test_pose_of_a_config():
    found, preprocessing = from_dataset({"type": "CocoKeypoints", "skeleton": "lsp", "input_size": [96, 128]}, "dark")
    assert found.input_size == (96, 128) and found.decode == "dark" and found.flip_test and found.padding == 1.25
    assert len(found.keypoints) == 14 and found.flip_indices[0] == 5 and len(found.sigmas) == 14
    assert preprocessing == Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert from_dataset({"type": "CocoKeypoints"}, "none")[0].input_size == (288, 384)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_size": (48, 62)}, "multiples of 4"),
        ({"input_size": 48}, "an input_size of width and height"),
        ({"skeleton": "cocoo"}, "did you mean 'coco'"),
        ({"decode": "half"}, "the decoding to be one of quarter, none, dark, got 'half'"),
    ],
)
def test_bad_poses(arguments, message):
    with pytest.raises(InputError, match=message):
        pose_of(**{"skeleton": "coco", **arguments})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"pose": pose_of("lsp", SIZE)}, "expected a network of 14 keypoints, as the skeleton has, got 3"),
        ({"output_op": "logits"}, "expected no output op for heatmaps"),
        ({"input_shape": [-1, 3, 64, 96]}, "expected an input shape of 64 x 48, as input_size has it, got 64 x 96"),
        (
            {"preprocessing": Preprocessing(resize=Resize("exact", height=64, width=48))},
            "expected persons to be cut out",
        ),
    ],
)
def test_what_contradicts_the_pose(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        export_model(dots(), str(tmp_path / "out"), **{"preprocessing": PREPROCESSING, "pose": pose(), **arguments})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"raw_input": True}, {"input_shape": [2, 3, 64, 48]}, {"format": "pdmodel"}])
def test_same_keypoints_in_every_form(options, exported_pose, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    boxes = [[5, 5, 60, 80], [30, 10, 110, 85], [0, 0, 120, 90]]
    expected = PosePredictor(exported_pose, backend="native").predict(image, boxes).persons
    folder = export_model(dots(), str(tmp_path / "out"), PREPROCESSING, pose=pose(), onnx="no", **options)
    found = PosePredictor(folder, backend="native").predict(image, boxes).persons
    for person, known in zip_strict(found, expected):
        np.testing.assert_allclose(person.scores, known.scores, atol=1e-5)
        np.testing.assert_allclose(person.keypoints, known.keypoints, atol=1e-6)


def reference_network(mode):
    reference = dict(np.load(REFERENCE))
    state = convert({name[2:]: array for name, array in reference.items() if name.startswith("w/")}, "segformer")
    network = SegFormerPPPose(6, MixTransformer(**TINY_MIT, norm_eps=1e-6, token_merging=mode), head_channels=32)
    load_weights(network, state)
    return reference, network


@pytest.mark.slow
@pytest.mark.parametrize("mode, stored", [(None, "orig"), ("hq", "hq"), ("fast", "fast"), ("2x2", "n2x2")])
def test_heatmaps_of_the_published_code(mode, stored, tmp_path):
    """In every backend that is installed here, within 1e-4 of the largest value."""
    reference, network = reference_network(mode)
    names = list("abcdef")
    skeleton = {"names": names, "flip_pairs": [["a", "b"]]}
    folder = export_model(network, str(tmp_path / "out"), PREPROCESSING, pose=pose_of(skeleton, (192, 256)))
    x, expected = reference["x/1x256x192"].astype("float32"), reference[f"y/{stored}/1x256x192"]
    backends = ["native", "onednn"]
    if read_contract(folder).onnx is not None:
        backends += [name for name in ("onnxruntime", "openvino_runtime") if _installed(name)]
    assert OLD or len(backends) > 2 or not _installed("onnxruntime")
    for backend in backends:
        predictor = load_model(folder, backend=backend)
        found = predictor.runtime.run(x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max(), err_msg=backend)
        assert predictor.verify().passed


def _installed(backend):
    import importlib.util

    packages = {"onnxruntime": ("onnxruntime", "paddle2onnx"), "openvino_runtime": ("openvino", "paddle2onnx")}
    return all(importlib.util.find_spec(name) for name in packages[backend])


@pytest.mark.slow
def test_command(tmp_path, monkeypatch, capsys):
    """From a config, without its data."""
    monkeypatch.chdir(tmp_path)
    dataset = "type: CocoKeypoints, annotations: no.json, images: nowhere, input_size: [48, 64], flip_test: false, "
    dataset += f"skeleton: {json.dumps(SKELETON)}"
    backbone = "{type: MiT_B0, embed_dims: [8, 16, 40, 64], depths: [1, 1, 1, 1]}"
    pathlib.Path("config.yml").write_text(
        f"""batch_size: 2
iters: 4
model: {{type: SegFormerPPPose, num_keypoints: 3, head_channels: 16, backbone: {backbone}}}
train_dataset: {{{dataset}, mode: train}}
val_dataset: {{{dataset}, mode: val}}
loss: {{types: [{{type: HeatmapMSELoss}}], coef: [100]}}
optimizer: {{type: AdamW}}
lr_scheduler: {{type: PolynomialDecay, learning_rate: 0.005}}
"""
    )
    backbone = {"type": "MiT_B0", "embed_dims": [8, 16, 40, 64], "depths": [1, 1, 1, 1]}
    model = paddle_rtseg.create_model("SegFormerPPPose", num_keypoints=3, head_channels=16, backbone=backbone)
    paddle.save(model.state_dict(), "w.pdparams")
    run_command(
        "export", "--device", "cpu", "--config", "config.yml", "--model_path", "w.pdparams", "--save_dir", "out",
        "--decode", "dark",
    )  # fmt: skip
    found = read_contract("out").pose
    assert (found.input_size, found.decode, found.flip_test, found.keypoints) == (
        (48, 64),
        "dark",
        False,
        ("red", "green", "blue"),
    )
    assert PosePredictor("out", backend="native").verify().passed
