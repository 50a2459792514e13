"""A matching that is held over frames: against the network in dygraph whose merging is that of an earlier frame."""

import sys

import cv2
import numpy as np
import paddle
import pytest
from comparing import zip_strict
from rtseg_inference import InputError, Predictor, cli
from rtseg_inference.held_matching import holding
from rtseg_inference.video import Clip
from tiny_models import TINY_MIT
from tiny_network import PREPROCESSING, normalised, tiny

from paddle_rtseg import create_model
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.models import merging_schedule

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        paddle.__version__.startswith("2."), reason="ONNX needs Paddle 3, from which paddle2onnx converts"
    ),
]
SIZE = (128, 192)
FLAGS = ["--backend", "onnxruntime", "--fit", "resize", "--save_dir"]


@pytest.fixture(scope="module", params=["hq", "fast", {"schedule": "hq", "match_every": 2, "proportional": True}])
def model(request):
    paddle.seed(0)
    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": request.param}
    model = create_model("SegFormerPP", num_classes=5, head_channels=16, backbone=backbone)
    for name, value in model.named_parameters():
        if ".attn." in name and name.endswith(("q.weight", "kv.weight", "proj.weight")):
            value.set_value(20 * value)  # else attention, and with it merging, adds next to nothing
    model.eval()
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    save_dir = str(tmp_path_factory.mktemp("held"))
    return export_model(model, save_dir, PREPROCESSING, [1, 3, *SIZE], "logits", format="onnx")


@pytest.fixture(scope="module")
def frames():
    """Frames that have little in common."""
    random = np.random.default_rng(0)
    return [cv2.resize(random.integers(0, 256, (8, 12, 3)).astype(np.uint8), SIZE[::-1]) for _ in range(5)]


@pytest.fixture
def merge_as(monkeypatch):
    """Switch how images are merged: "usual"; "remember" what merges; or "before", as in the last one remembered."""
    matching, remembered, waiting = merging_schedule.bipartite_soft_matching, [], []
    mode = "usual"

    def replacement(*arguments):
        if mode == "before":
            return waiting.pop(0)
        remembered.append(matching(*arguments))
        return remembered[-1]

    def switch(wanted):
        nonlocal mode
        mode = wanted
        waiting[:] = remembered
        if mode == "remember":
            remembered.clear()

    monkeypatch.setattr(merging_schedule, "bipartite_soft_matching", replacement)
    return switch


def low_resolution(model, frame):
    with paddle.no_grad():
        return model.low_resolution_logits(paddle.to_tensor(normalised([frame])))[0].numpy()[0]


def test_outputs_are_those_of_an_earlier_matching(model, folder, frames, merge_as):
    usual = [low_resolution(model, frame) for frame in frames]
    predictor, held = holding(Predictor(folder, backend="onnxruntime"), frames=3)
    for number, frame in enumerate(frames):
        (output,) = predictor.run([frame])[0]
        fresh = number % 3 == 0
        assert held.fresh == fresh
        merge_as("remember" if fresh else "before")
        expected = low_resolution(model, frame)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-4 * scale)
        difference = np.abs(output - usual[number]).max()
        assert difference < 1e-4 * scale if fresh else difference > 1e-2 * scale


def test_nothing_is_matched_while_it_is_held(folder, frames, monkeypatch):
    """The graph that takes a matching in has no operator that finds one."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    graphs, session = [], onnxruntime.InferenceSession
    predictor = Predictor(folder, backend="onnxruntime")
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda graph, *a, **k: graphs.append(graph) or session(graph, *a, **k)
    )
    holding(predictor, frames=2)
    operators = [{node.op_type for node in onnx.load_from_string(graph).graph.node} for graph in graphs]
    assert {"ArgMax", "TopK"} <= operators[0]
    assert not {"ArgMax", "TopK", "ScatterElements"} & operators[1]


def test_clip_matches_again_when_the_picture_has_changed(folder, frames):
    predictor = Predictor(folder, backend="onnxruntime")
    still = frames[0].copy()
    half = still.copy()
    half[:, : SIZE[1] // 2] ^= 128
    clip = Clip(predictor, hold=100, change=0.4)
    matched = []
    for image in (still, still, still, half, half, still, frames[1]):
        (result,) = clip.predict([image])
        matched.append(clip.matched)
        if matched[-1:] != matched[-2:-1]:
            np.testing.assert_allclose(result.output, predictor.predict(image).output, rtol=1e-4, atol=1e-4)
    assert matched == [1, 1, 1, 2, 2, 3, 4]
    for hold, change, expected in ((100, 0.6, 2), (2, 1, 3), (100, 1, 1)):
        clip = Clip(predictor, hold=hold, change=change)
        assert len(clip.predict([still, half, still, frames[1], frames[1]])) == 5
        assert clip.matched == expected


def test_command(folder, frames, tmp_path, capsys):
    video = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*"MJPG"), 5, SIZE[::-1])
    for frame in [frames[0]] * 3 + [frames[1]] * 2:
        writer.write(frame)
    writer.release()
    arguments = ["--model", folder, "--input", video, *FLAGS]
    assert cli.run([*arguments, str(tmp_path / "every")]) == 0
    assert "matched" not in capsys.readouterr().out
    assert cli.run([*arguments, str(tmp_path / "held"), "--hold_matching", "3"]) == 0
    assert "matched tokens in 2 of 5 frames" in capsys.readouterr().out
    every, held = (sorted((tmp_path / name / "masks").rglob("*.png")) for name in ("every", "held"))
    assert len(held) == 5
    for one, other in zip_strict(every, held):
        assert (cv2.imread(str(one)) == cv2.imread(str(other))).mean() > 0.99


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--backend", "native", "--fit", "resize"], "got native on the CPU"),
        (["--fit", "resize"], "got auto on the CPU"),
        (["--backend", "onnxruntime"], "got tiles"),
    ],
)
def test_refusals_before_anything_is_written(folder, tmp_path, capsys, flags, words):
    video = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*"MJPG"), 5, SIZE[::-1])
    writer.write(np.zeros((*SIZE, 3), np.uint8))
    writer.release()
    save_dir = tmp_path / "out"
    assert (
        cli.run(["--model", folder, "--input", video, "--save_dir", str(save_dir), "--hold_matching", "2", *flags]) == 2
    )
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1 and not save_dir.exists()


def test_networks_without_matching(tmp_path):
    folder = export_model(tiny(), str(tmp_path), PREPROCESSING, [1, 3, 32, 32], "argmax", format="onnx")
    with pytest.raises(InputError, match="expected a network that matches tokens with --hold_matching"):
        holding(Predictor(folder, backend="onnxruntime"), 2)


def test_without_the_package(folder, monkeypatch):
    predictor = Predictor(folder, backend="onnxruntime")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx"):
        holding(predictor, 2)
