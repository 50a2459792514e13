"""The C++ program writes the same masks and files as the Python package and refuses the same bad input."""

import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time

import contract_fuzz
import cv2
import numpy as np
import paddle
import pytest
import yaml
from bad_contracts import BAD_CONTRACTS, BAD_FOLDERS, spoil
from comparing import zip_strict
from cpp_programs import SOURCE, onnxruntime_options, run
from onnx_references import PIECES
from rtseg_inference import InputError, Predictor, cli, contract, environment, files, postprocess, processor, tensorrt
from rtseg_inference.configuration import AUTO_PRECISIONS, BACKENDS, DEFAULT_BACKEND, PROVIDERS
from rtseg_inference.contract import Pad, Preprocessing, Resize
from rtseg_inference.geometry import Geometry
from rtseg_inference.images import read_image
from rtseg_inference.onnx_file import check_self_contained
from rtseg_inference.onnx_gpu_runtime import placement
from rtseg_inference.preprocess import Preprocessor
from tiny_network import FRAMES, tiny

from paddle_rtseg.export.exporter import export_model

pytestmark = pytest.mark.slow

MEAN_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def skip_without_paddle2onnx():
    """Skip a test that exports the ONNX form where that cannot be written."""
    if paddle.__version__.startswith("2."):
        pytest.skip("paddle2onnx needs Paddle 3")
    pytest.importorskip("paddle2onnx")


@pytest.fixture(scope="module")
def onnx_model(tmp_path_factory):
    """The folder of the tiny network with its ONNX form; tests must not change it."""
    skip_without_paddle2onnx()
    folder = str(tmp_path_factory.mktemp("onnx") / "model")
    return export_model(tiny(), folder, Preprocessing(**MEAN_STD), output_op="logits", format="onnx")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for i, frame in enumerate(sorted(FRAMES.glob("*.jpg"))[:3]):
        shutil.copy(frame, folder / f"{i}.jpg")
    image = cv2.imread(str(folder / "0.jpg"))
    cv2.imwrite(str(folder / "below" / "odd.png"), image[:101, :131])
    return folder


@pytest.mark.parametrize("name", BAD_CONTRACTS)
def test_bad_contracts(name, host_check, exported, tmp_path):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    spoil(folder, name)
    with pytest.raises(InputError) as python:
        contract.read_contract(str(folder))
    status, out, err = run(host_check, "contract", folder)
    assert (status, out) == (2, "") and err.startswith(f"error: {folder}") and err.count("\n") == 1
    assert BAD_CONTRACTS[name]["expect"] in err
    if BAD_CONTRACTS[name].get("same", True):
        assert err == f"error: {python.value}\n"


@pytest.mark.parametrize("kind", contract_fuzz.KINDS)
def test_mutated_files(kind, host_check, exported):
    outcomes = contract_fuzz.fuzz(kind, exported["logits"], [host_check], range(150), seed=2)
    assert outcomes.failures == [] and outcomes.count["cases"] == 150


@pytest.mark.parametrize("output_op", ["argmax", "logits"])
def test_reads_what_the_export_wrote(output_op, host_check, exported):
    assert run(host_check, "contract", exported[output_op]) == (0, "", "")


def test_configurations_equal_python(host_check):
    expected = [f"{d} {b} {p}" for d, backends in BACKENDS.items() for b, ps in backends.items() for p in ps]
    expected += [f"default {device} {backend}" for device, backend in DEFAULT_BACKEND.items()]
    expected += [f"auto {device} {precision}" for device, those in AUTO_PRECISIONS.items() for precision in those]
    assert run(host_check, "configurations") == (0, "\n".join(expected) + "\n", "")


def flags_and_defaults(text):
    """The flags of a --help text, each with its default if the text gives one."""
    parts = re.split(r"\n  (?:-h, )?--", text)[1:]
    flags = {
        re.match(r"\w+", part).group(): re.search(r"\(default ([^)]*)\)", " ".join(part.split())) for part in parts
    }
    return {flag: default and default.group(1) for flag, default in flags.items() if flag != "help"}


#: Defaults that --help words in another way than the parser has them.
STATED = {"write": "masks,overlays", "clear": "background, if there is such a class", "provider": PROVIDERS[0]}
PYTHON_ONLY = {"hold_matching", "hold_change"}


def test_flags_and_defaults_equal_python(host_check):
    status, shown, _ = run(host_check, "options", "--help")
    expected = flags_and_defaults(cli.parser().format_help())
    expected = {flag: default for flag, default in expected.items() if flag not in PYTHON_ONLY}
    assert status == 0 and flags_and_defaults(shown) == expected
    assert len(expected) == 26 and sum(default is not None for default in expected.values()) == 17
    defaults = vars(cli.parser().parse_args(["--model", "m"]))
    for flag, default in expected.items():
        value = defaults[flag]
        none = flag in ("verify", "strict", "outlines", "no_legend") or value in (None, "m")
        stated = {
            "write": "masks,overlays",
            "clear": "background, if there is such a class",
            "provider": PROVIDERS[0],
            "boxes": "each image is one person",
            "category": "the only one",
        }.get(flag, None if none else str(value))
        assert default == stated
    fields = "m masks,overlays {save_dir} {device} {backend} {precision} fit {fit} batch {batch_size} "
    fields += "frames 0 threads {threads}\n"
    assert run(host_check, "options", "--model", "m") == (0, fields.format(**defaults), "")


