"""The inference command on good and bad images, folders and videos."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace

import cv2
import numpy as np
import paddle
import pytest
from processes import python
from rtseg_inference import InputError, Predictor, cli, contract, fastest, gpu, media
from rtseg_inference.drawing import Style, overlay
from rtseg_inference.predictor import to_mask
from rtseg_inference.preprocess import Preprocessor
from rtseg_inference.progress import Line, watched
from tiny_network import FRAMES, PREPROCESSING, assert_same_mask, dygraph_logits

from paddle_rtseg.export.exporter import export_model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    first, second, third = sorted(FRAMES.glob("*.jpg"))[:3]
    shutil.copy(first, folder / "a.jpg")
    shutil.copy(second, folder / "c.jpg")
    shutil.copy(third, folder / "below" / "d.jpg")
    return folder


def written(folder):
    return sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, files in os.walk(folder) for f in files)


def infer(model, source, out, *arguments):
    return cli.run(
        ["--model", model, "--input", str(source), "--save_dir", str(out), "--backend", "native", *arguments]
    )


@pytest.mark.parametrize("output_op", ["argmax", "logits"])
def test_masks_of_a_folder_equal_dygraph(output_op, exported, model, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert infer(exported[output_op], photos, out) == 0
    names = ["a", "c", os.path.join("below", "d")]
    assert written(out) == sorted(
        [os.path.join("masks", n + ".png") for n in names] + [os.path.join("overlays", n + ".jpg") for n in names]
    )
    for name in names:
        image = cv2.imread(str(photos / (name + ".jpg")))
        mask = cv2.imread(str(out / "masks" / (name + ".png")), cv2.IMREAD_UNCHANGED)
        assert_same_mask(mask, dygraph_logits(model, [image])[0])
    shown = capsys.readouterr().out
    assert "using cpu native fp32" in shown and "3 written" in shown and "p99" in shown


def test_overlay_blends_image_and_class_colours(exported, frame):
    predictor = Predictor(exported["logits"])
    result = predictor.predict(frame)
    k = result.mask[100, 200]
    expected = (np.float64(predictor.contract.palette[k])[::-1] + frame[100, 200]) / 2
    assert np.abs(result.overlay()[100, 200] - expected).max() <= 0.5


def test_corrupt_images_are_skipped_and_counted(exported, photos, tmp_path, capsys):
    whole = (photos / "a.jpg").read_bytes()
    (photos / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").write_bytes(b"")
    out = tmp_path / "out"
    assert infer(exported["argmax"], photos, out, "--write", "masks") == 1
    assert written(out) == [os.path.join("masks", n) for n in ("a.png", "below/d.png", "c.png")]
    shown = capsys.readouterr()
    assert "skipped b: " in shown.err and "skipped empty: " in shown.err and "3 written" in shown.out
    assert "2 failed" in shown.out


def test_batches_of_images_of_several_sizes(exported, model, photos, tmp_path):
    image = cv2.imread(str(photos / "a.jpg"))
    cv2.imwrite(str(photos / "b.png"), image[:100, :131])
    cv2.imwrite(str(photos / "small.png"), image[:20, :20])
    out = tmp_path / "out"
    assert infer(exported["logits"], photos, out, "--batch_size", "2", "--write", "masks") == 1  # one is too small
    assert written(out) == [os.path.join("masks", n) for n in ("a.png", "b.png", "below/d.png", "c.png")]
    mask = cv2.imread(str(out / "masks" / "b.png"), cv2.IMREAD_UNCHANGED)
    assert_same_mask(mask, dygraph_logits(model, [image[:100, :131]])[0])


def test_files_that_differ_only_in_extension(exported, photos, tmp_path):
    cv2.imwrite(str(photos / "a.png"), cv2.imread(str(photos / "a.jpg")))
    out = tmp_path / "out"
    assert infer(exported["argmax"], photos, out, "--write", "masks") == 0
    assert os.path.join("masks", "a.png.png") in written(out) and os.path.join("masks", "a.jpg.png") in written(out)


def test_results_are_not_segmented(exported, photos, tmp_path, capsys):
    """Neither inside the folder of images, nor where that is the folder of results; other files there are counted."""
    (photos / "notes.txt").write_text("")
    for out in (photos, photos / "out"):
        for _ in range(2):
            assert infer(exported["argmax"], photos, out) == 0
            shown = capsys.readouterr().out
            assert "3 written" in shown and "\nnot taken: 1 .txt\n" in shown
        shutil.rmtree(photos / "masks", ignore_errors=True)
        shutil.rmtree(photos / "overlays", ignore_errors=True)
    assert infer(exported["argmax"], photos / "out" / "masks", photos / "out") == 2
    assert "expected images other than the results in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        ({"rule": "short", "size": 540}, (2, 3000)),  # becomes 540 x 810,000
        ({"rule": "long", "size": 100}, (1, 3000)),  # becomes nothing
        ({"rule": "exact", "height": 20000, "width": 20000}, (4, 4)),
    ],
)
def test_image_that_becomes_too_large_or_nothing_is_skipped(rule, size, exported):
    """Before it is resized."""
    predictor = Predictor(exported["logits"], backend="native")
    resize = contract.Resize(**rule)
    changed = replace(predictor.contract, preprocess=replace(predictor.contract.preprocess, resize=resize))
    predictor.preprocess = Preprocessor(changed)
    frame = media.Frame("thin", np.zeros((*size, 3), np.uint8))
    ((_, reason),) = cli.predict(predictor, [frame])
    assert "expected an image that the model resizes and pads to 1 to 100 million pixels, got " in reason


def test_memory_that_is_not_there_costs_one_image(exported, monkeypatch):
    def fail(*_):
        raise error

    predictor = Predictor(exported["logits"], backend="native")
    monkeypatch.setattr(predictor, "preprocess", fail)
    for error in (MemoryError("Unable to allocate 9 GiB"), cv2.error("Insufficient memory")):
        ((_, reason),) = cli.predict(predictor, [media.Frame("large", np.zeros((4, 4, 3), np.uint8))])
        assert reason == f"cannot be segmented ({error}); shrink it"


def test_large_images_are_alone_in_memory(exported, tmp_path, monkeypatch):
    """The next is decoded when the one before has been written."""
    monkeypatch.setattr(media, "WAITING_PIXELS", 4000)
    seen, alive = [], []

    def decoded():
        alive.append(sum(image() is not None for image in seen))
        image = np.zeros((64, 64, 3), np.uint8)
        seen.append(weakref.ref(image))
        return image

    frames = media.prefetched(media.Frame(str(k), decoded()) for k in range(4))
    with media.Writer(str(tmp_path), ["masks"], None) as writer:
        assert cli.segment(Predictor(exported["logits"], backend="native"), frames, writer, 1, cli.Progress(4)) == 0
    assert alive == [0, 0, 0, 0] and len(written(tmp_path)) == 4


def make_video(path, frames, size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, size)
    pixels = np.random.RandomState(0)
    for _ in range(frames):
        writer.write(pixels.randint(0, 256, (size[1], size[0], 3), np.uint8))
    writer.release()


def test_video(exported, tmp_path):
    make_video(tmp_path / "drive.avi", 8)
    out = tmp_path / "out"
    assert infer(exported["logits"], tmp_path / "drive.avi", out) == 0
    assert written(out) == [f"masks/drive/{k:06d}.png" for k in range(8)] + ["overlays/drive.mp4"]
    video = cv2.VideoCapture(str(out / "overlays" / "drive.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 12.5 and video.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_video_of_odd_size(exported, frame, tmp_path):
    """The codec takes even sizes: the last row and column of the overlay are there twice."""
    result = Predictor(exported["logits"]).predict(frame[:49, :65])
    with media.Writer(str(tmp_path), ["overlays"], 25.0, Style(legend=False)) as writer:
        writer.write("drive/000000", result)
    read, image = cv2.VideoCapture(str(tmp_path / "overlays" / "drive.mp4")).read()
    assert read and image.shape == (50, 66, 3)
    assert np.abs(image[:49, :65].astype(int) - result.overlay()).mean() < 15


def test_video_has_one_legend(exported, frame, tmp_path):
    """Its height is that of all classes, whichever are in a frame."""
    result = Predictor(exported["logits"]).predict(np.ascontiguousarray(frame[:200, :320]))
    names, palette = result.contract.classes, result.contract.palette
    expected = overlay(result.image, result.mask, names, palette, Style(), every_class=True)
    with media.Writer(str(tmp_path), ["overlays"], 25.0) as writer:
        writer.write("drive/000000", replace(result, mask=result.mask * 0))
        writer.write("drive/000001", result)
    video = cv2.VideoCapture(str(tmp_path / "overlays" / "drive.mp4"))
    frames = [video.read()[1] for _ in range(2)]
    assert all(len(shown) == len(expected) + len(expected) % 2 > 220 for shown in frames)
    assert all(np.abs(shown[200:220] - expected[200:220].astype(int)).mean() < 15 for shown in frames)


def test_styles_of_overlays(exported, photos, tmp_path):
    flags = ["--alpha", "1", "--outlines", "--clear", "3", "--no_legend", "--write", "overlays"]
    assert infer(exported["logits"], photos / "a.jpg", tmp_path, *flags) == 0
    result = Predictor(exported["logits"], backend="native").predict(photos / "a.jpg")
    expected = cv2.imencode(".jpg", result.overlay(alpha=1, outlines=True, clear="3"))[1]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "overlays" / "a.jpg")), cv2.imdecode(expected, 1))


def test_clear_class_that_is_not_there(exported, photos, tmp_path, capsys):
    assert infer(exported["logits"], photos, tmp_path / "out", "--clear", "sky") == 2
    assert capsys.readouterr().err.startswith("error: expected a class to leave clear, one of 7 (0, 1, 2, 3, 4, ...)")
    assert not (tmp_path / "out").exists()


def test_results_as_json(exported, photos, tmp_path):
    """COCO's file names are those within the input folder, also where an image in between is broken."""
    (photos / "b.png").write_bytes(b"broken")
    out = tmp_path / "out"
    assert infer(exported["logits"], photos, out, "--write", "json,coco") == 1
    names = {"a.jpg": "a", "below/d.jpg": "below/d", "c.jpg": "c"}
    assert written(out) == ["coco.json", *(f"json/{name}.json" for name in names.values())]
    coco = json.loads((out / "coco.json").read_text())
    assert sorted(image["file_name"] for image in coco["images"]) == list(names)
    assert [image["id"] for image in coco["images"]] == [1, 2, 3]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
    predictor = Predictor(exported["logits"], backend="native")
    for file, name in names.items():
        result = predictor.predict(photos / file)
        assert json.loads((out / "json" / f"{name}.json").read_text()) == result.areas()
        (image,) = (i["id"] for i in coco["images"] if i["file_name"] == file)
        areas = [a["area"] for a in coco["annotations"] if a["image_id"] == image]
        assert areas == [entry["pixels"] for entry in result.areas()["classes"]]


