"""The exported network computes the same as the model, and the folder is written atomically."""

import dataclasses
import os

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from comparing import zip_strict
from paddle import nn
from rtseg_inference import Predictor, fastest
from rtseg_inference.contract import Pad, Preprocessing, Resize
from tiny_models import TINY_MIT
from tiny_network import PREPROCESSING, Tiny, assert_same_mask, dygraph_logits, tiny

from paddle_rtseg import create_model
from paddle_rtseg.errors import InputError
from paddle_rtseg.export import exporter
from paddle_rtseg.export.exporter import export_model

OLD = paddle.__version__.startswith("2.")
OPS = ("argmax", "softmax", "none", "logits")


@pytest.mark.parametrize("backend", ["native", "onednn"])
@pytest.mark.parametrize("output_op", OPS)
def test_masks_equal_dygraph(output_op, backend, exported, model, frame):
    predictor = Predictor(exported[output_op], backend=backend)
    assert predictor.verify().passed
    assert_same_mask(predictor.predict(frame).mask, dygraph_logits(model, [frame])[0])


@pytest.mark.parametrize("output_op", OPS)
def test_batches_and_odd_sizes(output_op, exported, model, frame):
    predictor = Predictor(exported[output_op])
    for height, width, count in ((97, 131, 1), (64, 61, 3)):
        images = [cv2.resize(frame, (width, height))[:, :: 1 - 2 * (k % 2)].copy() for k in range(count)]
        for result, logits in zip_strict(predictor.predict(images), dygraph_logits(model, images)):
            assert_same_mask(result.mask, logits)


@pytest.mark.parametrize("output_op", ["softmax", "none", "logits"])
def test_scores_are_probabilities(output_op, exported, model, frame):
    result = Predictor(exported[output_op]).predict(frame)
    logits = dygraph_logits(model, [frame])[0].astype(np.float64)
    e = np.exp(logits - logits.max(axis=0))
    np.testing.assert_allclose(result.scores, e / e.sum(axis=0), atol=1e-4)


def test_argmax_has_no_scores(exported, frame):
    assert Predictor(exported["argmax"]).predict(frame).scores is None


@pytest.mark.parametrize("output_op", ["argmax", "logits"])
def test_raw_input(output_op, model, frame, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, output_op=output_op, raw_input=True)
    predictor = Predictor(folder)
    results = predictor.predict(np.stack([frame, frame[::-1]]))
    for result, logits in zip_strict(results, dygraph_logits(model, [frame, frame[::-1]])):
        assert_same_mask(result.mask, logits)


def test_raw_input_resized_by_the_graph(model, frame, tmp_path):
    preprocessing = dataclasses.replace(PREPROCESSING, resize=Resize("exact", height=96, width=160))
    folder = export_model(model, str(tmp_path), preprocessing, output_op="none", raw_input=True)
    result = Predictor(folder).predict(frame)
    small = cv2.resize(frame.astype(np.float32), (160, 96), interpolation=cv2.INTER_LINEAR)
    expected = dygraph_logits(model, [small])[0]
    np.testing.assert_allclose(result.output, expected, atol=1e-4 * np.abs(expected).max())
    assert result.mask.shape == frame.shape[:2]


def test_mask_has_the_size_of_the_image_after_resize_and_padding(model, frame, tmp_path):
    preprocessing = dataclasses.replace(PREPROCESSING, resize=Resize("long", size=160), pad=Pad(160, 192, 127.5))
    folder = export_model(model, str(tmp_path), preprocessing, output_op="none")
    padded = np.full((160, 192, 3), 127.5, np.float32)
    padded[:120, :160] = cv2.resize(frame.astype(np.float32), (160, 120), interpolation=cv2.INTER_LINEAR)
    logits = dygraph_logits(model, [padded])[0][:, :120, :160]
    full = np.stack([cv2.resize(plane, (480, 360), interpolation=cv2.INTER_LINEAR) for plane in logits])
    assert_same_mask(Predictor(folder).predict(frame).mask, full)


def test_fixed_size_and_free_batch(model, frame, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, input_shape=[-1, 3, 64, 96])
    predictor = Predictor(folder)
    image = cv2.resize(frame, (96, 64))
    assert len(predictor.predict([image] * 3)) == 3
    with pytest.raises(ValueError, match="1x3x360x480"):
        predictor.predict(frame)


def test_fixed_batch_is_filled_up(model, frame, tmp_path):
    folder = export_model(model, str(tmp_path), PREPROCESSING, input_shape=[2, 3, 64, 96])
    image = cv2.resize(frame, (96, 64))
    assert_same_mask(Predictor(folder).predict(image).mask, dygraph_logits(model, [image])[0])