def test_readme_lists_the_flags_and_defaults():
    readme = (SOURCE.parent / "README.md").read_text()
    commands = readme[readme.index("## Commands") : readme.index("## deploy.yaml")]
    rows = re.findall(r"^\| `--(\w+)[^|]*\|([^|]*)\|", commands, re.MULTILINE)
    listed = {flag: default.strip(" `") or None for flag, default in rows}
    assert listed == flags_and_defaults(cli.parser().format_help())


@pytest.mark.parametrize(
    "words",
    [
        ["masks"],
        ["overlays"],
        ["masks,overlays"],
        ["masks", "overlays"],
        ["overlays,masks"],
        ["json"],
        ["masks", "coco,json"],
    ],
)
def test_both_forms_of_write(words, host_check):
    kinds = cli.written_kinds(cli.parser().parse_args(["--model", "m", "--write", *words, "--device", "gpu"]).write)
    status, shown, _ = run(host_check, "options", "--write", *words, "--device", "gpu", "--model", "m")
    assert status == 0 and shown.startswith(f"m {','.join(sorted(kinds))} ./output/inference gpu auto")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--write", "masks,pictures"],
        ["--write", "masks", "pictures"],
        ["--write", ","],
        *(["--threads", n] for n in ("-1", "1025", "99999999999", "²", "1.5", "", " 1", "0x1", "9" * 500)),
        *(["--batch_size", n] for n in ("0", "1025", "nan", "1_0")),
        *(["--max_frames", n] for n in ("0", "1000000001", "1e3")),
        *(["--steady", n] for n in ("0", "1001", "2.5")),
        *(["--motion", n] for n in ("-1", "256", "x")),
        *(["--alpha", a] for a in ("1.1", "nan", "1e-1", ".", "", "-0.5", "0.5.", "0" * 19)),
        *(["--tile", t] for t in ("0x0", "0x512", "512", "512x", "x512", "512x-1", "65501x1", "512X512", "5" * 300)),
        *(["--tile", t] for t in ("512x512x3", "512,512", " 512x512", "512x512 ", "\u0661x1")),
        *(["--overlap", n] for n in ("-1", "65501", "1.5", "")),
    ],
)
def test_bad_values_of_flags_equal_python(arguments, host_check, capsys):
    status, _, err = run(host_check, "options", "--model", "nowhere", *arguments)
    try:
        python = cli.run(["--model", "nowhere", *arguments])
    except SystemExit as stopped:
        python = stopped.code
    assert (status, python) == (2, 2)
    assert err == capsys.readouterr().err.replace("see python -m rtseg_inference --help", "see --help")


@pytest.mark.parametrize("number", ["1", "1024", "+3", "007"])
def test_numbers_equal_python(number, host_check):
    arguments = [
        "--model",
        "m",
        *(word for flag in ("threads", "batch_size", "max_frames") for word in (f"--{flag}", number)),
    ]
    read = cli.parser().parse_args(arguments)
    _, shown, _ = run(host_check, "options", *arguments)
    assert shown.endswith(f" batch {read.batch_size} frames {read.max_frames} threads {read.threads}\n")


@pytest.mark.parametrize(
    "arguments", [["--model"], ["--model", "--verify"], ["--backened", "native"], ["--threads", "two"]]
)
def test_malformed_command_lines(arguments, host_check):
    status, out, err = run(host_check, "options", *arguments)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("quota", ["max 100000", "100000 100000", "250000 100000", "50000 100000", "garbage", ""])