def test_results_of_class_ids_have_no_scores(exported, photos, tmp_path):
    assert infer(exported["argmax"], photos / "a.jpg", tmp_path, "--write", "json") == 0
    classes = json.loads((tmp_path / "json" / "a.json").read_text())["classes"]
    assert len(classes) > 1 and all(entry["score"] is None for entry in classes)


def test_json_of_a_video(exported, tmp_path, capsys):
    make_video(tmp_path / "drive.avi", 2)
    out = tmp_path / "out"
    assert infer(exported["logits"], tmp_path / "drive.avi", out, "--write", "json") == 0
    assert written(out) == ["json/drive/000000.json", "json/drive/000001.json"]
    assert infer(exported["logits"], tmp_path / "drive.avi", tmp_path / "no", "--write", "coco") == 2
    assert "expected images with --write coco, got a video or camera; extract" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_video_whose_frames_are_too_large(exported, tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "drive.avi", 3, (1200, 1000))
    monkeypatch.setenv("RTSEG_MEGAPIXELS", "1")
    assert infer(exported["logits"], tmp_path / "drive.avi", tmp_path / "out") == 2
    assert "at most 1 megapixels" in capsys.readouterr().err


def test_video_is_a_regular_file(exported, tmp_path, capsys):
    os.mkfifo(tmp_path / "drive.mp4")
    assert infer(exported["logits"], tmp_path / "drive.mp4", tmp_path / "out") == 2
    assert "which is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("fps", [float("nan"), float("inf"), -1.0, 0.0, 5e-3])