def test_paddleseg_reads_the_folder(exported, frame):
    from paddleseg.deploy.infer import DeployConfig

    config = DeployConfig(os.path.join(exported["argmax"], "deploy.yaml"))
    assert os.path.isfile(config.model) and os.path.isfile(config.params)


@pytest.mark.slow
def test_models_of_paddleseg(frame, tmp_path):
    from paddleseg.models import FastSCNN

    paddle.seed(0)
    model = FastSCNN(5)
    with pytest.raises(InputError, match="does not provide its logits"):
        export_model(model, str(tmp_path), PREPROCESSING, output_op="logits")
    folder = export_model(model, str(tmp_path), PREPROCESSING)
    assert model.training
    model.eval()
    predictor = Predictor(folder)
    image = cv2.resize(frame, (224, 160))
    assert_same_mask(predictor.predict(image).mask, dygraph_logits(model, [image])[0])


def test_failed_check_leaves_no_files(model, tmp_path, monkeypatch):
    def other_weights(network, raw_input, shape, path):
        network = exporter.ExportedNetwork(tiny(), network.output_op)
        network.network.head.weight.set_value(network.network.head.weight * -1)
        network.eval()
        write(network, raw_input, shape, path)

    write = exporter._write_program
    monkeypatch.setattr(exporter, "_write_program", other_weights)
    with pytest.raises(InputError, match="does not compute what the model does"):
        export_model(model, str(tmp_path / "new"), PREPROCESSING)
    assert os.listdir(tmp_path) == []