def test_cores_equal_python(quota, host_check, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(environment, "open", lambda path: (tmp_path / "cpu.max").open(), raising=False)
    assert run(host_check, "cores", tmp_path / "cpu.max") == (0, f"{environment.usable_cores()}\n", "")


@pytest.mark.parametrize(
    "threads", [None, "1", "7", "1024", "4,2", "0", "-1", "1025", "9" * 30, "", "x", "2x", "\u00b2"]
)
def test_threads_of_the_environment_equal_python(threads, host_check, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    status, out, err = run(host_check, "threads")
    try:
        assert (status, out, err) == (0, f"{environment.thread_count()}\n", "")
    except InputError as e:
        assert (status, out, err) == (2, "", f"error: {e}\n")


@pytest.mark.parametrize(
    ("cache", "home"), [*itertools.product(["/some/where", "", None], ["/home/someone", "", None])]
)
def test_cache_folders_equal_python(cache, home, host_check, monkeypatch):
    for name, value in (("RTSEG_CACHE", cache), ("HOME", home)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert run(host_check, "cache") == (0, files.cache_root() + "\n", "")
    assert files.cache_root() != "/.cache/rtseg_inference"


def test_sparse_argmax_equals_full_argmax(host_check):
    status, out, _ = run(host_check, "selftest")
    assert status == 0, out
    assert "0 of 240 cases differ" in out


@pytest.mark.parametrize(
    ("resize", "pad"),
    [
        (None, None),
        ({"rule": "exact", "height": 200, "width": 333, "interpolation": "linear"}, None),
        ({"rule": "fit", "height": 200, "width": 321, "interpolation": "linear", "divisor": 32}, None),
        ({"rule": "long", "size": 301, "interpolation": "nearest"}, None),
        ({"rule": "short", "size": 400, "max": 5 * 10**9, "interpolation": "linear"}, None),
        ({"rule": "short", "size": 400, "max": 500}, None),
        ({"rule": "limit", "max": 320, "min": None, "interpolation": "area"}, None),
        ({"rule": "limit", "max": None, "min": 555, "interpolation": "cubic"}, None),
        (None, {"height": 384, "width": 512, "value": 127.5}),
        ({"rule": "long", "size": 250}, {"height": 256, "width": 256, "value": 0.0}),
    ],
)
def test_preprocessing_equals_python(host_check, exported, tmp_path, resize, pad):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    edit(folder, "preprocess", resize=resize, pad=pad, **MEAN_STD)
    image = sorted(FRAMES.glob("*.jpg"))[1]
    status, _, err = run(host_check, "preprocess", folder, tmp_path / "batch.npy", image)
    assert status == 0, err
    expected = Preprocessor(contract.read_contract(str(folder)))([cv2.imread(str(image))])
    found = np.load(tmp_path / "batch.npy")
    if resize and resize.get("interpolation") == "cubic":  # releases of OpenCV add its four products in other orders
        assert np.allclose(found, expected, rtol=0, atol=1e-5)
    else:
        assert np.array_equal(found, expected)


def test_preprocessing_of_large_images_equals_python(host_check, exported, tmp_path):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    edit(folder, "preprocess", resize={"rule": "exact", "height": 96, "width": 160}, pad=None, **MEAN_STD)
    image = cv2.resize(cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[1])), (5100, 5000))
    cv2.imwrite(str(tmp_path / "large.bmp"), image)
    status, _, err = run(host_check, "preprocess", folder, tmp_path / "batch.npy", tmp_path / "large.bmp")
    assert status == 0, err
    expected = Preprocessor(contract.read_contract(str(folder)))([image])
    assert np.array_equal(np.load(tmp_path / "batch.npy"), expected)


@pytest.mark.parametrize("classes", [1, 7, 300])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (59, 131)])
def test_postprocessing_equals_python(host_check, tmp_path, classes, size):
    logits = np.random.RandomState(classes).randn(classes, 9, 13).astype(np.float32)
    logits[:, 2:6, 3:9] += 5 * (np.arange(classes) == classes // 2)[:, None, None]
    np.save(tmp_path / "logits.npy", logits)
    status, _, err = run(host_check, "argmax", tmp_path / "logits.npy", *size, tmp_path / "mask.png")
    assert status == 0, err
    found = cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED)
    expected = postprocess.argmax(logits, Geometry(size, size, size))
    assert found.dtype == expected.dtype and np.array_equal(found, expected)