def test_video_that_states_no_rate(fps, tmp_path, monkeypatch):
    class Capture:
        isOpened = staticmethod(lambda: True)
        get = staticmethod(lambda name: fps)

    (tmp_path / "drive.mp4").write_bytes(b"")
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: Capture)
    video = media.Video(str(tmp_path / "drive.mp4"))
    assert video.fps == media.DEFAULT_FPS and len(video) == 0


def test_frames_of_a_video_may_change_size(tmp_path):
    video = media.VideoFile(str(tmp_path / "a.mp4"), 25.0, (48, 64))
    for size in ((48, 64), (24, 32)):
        video.write(np.zeros((*size, 3), np.uint8))
    video.close()
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_truncated_video(exported, tmp_path, capsys):
    make_video(tmp_path / "drive.avi", 20)
    data = (tmp_path / "drive.avi").read_bytes()
    (tmp_path / "drive.avi").write_bytes(data[: len(data) // 2])
    out = tmp_path / "out"
    assert infer(exported["logits"], tmp_path / "drive.avi", out, "--write", "masks") == 1
    count = len(written(out))
    assert 0 < count < 20
    assert f"ends early: {count} frames" in capsys.readouterr().err


def test_failed_run_leaves_no_video(exported, tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "drive.avi", 8)
    write, calls = media.VideoFile.write, []

    def full_disk(video, image):
        calls.append(image)
        if len(calls) == 3:
            raise InputError("the disk is full")
        write(video, image)

    monkeypatch.setattr(media.VideoFile, "write", full_disk)
    assert infer(exported["logits"], tmp_path / "drive.avi", tmp_path / "out", "--write", "overlays") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert written(tmp_path / "out") == []


def test_progress_bar_on_terminals(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = cli.Progress(4)
    for _ in range(4):
        progress.wrote()
    shown = capsys.readouterr().err
    assert "[#######......................." in shown and "images/s, ETA 0:00:0" in shown and shown.count("\n") == 0
    assert progress.close("out") == 0 and "4/4" in capsys.readouterr().err


def test_progress_in_a_log_file(monkeypatch, capsys):
    """A line a minute."""
    seconds = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    for _ in watched(range(100), 100, "check"):
        seconds[0] += 3
    assert capsys.readouterr().err.splitlines() == [
        f"check: {done}/100, 0.3 images/s{eta}"
        for done, eta in [*((20 * n, f", ETA 0:0{5 - n}:00") for n in range(1, 5)), (100, "")]
    ]


def test_progress_of_what_is_slow(monkeypatch, capsys):
    """No rate of 0.0 a second."""
    seconds = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    line = Line(10, "timing", unit="candidates")
    for _ in range(2):
        seconds[0] += 60
        line.step()
    assert capsys.readouterr().err.splitlines() == [
        f"timing: {counts}" for counts in ("1/10, 60 s each, ETA 0:09:00", "2/10, 60 s each, ETA 0:08:00")
    ]


def test_max_frames(exported, tmp_path):
    make_video(tmp_path / "drive.avi", 8)
    assert infer(exported["logits"], tmp_path / "drive.avi", tmp_path / "out", "--max_frames", "3") == 0
    assert len(written(tmp_path / "out")) == 4


@pytest.mark.parametrize("source", ["photos", "drive.avi"])
def test_interrupt_keeps_what_is_whole(source, exported, photos, tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "drive.avi", 8)
    predict, calls = Predictor.predict, []

    def interrupted(predictor, images):
        calls.append(images)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(predictor, images)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    out = tmp_path / "out"
    assert infer(exported["argmax"], tmp_path / source, out) == 130
    shown = capsys.readouterr()
    assert "stopped" in shown.err and "2 written" in shown.out
    masks = [cv2.imread(str(path)) for path in (out / "masks").rglob("*") if path.is_file()]
    assert len(masks) == 2 and all(mask is not None for mask in masks)
    assert not list(out.rglob(".partial-*"))
    if source == "drive.avi":
        assert cv2.VideoCapture(str(out / "overlays" / "drive.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["native", "auto"])
def test_interrupted_process(backend, exported, photos, tmp_path):
    for k in range(2000):
        os.link(photos / "a.jpg", photos / f"{k}.jpg")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rtseg_inference", "--model", exported["argmax"], "--input", photos]
    process = subprocess.Popen(
        [*map(str, command), "--save_dir", str(out), "--backend", backend], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while len(list(out.glob("masks/*.png"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 130 and error.endswith("stopped\n") and "Traceback" not in error
    masks = [name for name in written(out) if name.startswith("masks")]
    assert 5 <= len(masks) < 2000 and not list(out.rglob(".partial-*"))
    assert all(cv2.imread(str(out / name)) is not None for name in written(out))
    assert len(written(out)) == 2 * len(masks)


def test_unwritable_folder_stops_the_run(exported, photos, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "masks").write_text("a file where a folder has to be")
    assert infer(exported["argmax"], photos, out) == 2
    assert "folder that can be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere", "--input", "x.jpg"], "deploy.yaml"),
        (["--input", "nowhere.jpg"], "does not exist"),
        (["--input", "."], "got none"),
        (["--input", "camera:9"], "cannot open the camera"),
        (
            ["--device", "gpu", "--backend", "native"],
            "expected an NVIDIA GPU, got a machine without one; check the driver",
        ),
        (
            ["--backend", "tensorrt"],
            "expected the cpu backend to be one of native, onednn, openvino, onnxruntime, openvino_runtime, got "
            "'tensorrt'",
        ),
        (
            ["--backend", "native", "--provider", "cuda"],
            "expected a provider only with --device gpu --backend onnxruntime, got 'cuda' with cpu native; leave it",
        ),
        (["--provider", "tensorrt"], "expected --backend onnxruntime with --provider tensorrt, got 'auto'; add it"),
        (
            ["--backend", "native", "--precision", "fp16"],
            "expected the precision of cpu native to be one of fp32, got 'fp16'",
        ),
        (
            ["--precision", "fp16", "--backend", "onednn"],
            "expected the precision of cpu onednn to be one of fp32, bf16, got 'fp16'",
        ),
        (["--write", "masks,pictures"], "expected --write masks, overlays, json or coco, got 'pictures'"),
    ],
)
def test_bad_input_is_one_sentence(exported, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "--device" in arguments:
        if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
            pytest.skip("this machine has a GPU")
        monkeypatch.setattr(gpu, "cards", list)
    status = cli.run(["--model", exported["argmax"], "--save_dir", "out", *arguments])
    error = capsys.readouterr().err
    assert status == 2 and message in error and "Traceback" not in error
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "least", "most", "wrong"),
    [
        ("--threads", 0, 1024, ["-1", "1025", "99999999999", "²", "1.5"]),
        ("--batch_size", 1, 1024, ["0", "-3", "nan"]),
        ("--max_frames", 1, 10**9, ["0", "1e3", "9" * 5000]),
    ],
)
def test_numbers_out_of_range(flag, least, most, wrong, capsys):
    for text in wrong:
        with pytest.raises(SystemExit) as stopped:
            cli.run(["--model", "nowhere", flag, text])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and error.count("\n") == 1 and len(error) < 300
        assert f"error: argument {flag}: expected a whole number from {least} to {most}, got " in error


@pytest.mark.parametrize("source", ["camera:²", "camera:-1", "camera:99999999999", "camera:x", "camera:1:2"])
def test_camera_that_is_none(source, exported, tmp_path, capsys):
    assert infer(exported["argmax"], source, tmp_path / "out") == 2
    assert (
        capsys.readouterr().err == f"error: expected a camera such as camera or camera:1, got {source!r}; correct it\n"
    )


def test_gpu_without_code_in_paddle(exported, monkeypatch):
    def refuse():
        raise InputError("expected a Paddle with code for the card")

    monkeypatch.setattr(gpu, "require_paddle", refuse)
    for backend in ("native", "tensorrt"):
        with pytest.raises(InputError, match="expected a Paddle with code"):
            Predictor(exported["argmax"], "gpu", backend)


def test_openvino(exported, model, frame, tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    folder = export_model(model, str(tmp_path / "model"), PREPROCESSING, output_op="logits", format="pdmodel")
    if paddle.__version__.startswith("2."):
        with pytest.raises(InputError, match="OpenVINO inside Paddle needs Paddle 3"):
            Predictor(folder, backend="openvino")
        return
    with pytest.raises(InputError, match=r"needs Paddle 3 and a model in pdmodel form, got model\.json"):
        Predictor(exported["argmax"], backend="openvino")
    predictor = Predictor(folder, backend="openvino")
    assert predictor.verify().passed
    for image in (frame, frame[:100, :131]):
        assert_same_mask(predictor.predict(image).mask, dygraph_logits(model, [image])[0])


def test_failing_backend_is_reported_and_dropped(exported, monkeypatch):
    def fail(self):
        raise RuntimeError("some C++ frames\n(Unimplemented) no kernel for it\nmore")

    monkeypatch.setattr("rtseg_inference.paddle_runtime.PaddleRuntime._onednn", fail)
    predictor, trials = fastest(exported["argmax"])
    assert predictor.configuration.backend != "onednn"
    assert "cpu onednn fp32: dropped ((Unimplemented) no kernel for it)" in map(str, trials)


def test_errors_of_paddle_are_one_sentence(exported, tmp_path):
    predictor = Predictor(exported["logits"], backend="native")
    with pytest.raises(InputError, match=r"Paddle cannot run .* on 1x4x64x64 as cpu native fp32: .*InvalidArg"):
        predictor.runtime.run(np.zeros((1, 4, 64, 64), np.float32))

    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    os.truncate(folder / predictor.contract.params, 100)
    text = (folder / "deploy.yaml").read_text()
    changed = contract.sha256(str(folder / predictor.contract.params))
    (folder / "deploy.yaml").write_text(text.replace(predictor.contract.sha256[predictor.contract.params], changed))
    with pytest.raises(InputError, match=r"Paddle cannot load .* as cpu native fp32: "):
        Predictor(str(folder), backend="native")


@pytest.mark.slow
def test_predictor_is_independent_of_this_project(exported, frame, tmp_path):
    """Copied to another place, it runs without paddle_rtseg and without PaddleSeg."""
    source = os.path.dirname(os.path.abspath(media.__file__))
    shutil.copytree(source, tmp_path / "rtseg_inference", ignore=shutil.ignore_patterns("__pycache__"))
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    program = (
        "import sys\n"
        "sys.modules['paddle_rtseg'] = sys.modules['paddleseg'] = None\n"
        "from rtseg_inference import cli\n"
        f"assert cli.__file__.startswith({str(tmp_path)!r})\n"
        "sys.exit(cli.run(sys.argv[1:]))\n"
    )
    arguments = ["--model", exported["logits"], "--input", "frame.png", "--save_dir", "out"]
    python("-c", program, *arguments, cwd=tmp_path, check=True)
    mask = cv2.imread(str(tmp_path / "out" / "masks" / "frame.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, Predictor(exported["logits"]).predict(frame).mask)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["native", "onednn"])
def test_memory_does_not_grow_with_new_sizes(backend, exported, frame):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    predictor = Predictor(exported["logits"], backend=backend)

    def resident_mb(rounds):
        for k in range(rounds):
            predictor.predict(np.ascontiguousarray(frame[: 100 + k % 97, : 100 + (7 * k) % 211]))
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    before = resident_mb(150)
    assert resident_mb(300) - before < 40


@pytest.mark.parametrize(
    ("output_op", "output", "message"),
    [
        ("logits", np.zeros((6, 8, 8), np.float32), "expected 7 classes of the network, got 6x8x8 of logits"),
        ("logits", np.zeros((7, 64), np.float32), "got 7x64 of logits"),
        ("argmax", np.zeros((32, 31), np.int32), "expected class ids for 32x32 pixels of the network, got 32x31"),
        ("argmax", np.full((32, 32), 7, np.int32), "expected class ids from 0 to 6 of the network, got others"),
        ("argmax", np.full((32, 32), -1, np.int32), "got others; export the model again"),
    ],
)
def test_output_that_is_not_what_the_contract_states(output_op, output, message, exported):
    with pytest.raises(InputError, match=message):
        to_mask(output, contract.read_contract(exported[output_op]), (32, 32))