def test_export_can_be_repeated(model, tmp_path):
    for _ in range(2):
        export_model(model, str(tmp_path), PREPROCESSING, output_op="logits")
    assert Predictor(str(tmp_path)).verify().passed
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_op": "median"}, "median"),
        ({"input_shape": [1, 3, 16, 64]}, "at least 32 x 32"),
        ({"input_shape": [1, 4, 64, 64]}, "N 3 H W"),
        ({"input_shape": [1000, 3, 1000, 1000]}, "an input of at most 100 megapixels, got"),
        ({"input_shape": [-1, 3, 10**6, 10**6]}, "an input of at most 100 megapixels, got"),
        ({"format": "tflite"}, "tflite"),
        pytest.param({"format": "json"}, "cannot write json", marks=pytest.mark.skipif(not OLD, reason="it can")),
    ],
)
def test_bad_arguments(model, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        export_model(model, str(tmp_path / "model"), PREPROCESSING, **arguments)
    assert not (tmp_path / "model").exists()


class ManyFunctions(Tiny):
    """Uses every function that Paddle 3 implements only for its new program form and that pdmodel.py replaces."""

    def low_resolution_logits(self, x):
        x = self.body(x)
        a = F.gelu(x) + F.gelu(x, approximate=True) + F.sigmoid(x) + paddle.tanh(x)
        b = paddle.exp(-paddle.abs(x)) + paddle.sqrt(x + 1) + paddle.rsqrt(x + 1) + paddle.log(x + 1) + paddle.floor(x)
        c = paddle.maximum(a, b) + paddle.minimum(a, x) + paddle.multiply(a, b)
        d = paddle.logical_or(paddle.logical_and(a > b, paddle.greater_than(b, x)), x > 1)
        rows = c.flatten(2).transpose([0, 2, 1])  # (B, C, h, w) -> (B, N, C)
        e = paddle.matmul(rows, paddle.matmul(rows, rows, transpose_x=True)) / (rows.sum(axis=1, keepdim=True) + 1)
        e = e + paddle.sum(rows, axis=[1, 2], keepdim=True) / (paddle.sum(rows) + 1)
        f = paddle.argmax(rows, axis=2, keepdim=True).astype("float32")
        # (B, N, C) -> (B, C, h, w); the batch is the only free size, since h and w are fixed
        g = (e + f).transpose([0, 2, 1]).reshape([-1, 16, *x.shape[2:]])
        return [self.head(c + 0.1 * g + d.astype("float32"))]


@pytest.mark.slow
def test_pdmodel_from_any_paddle(frame, tmp_path):
    paddle.seed(0)
    model = ManyFunctions()
    model.eval()
    for output_op in ("argmax", "none"):
        folder = export_model(
            model, str(tmp_path / output_op), PREPROCESSING, [-1, 3, 64, 96], output_op, format="pdmodel"
        )
        predictor = Predictor(folder, backend="native")
        assert predictor.contract.program_format == "pdmodel"
        image = cv2.resize(frame, (96, 64))
        assert_same_mask(predictor.predict(image).mask, dygraph_logits(model, [image])[0])
    before = paddle.sum(paddle.ones([3])).item()  # Paddle is restored
    assert before == 3 and export_model(tiny(), str(tmp_path / "usual"), PREPROCESSING)
    assert Predictor(str(tmp_path / "usual")).contract.program_format == ("pdmodel" if OLD else "json")


@pytest.mark.skipif(OLD, reason="Paddle 2 writes all of its functions in this form")
def test_function_without_pdmodel_form_is_named(tmp_path):
    class Other(Tiny):
        def low_resolution_logits(self, x):
            x = self.body(x)
            return [self.head(x + paddle.logsumexp(x, axis=1, keepdim=True))]

    model = Other()
    model.eval()
    with pytest.raises(InputError, match=r"cannot write Other as pdmodel .*logsumexp.* with Paddle 2\.6\.2 or 3\.0\.0"):
        export_model(model, str(tmp_path), PREPROCESSING, format="pdmodel")
    assert os.listdir(tmp_path) == []


class OneSize(Tiny):
    fixed_size_reason = "its tables are made for one size"


def test_fixed_size_network_gives_its_reason(tmp_path):
    with pytest.raises(InputError, match="its tables are made for one size; give --input_shape"):
        export_model(OneSize(), str(tmp_path), PREPROCESSING)


@pytest.mark.parametrize(
    "rules", [{"resize": Resize("exact", height=64, width=96)}, {"pad": Pad(height=64, width=96, value=127.5)}]
)
def test_fixed_size_network_takes_the_size_of_its_preprocessing(rules, tmp_path):
    preprocessing = dataclasses.replace(PREPROCESSING, **rules)
    folder = export_model(OneSize(), str(tmp_path), preprocessing, onnx="no")
    assert Predictor(folder).contract.input.shape.max == (-1, 3, 64, 96)


def test_backbone_gives_its_reason(tmp_path):
    """PaddleSeg's networks do not pass on what our backbones say of themselves."""
    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": "hq"}
    network = create_model("SegFormer", num_classes=3, embedding_dim=8, backbone=backbone)
    with pytest.raises(InputError, match=r"free height and width: bsm token merging .*; give --input_shape -1 3 H W"):
        export_model(network, str(tmp_path), PREPROCESSING)
    with pytest.raises(InputError, match=r"SegFormer takes images of at least 97 x 97 pixels, got .* 64 x 96"):
        export_model(network, str(tmp_path), PREPROCESSING, input_shape=[-1, 3, 64, 96])


class Picky(nn.Layer):
    """Refuses a free size while it is traced, as a network of somebody else may."""

    def forward(self, x):
        check_size(x)
        return [x]


@paddle.jit.not_to_static
def check_size(x):
    if x.shape[2] < 0:
        raise InputError("the height has to be known")


def test_reason_of_another_network_reaches_the_user(tmp_path):
    with pytest.raises(InputError, match=r"Picky cannot be .* width \(the height has to be known\); fix them"):
        export_model(Picky(), str(tmp_path), PREPROCESSING)


def test_unwritable_folder(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder that can be written"):
        export_model(model, str(tmp_path / "file"), PREPROCESSING)


class FourAxes(Tiny):
    """Multiplies 4-D matrices straight after convolutions, which oneDNN in Paddle 2.6 and 3.3 silently gets wrong."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Conv2D(16, 16, 1), nn.Conv2D(16, 16, 1)

    def low_resolution_logits(self, x):
        x = self.body(x)
        mixed = paddle.matmul(paddle.matmul(self.query(x), self.key(x), transpose_y=True), x)
        return [self.head(x + 0.05 * mixed)]


def test_wrong_backend_is_never_used(frame, tmp_path):
    paddle.seed(5)
    model = FourAxes()
    model.eval()
    folder = export_model(model, str(tmp_path), PREPROCESSING, output_op="logits")
    assert not Predictor(folder, backend="onednn").verify().passed
    predictor, trials = fastest(folder, image=frame)
    assert [t.milliseconds is None for t in trials if "onednn" in t.name] == [True]
    assert predictor.configuration.backend != "onednn"
    assert_same_mask(predictor.predict(frame).mask, dygraph_logits(model, [frame])[0])


@pytest.mark.slow
def test_network_without_free_batch(tmp_path):
    network = create_model("RTFormer", num_classes=3, base_channels=8, spp_channels=8, head_channels=8)
    with pytest.raises(InputError, match="RTFormer cannot be exported with a free batch"):
        export_model(network, str(tmp_path / "model"), Preprocessing())
    assert os.listdir(tmp_path) == []