def test_a_missing_engine_names_the_operators_left_outside(host_check, tmp_path):
    folder = tmp_path / "model"
    export_model(tiny(), str(folder), Preprocessing(**MEAN_STD), format="pdmodel")
    (tmp_path / "log").write_text("I1 analysis_predictor.cc:1] ir_analysis_pass\n")
    status, _, err = run(host_check, "engine", tmp_path / "log", folder / "model.pdmodel")
    found = contract.read_contract(str(folder))
    assert status == 2
    assert err == f"error: {tensorrt._no_engine(found, tensorrt._operators(found))}\n"
    assert "conv2d" in err and "feed" not in err

    program = (folder / "model.pdmodel").read_bytes()
    (folder / "model.pdmodel").write_bytes(program[: len(program) // 2])
    status, _, err = run(host_check, "engine", tmp_path / "log", folder / "model.pdmodel")
    assert status == 2 and "is not a program in pdmodel form" in err

    (tmp_path / "log").write_text("I1 tensorrt_subgraph_pass.cc:1] ---  detect a sub-graph with 9 nodes\n")
    assert run(host_check, "engine", tmp_path / "log", folder / "model.pdmodel") == (0, "", "")


MODELS = {
    "argmax": {"output_op": "argmax"},
    "softmax": {"output_op": "softmax"},
    "none": {"output_op": "none"},
    "logits": {"output_op": "logits"},
    "camera images": {"output_op": "logits", "raw_input": True},
    "batch of two": {"output_op": "logits", "input_shape": (2, 3, None, None)},
    # With IPP's resize, in Python, two pixels would differ (on an AMD EPYC).
    "resized": {"output_op": "logits", "resize": Resize("short", size=333)},
    "resized argmax": {"output_op": "argmax", "resize": Resize("exact", height=128, width=160)},
    "pdmodel": {"output_op": "logits", "format": "pdmodel"},
    "resized and padded": {
        "output_op": "logits",
        "resize": Resize("long", size=250),
        "pad": Pad(256, 256, 127.5),
    },
    "padded": {"output_op": "logits", "pad": Pad(400, 512, 127.5)},
}


@pytest.mark.parametrize("name", MODELS)
def test_files_equal_python(name, rtseg_infer, photos, tmp_path):
    arguments = dict(MODELS[name])
    rules = {key: arguments.pop(key, None) for key in ("resize", "pad")}
    model = export_model(tiny(), str(tmp_path / "model"), Preprocessing(**rules, **MEAN_STD), **arguments)
    out = tmp_path / "out"
    status, shown, err = run(
        rtseg_infer, "--model", model, "--input", photos, "--save_dir", out, "--backend", "native", "--batch_size", 2
    )
    assert status == 0, err
    assert "using cpu native fp32" in shown and "4 written" in shown and "p99" in shown
    predictor = Predictor(model, backend="native")
    names = ["0", "1", "2", os.path.join("below", "odd")]
    assert len([p for p in out.rglob("*") if p.is_file()]) == 2 * len(names)
    for image in names:
        result = predictor.predict(str(next(photos.glob(image + ".*"))))
        mask = cv2.imread(str(out / "masks" / (image + ".png")), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, result.mask)
        overlay = cv2.imdecode(cv2.imencode(".jpg", result.overlay(legend=True))[1], cv2.IMREAD_COLOR)
        assert np.array_equal(cv2.imread(str(out / "overlays" / (image + ".jpg"))), overlay)


@pytest.mark.parametrize("backend", ["native", "onednn"])
def test_verify(rtseg_infer, exported, backend):
    status, out, err = run(rtseg_infer, "--model", exported["logits"], "--backend", backend, "--verify")
    assert status == 0, err
    assert f"using cpu {backend} fp32 (relative error " in out and "100.00% of the pixels agree" in out


def test_openvino(rtseg_infer, tmp_path):
    model = export_model(
        tiny(), str(tmp_path / "model"), Preprocessing(**MEAN_STD), output_op="logits", format="pdmodel"
    )
    status, out, err = run(rtseg_infer, "--model", model, "--backend", "openvino")
    assert status == 0, err
    assert "using cpu openvino fp32" in out


def test_wrong_output_is_not_used(rtseg_infer, exported, tmp_path):
    folder = shutil.copytree(exported["argmax"], tmp_path / "model")
    mask = cv2.imread(str(folder / "golden_mask.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(folder / "golden_mask.png"), (mask + 1) % 7)
    edit(folder, "sha256", **{"golden_mask.png": contract.sha256(str(folder / "golden_mask.png"))})
    refused(rtseg_infer, folder, "no configuration reproduces the golden output")
    saving = ("--input", FRAMES, "--save_dir", tmp_path / "out")
    refused(rtseg_infer, folder, "does not reproduce the model's golden output", "--backend", "native", *saving)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"output_op": "argmax"},
        {"output_op": "softmax"},
        {"output_op": "none"},
        {"output_op": "logits", "raw_input": True},
        {"output_op": "logits", "input_shape": (2, 3, None, None)},
    ],
)
def test_onnx_runtime_masks_equal_python(arguments, onnx_infer, photos, tmp_path):
    skip_without_paddle2onnx()
    model = export_model(tiny(), str(tmp_path / "model"), Preprocessing(**MEAN_STD), format="onnx", **arguments)
    out = tmp_path / "out"
    command = [onnx_infer, "--model", model, "--input", photos, "--save_dir", out, "--write", "masks"]
    status, shown, err = run(*command, "--backend", "onnxruntime", "--threads", 2)
    assert status == 0, err
    assert "using cpu onnxruntime fp32 (" in shown and "100.00% of the pixels agree" in shown and "4 written" in shown
    predictor = Predictor(model, backend="onnxruntime", threads=2)
    for image in ("0", "1", "2", os.path.join("below", "odd")):
        mask = cv2.imread(str(out / "masks" / (image + ".png")), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, predictor.predict(str(next(photos.glob(image + ".*")))).mask)


def test_missing_engines_are_left_out(onnx_infer, onnx_model, tmp_path):
    status, out, err = run(onnx_infer, "--model", onnx_model)
    assert status == 0, err
    without_paddle = "left out (expected a program built with Paddle Inference, got one built without it"
    assert out.count(without_paddle) == 3 and "using cpu onnxruntime fp32" in out
    refused(onnx_infer, onnx_model, "expected a program built with Paddle Inference", "--backend", "native")
    refused(onnx_infer, onnx_model, "openvino_runtime is not in the C++ program", "--backend", "openvino_runtime")


def test_fastest_tries_both_engines(rtseg_infer, onnx_model):
    status, out, err = run(rtseg_infer, "--model", onnx_model)
    assert status == 0, err
    expected = r"ms \(" if onnxruntime_options() else r"left out \(expected a program built with ONNX Runtime"
    assert re.search(rf"cpu onnxruntime fp32: [\d. ]*{expected}", out)
    assert re.search(r"cpu native fp32: [\d.]+ ms", out)


def test_large_image(onnx_infer, onnx_model, tmp_path):
    """Of a large image the overlay is drawn over it, and a TIFF is decoded in bands."""
    image = cv2.resize(cv2.imread(str(sorted(FRAMES.glob("*.jpg"))[1])), (5100, 5000))
    cv2.imwrite(str(tmp_path / "large.tif"), image)
    common = ["--model", onnx_model, "--input", str(tmp_path / "large.tif"), "--backend", "onnxruntime"]
    common += ["--tile", "1024x2048"]
    status, _, err = run(onnx_infer, *common, "--save_dir", tmp_path / "cpp")
    assert status == 0, err
    assert cli.run([*common, "--save_dir", str(tmp_path / "python")]) == 0
    masks = [cv2.imread(str(tmp_path / by / "masks" / "large.png"), -1) for by in ("cpp", "python")]
    overlays = [cv2.imread(str(tmp_path / by / "overlays" / "large.jpg")) for by in ("cpp", "python")]
    assert np.array_equal(*masks)
    assert overlays[0].shape == overlays[1].shape and len(overlays[0]) > 5000
    assert cv2.absdiff(*overlays).mean() < 1


def test_missing_onnx_form(onnx_infer, onnx_model, tmp_path):
    folder = shutil.copytree(onnx_model, tmp_path / "model")
    document = yaml.safe_load((folder / "deploy.yaml").read_text())
    del document["rtseg"]["sha256"][document["rtseg"].pop("onnx")]
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(InputError) as python:
        Predictor(str(folder), backend="onnxruntime")
    refused(onnx_infer, folder, str(python.value), "--backend", "onnxruntime")
    refused(onnx_infer, folder, "no configuration reproduces the golden output")


def test_damaged_onnx_form(onnx_infer, onnx_model, tmp_path):
    folder = shutil.copytree(onnx_model, tmp_path / "model")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:1000])
    refused(onnx_infer, folder, "changed or cut short", "--backend", "onnxruntime")
    edit(folder, "sha256", **{"model.onnx": contract.sha256(str(folder / "model.onnx"))})
    message = "ONNX Runtime cannot load model.onnx as cpu onnxruntime fp32: "
    refused(onnx_infer, folder, message, "--backend", "onnxruntime")


@pytest.mark.parametrize("name", PIECES)
def test_onnx_files_that_refer_to_others(name, host_check, tmp_path):
    data, refers = PIECES[name]
    (tmp_path / "model.onnx").write_bytes(data)
    status, _, err = run(host_check, "onnx", tmp_path / "model.onnx")
    assert status == (2 if refers else 0)
    if refers:
        with pytest.raises(InputError) as python:
            check_self_contained(str(tmp_path / "model.onnx"))
        assert err == f"error: {python.value}\n"


def test_placement_of_operators(host_check, onnx_model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    path = os.path.join(onnx_model, "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for _ in range(2):
        session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 64, 64), np.float32)})
    cpu, cuda = {"provider": "CPUExecutionProvider"}, {"provider": "CUDAExecutionProvider"}
    events = [
        {"cat": "Node", "name": "Conv.1_kernel_time", "args": cuda},
        {"cat": "Node", "name": "Conv.1_fence_before", "args": cpu},
        {"cat": "Session", "name": "model_run_kernel_time", "args": cpu},
        {"cat": "Node", "name": "Shape.1_kernel_time", "args": {}},
        {"cat": "Node", "name": "time", "args": cpu},
        {"cat": "Node", "name": "Shape.2_kernel_time", "args": cpu},
        {"cat": "Node", "name": "Conv.1_kernel_time", "args": cuda},
    ]
    made = tmp_path / "made.json"
    made.write_text(json.dumps(events))
    assert placement(str(made)) == {cuda["provider"]: ["Conv.1"], cpu["provider"]: ["Shape.2"]}
    for file in (session.end_profiling(), str(made)):
        expected = placement(file)
        status, out, err = run(host_check, "placement", file)
        assert (status, err) == (0, "") and expected
        assert out.splitlines() == [f"{name} {operator}" for name in sorted(expected) for operator in expected[name]]
    made.write_text(json.dumps(events)[:-10])
    status, out, err = run(host_check, "placement", made)
    assert (status, out) == (2, "") and err.startswith("error: expected a profile of ONNX Runtime in ")


def test_onnx_form_that_refers_to_other_files_is_not_loaded(onnx_infer, onnx_model, tmp_path):
    folder = shutil.copytree(onnx_model, tmp_path / "model")
    with open(folder / "model.onnx", "ab") as file:
        file.write(b"r\x0f\n\x08location\x12\x03../")  # of the file's own notes
    edit(folder, "sha256", **{"model.onnx": contract.sha256(str(folder / "model.onnx"))})
    with pytest.raises(InputError, match="to hold all tensors itself") as python:
        Predictor(str(folder), backend="onnxruntime")
    refused(onnx_infer, folder, str(python.value), "--backend", "onnxruntime")


def test_onnx_form_with_wrong_output_is_not_used(onnx_infer, onnx_model, tmp_path):
    folder = shutil.copytree(onnx_model, tmp_path / "model")
    golden = np.load(folder / "golden_output.npy")
    np.save(folder / "golden_output.npy", golden + 1)
    edit(folder, "sha256", **{"golden_output.npy": contract.sha256(str(folder / "golden_output.npy"))})
    refused(onnx_infer, folder, "does not reproduce the model's golden output", "--backend", "onnxruntime")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--provider", "cuda"], "expected --backend onnxruntime with --provider cuda, got 'auto'; add it"),
        (["--provider", "cuda", "--backend", "onnxruntime"], "expected a provider only with --device gpu --backend"),
        (
            ["--device", "gpu", "--backend", "onnxruntime", "--provider", "rocm"],
            "expected the provider to be one of cuda, tensorrt, tensorrt_rtx, got 'rocm'",
        ),
        (
            ["--device", "gpu", "--backend", "onnxruntime", "--provider", "tensorrt_rtx"],
            "tensorrt_rtx is not in the C++ program",
        ),
        (
            ["--device", "gpu", "--backend", "onnxruntime", "--precision", "bf16"],
            "expected the precision of gpu onnxruntime to be one of fp32, tf32, fp16, got 'bf16'",
        ),
        (["--device", "gpu", "--backend", "onnxruntime", "--precision", "fp16"], "has no half-precision ONNX form"),
    ],
)
def test_bad_arguments_for_onnx_runtime(arguments, message, onnx_infer, onnx_model):
    refused(onnx_infer, onnx_model, message, *arguments)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_onnx_runtime_without_gpu_providers(provider, onnx_infer, onnx_model):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has a CUDA provider")
    arguments = ["--device", "gpu", "--backend", "onnxruntime", "--provider", provider, "--precision", "tf32"]
    message = f"ONNX Runtime cannot use {provider} (this ONNX Runtime, {onnxruntime.__version__}, is built without CUDA"
    refused(onnx_infer, onnx_model, message, *arguments)


@pytest.mark.parametrize("stated", [True, False])
def test_tolerance_of_tf32_equals_python(stated, host_check, exported, tmp_path):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    document = yaml.safe_load((folder / "deploy.yaml").read_text())
    document["rtseg"]["golden"]["tolerance"].pop("tf32", None)
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document))
    if stated:
        edit(folder, "golden", "tolerance", tf32={"rms_error": 0.0125, "agreement": 0.75})
    expected = contract.read_contract(str(folder)).golden.tolerance_of("tf32")
    shown = f"{expected.rms_error:g} {expected.agreement:g}\n"
    assert run(host_check, "tolerance", folder, "tf32") == (0, shown, "")
    assert shown == "0.0125 0.75\n" or not stated


def test_corrupt_images_are_skipped_and_counted(rtseg_infer, exported, photos, tmp_path):
    whole = (photos / "1.jpg").read_bytes()
    (photos / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").write_bytes(b"")
    cv2.imwrite(str(photos / "small.png"), np.zeros((20, 20, 3), np.uint8))
    out = tmp_path / "out"
    command = [rtseg_infer, "--model", exported["logits"], "--input", photos, "--save_dir", out, "--write", "masks"]
    status, shown, err = run(*command)
    assert status == 1
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.*")) == [
        os.path.join("masks", name) for name in ("0.png", "2.png", os.path.join("below", "odd.png"))
    ]
    assert "skipped 1: " in err and "skipped empty: " in err and "3 written" in shown and "3 failed" in shown
    assert "skipped small: the model takes NCHW inputs of 1x3x32x32 to anyx3xanyxany, got 1x3x20x20" in err


def test_fastest_on_a_gpu_tries_its_precisions(onnx_infer, onnx_model):
    """There is no GPU here, so that each one is named with its obstacle."""
    status, _, err = run(onnx_infer, "--model", onnx_model, "--device", "gpu")
    assert status == 2
    for backend, precisions in BACKENDS["gpu"].items():
        for precision in precisions:
            assert (f"gpu {backend} {precision}: " in err) == (precision in AUTO_PRECISIONS["gpu"])


def test_auto_precision_of_one_backend_is_fp32(onnx_infer, onnx_model):
    status, shown, _ = run(onnx_infer, "--model", onnx_model, "--backend", "onnxruntime")
    assert status == 0 and shown.startswith("using cpu onnxruntime fp32 (")


def on_onnxruntime(program, model, *arguments):
    return [str(a) for a in (program, "--model", model, "--backend", "onnxruntime", "--threads", 1, *arguments)]


def test_interrupt_keeps_what_is_whole(onnx_infer, onnx_model, photos, tmp_path):
    for k in range(400):
        os.link(photos / "0.jpg", photos / f"more{k}.jpg")
    out = tmp_path / "out"
    command = on_onnxruntime(onnx_infer, onnx_model, "--input", photos, "--save_dir", out)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(list(out.glob("masks/*.png"))) < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        shown, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in err
    masks = list(out.glob("masks/**/*.png"))
    assert f"{len(masks)} written to " in shown and 3 <= len(masks) < 400
    assert len(list(out.glob("overlays/**/*.jpg"))) == len(masks)
    for path in out.rglob("*.*"):
        read_image(str(path))  # no temporary file, and nothing half-written


def test_files_of_a_run_equal_python(onnx_infer, onnx_model, tmp_path):
    photos = tmp_path / "photos"
    (photos / "below").mkdir(parents=True)
    for name, frame in zip_strict(("a.jpg", "below/ö.jpg"), sorted(FRAMES.glob("*.jpg"))[:2]):
        cv2.imwrite(str(photos / name), cv2.imread(str(frame))[:200, :301])
    (photos / "b.png").write_bytes(b"broken")
    flags = [
        "--model",
        onnx_model,
        "--input",
        photos,
        "--backend",
        "onnxruntime",
        "--write",
        "coco,json",
        "--threads",
        1,
    ]
    assert run(onnx_infer, *flags, "--save_dir", tmp_path / "cpp")[0] == 1
    assert cli.run([str(f) for f in (*flags, "--save_dir", tmp_path / "python")]) == 1
    names = sorted(str(p.relative_to(tmp_path / "cpp")) for p in (tmp_path / "cpp").rglob("*.*"))
    assert names == ["coco.json", "json/a.json", "json/below/ö.json"]
    for name in names:
        found, expected = (json.loads((tmp_path / program / name).read_text()) for program in ("cpp", "python"))
        scores = [[e.pop("score") for e in areas.get("classes", [])] for areas in (found, expected)]
        assert found == expected
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_signal_while_starting(seconds, number, onnx_infer, onnx_model, photos, tmp_path):
    for k in range(400):
        os.link(photos / "0.jpg", photos / f"more{k}.jpg")
    command = on_onnxruntime(onnx_infer, onnx_model, "--input", photos, "--save_dir", tmp_path / "out")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.send_signal(number)
        process.wait(timeout=60)
    assert process.returncode in (128 + number, -number)  # before it begins, the system ends it


def test_results_are_not_segmented(onnx_infer, onnx_model, photos, tmp_path):
    (photos / "notes.txt").write_text("")
    for out in (photos, photos / "out"):
        for _ in range(2):
            command = on_onnxruntime(onnx_infer, onnx_model, "--input", photos, "--save_dir", out)
            status, shown, err = run(*command)
            assert status == 0, err
            assert "4 written" in shown and "\nnot taken: 1 .txt\n" in shown
        for kind in ("masks", "overlays"):
            shutil.rmtree(photos / kind, ignore_errors=True)


def test_result_that_cannot_be_written_costs_one_image(onnx_infer, onnx_model, photos, tmp_path):
    out = tmp_path / "out"
    (out / "masks" / "1.png").mkdir(parents=True)
    command = on_onnxruntime(onnx_infer, onnx_model, "--input", photos, "--save_dir", out)
    status, shown, err = run(*command)
    assert status == 1 and "3 written" in shown and "1 failed" in shown
    assert err == f"skipped 1: cannot write '{out}/masks/1.png' (Is a directory); make room, or choose another place\n"


def test_full_disk_ends_the_run(onnx_infer, onnx_model, photos, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    out = tmp_path / "out"
    command = on_onnxruntime(onnx_infer, onnx_model, "--input", photos, "--save_dir", out)
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert re.fullmatch(
        r"error: cannot write '.*' \(File too large\); make room, or choose another place\n", done.stderr
    )
    assert [p for p in out.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("output_op", "message"),
    [
        ("argmax", "expected class ids from 0 to 0 of the network"),
        ("logits", "expected 1 classes of the network, got 1x7x"),
    ],
)
def test_more_classes_than_the_contract_states(output_op, message, onnx_infer, tmp_path):
    skip_without_paddle2onnx()
    preprocessing = Preprocessing(**MEAN_STD)
    model = export_model(tiny(), str(tmp_path / "model"), preprocessing, output_op=output_op, format="onnx")
    document = yaml.safe_load((tmp_path / "model" / "deploy.yaml").read_text())
    part = document["rtseg"]
    part["output"]["num_classes"], part["classes"], part["palette"] = 1, part["classes"][:1], part["palette"][:1]
    (tmp_path / "model" / "deploy.yaml").write_text(yaml.safe_dump(document))
    refused(onnx_infer, model, message, "--backend", "onnxruntime")


def test_batch_larger_than_the_model_takes(onnx_infer, onnx_model, photos, tmp_path):
    folder = shutil.copytree(onnx_model, tmp_path / "model")
    edit(folder, "input", "shape", max=[2, 3, -1, -1])
    arguments = ["--input", photos, "--save_dir", tmp_path / "out", "--backend", "onnxruntime", "--batch_size", "3"]
    status, _, err = run(onnx_infer, "--model", folder, *arguments)
    message = "expected --batch_size of at most 2, the model's largest batch, got 3; lower it"
    assert (status, err) == (2, f"error: {message}\n")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("limit", ["", "avx2", "AVX512_CORE", "DEFAULT"])
def test_processor_obstacles_equal_python(precision, limit, host_check, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert run(host_check, "processor", precision) == (0, f"{processor.obstacle(precision) or ''}\n", "")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_contract(share, host_check, exported, tmp_path):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    text = (folder / "deploy.yaml").read_text()
    (folder / "deploy.yaml").write_text(text[: int(share * len(text))])
    status, _, err = run(host_check, "contract", folder)
    assert status == 2 and err.startswith("error: ") and "export the model again" in err


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folders(name, host_check, exported, tmp_path):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    change, message = BAD_FOLDERS[name]
    change(folder)
    with pytest.raises(InputError, match=re.escape(message)) as python:
        contract.read_contract(str(folder))
    assert run(host_check, "contract", folder) == (2, "", f"error: {python.value}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "gpu"], "built without CUDA"),
        (["--device", "gpu", "--backend", "tensorrt"], "TensorRT was requested"),
        (["--backend", "tensorrt"], "native, onednn, openvino"),
        (["--backend", "openvino"], "needs Paddle 3 and a model in pdmodel form, got model.json with Paddle 3"),
        (
            ["--backend", "onednn", "--precision", "fp16"],
            "expected the precision of cpu onednn to be one of fp32, bf16",
        ),
        (["--threads", "two"], "--threads: expected a whole number from 0 to 1024"),
        (["--batch_size", "0"], "--batch_size: expected a whole number from 1 to 1024"),
        (["--input", "nowhere"], "does not exist"),
        (["--input", str(SOURCE)], "expected images"),
        (["--input", str(FRAMES), "--save_dir", "/dev/null"], "folder that can be written"),
        (["--backened", "native"], "--backened"),
    ],
)
def test_bad_arguments(arguments, message, rtseg_infer, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(rtseg_infer, exported["logits"], message, *arguments)
    assert os.listdir(tmp_path) == []


def refused(program, model, message, *arguments):
    """One sentence, and the status for a run that could not start."""
    status, out, err = run(program, "--model", model, *arguments)
    assert status == 2 and not out
    last = err.splitlines()[-1]  # Paddle's log may come before it
    assert last.startswith("error: ") and message in last


def edit(folder, *keys, **changes):
    """Change keys of deploy.yaml, in the part that ``keys`` lead to."""
    path = folder / "deploy.yaml"
    document = yaml.safe_load(path.read_text())
    part = document["rtseg"]
    for key in keys:
        part = part[key]
    part.update(changes)
    path.write_text(yaml.safe_dump(document))


def make_video(path, frames, size):
    """A video without loss, which every decoder reads alike."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 12.5, size)
    pixels = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(pixels.integers(0, 256, (size[1], size[0], 3), np.uint8))
    writer.release()


def test_video_equals_python(onnx_infer, onnx_model, tmp_path):
    make_video(tmp_path / "drive.avi", 5, (97, 65))
    command = [onnx_infer, "--model", onnx_model, "--backend", "onnxruntime", "--input", tmp_path / "drive.avi"]
    status, shown, err = run(*command, "--save_dir", tmp_path / "out", "--batch_size", 2, "--max_frames", 4)
    assert status == 0, err
    assert "4 written" in shown
    python_out = tmp_path / "python"
    arguments = ["--model", onnx_model, "--backend", "onnxruntime", "--input", tmp_path / "drive.avi"]
    assert cli.run([str(a) for a in [*arguments, "--save_dir", python_out, "--max_frames", 4]]) == 0
    names = sorted(path.relative_to(python_out) for path in python_out.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert len(names) == 5
    for name in names[:4]:
        assert (tmp_path / "out" / name).read_bytes() == (python_out / name).read_bytes()
    captures = [cv2.VideoCapture(str(folder / "overlays" / "drive.mp4")) for folder in (tmp_path / "out", python_out)]
    for name in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
        assert captures[0].get(name) == captures[1].get(name) > 0
    ours, theirs = (capture.read()[1].astype(int) for capture in captures)
    assert np.abs(ours - theirs).mean() < 3  # two versions of the encoder


def tremble(path, frames, size):
    """A picture in which one part moves, and a camera's noise is everywhere."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 12.5, size)
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC).astype(float)
    for _ in range(frames):
        image[:, : size[0] // 3] = np.roll(image[:, : size[0] // 3], 5, axis=0)
        writer.write(np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8))
    writer.release()


@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
def test_steadied_video_equals_python(size, onnx_infer, onnx_model, tmp_path, capsys):
    tremble(tmp_path / "drive.avi", 6, size)
    arguments = ["--model", onnx_model, "--backend", "onnxruntime", "--input", tmp_path / "drive.avi"]
    arguments += ["--write", "masks", "--batch_size", 2]
    masks = {}
    for steady in ("1", "3"):
        flags = [str(a) for a in [*arguments, "--steady", steady]]
        status, shown, err = run(onnx_infer, *flags, "--save_dir", tmp_path / "cpp" / steady)
        assert status == 0, err
        assert cli.run([*flags, "--save_dir", str(tmp_path / "python" / steady)]) == 0
        printed = capsys.readouterr().out
        line = next(line for line in printed.splitlines() if line.startswith("flicker: "))
        assert line in shown.splitlines() and "(100.0% stand still)" not in line and "(0.0% stand" not in line
        masks[steady] = [
            [path.read_bytes() for path in sorted((tmp_path / language / steady / "masks").rglob("*.png"))]
            for language in ("cpp", "python")
        ]
        assert masks[steady][0] == masks[steady][1] and len(masks[steady][0]) == 6
    assert masks["1"] != masks["3"]


def test_bad_videos_equal_python(onnx_infer, onnx_model, tmp_path, capsys):
    make_video(tmp_path / "cut.avi", 20, (96, 64))
    data = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    make_video(tmp_path / "whole.avi", 2, (96, 64))
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((64, 96, 3), np.uint8))
    for name, expected, *flags in (
        ("image.png", 2, "--steady", 2),
        ("image.png", 2, "--motion", 2),
        ("whole.avi", 2, "--steady", 2, "--tile", "32x32"),
        ("cut.avi", 1),
        ("text.mp4", 2),
        ("pipe.mp4", 2),
        ("missing.mp4", 2),
        ("whole.avi", 2, "--write", "coco"),
    ):
        arguments = ["--model", onnx_model, "--backend", "onnxruntime", "--input", tmp_path / name, *flags]
        status, _, err = run(onnx_infer, *arguments, "--save_dir", tmp_path / "out")
        assert (status, cli.run([str(a) for a in [*arguments, "--save_dir", tmp_path / "python"]])) == (expected,) * 2
        sentence = next(line for line in err.splitlines() if line.startswith(("error", "skipped")))
        said = capsys.readouterr().err
        if name != "missing.mp4":  # Python takes cameras too, and says so
            assert sentence in said
    arguments = ["--model", onnx_model, "--input", tmp_path / "cut.avi", "--write", "coco"]
    for program in (lambda *words: run(onnx_infer, *words)[0], lambda *words: cli.run(list(map(str, words)))):
        assert program(*arguments, "--save_dir", tmp_path / "coco") == 2 and not (tmp_path / "coco").exists()
    assert not list((tmp_path / "out").rglob(".partial-*"))
