"""What can be tested of ONNX Runtime's GPU path without a GPU: settings, buffers, placement, and every refusal."""

import dataclasses
import importlib.util
import os
import shutil
import sys
import types

import numpy as np
import pytest
from comparing import zip_strict
from rtseg_inference import (
    InputError,
    Predictor,
    cli,
    contract,
    errors,
    fastest,
    gpu,
    onnx_gpu_runtime,
    onnx_providers,
    selection,
)
from rtseg_inference.configuration import AUTO_PRECISIONS, BACKENDS, Configuration
from tiny_onnx import export_with_onnx

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="onnx and onnxruntime are not installed",
)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return export_with_onnx(model, tmp_path_factory.mktemp("onnx") / "model")


@pytest.fixture
def no_gpu(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(gpu, "cards", list)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


@pytest.fixture
def session(folder):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, ["CPUExecutionProvider"])


def test_buffers_give_what_the_session_gives(session):
    import onnxruntime

    batches = np.random.RandomState(0).rand(3, 2, 3, 64, 80).astype(np.float32)
    buffers = onnx_gpu_runtime.Buffers(onnxruntime, session, batches[0], "cpu")
    outputs = [buffers.run(batch) for batch in batches]
    for batch, output in zip_strict(batches, outputs):
        np.testing.assert_array_equal(output, session.run(None, {"x": batch})[0])
    buffers.repeat()
    np.testing.assert_array_equal(buffers.run(batches[0]), outputs[0])


def test_operators_are_found_where_they_ran(folder, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, ["CPUExecutionProvider"])
    for _ in range(2):
        session.run(None, {"x": np.zeros((1, 3, 64, 64), np.float32)})
    where = onnx_gpu_runtime.placement(session.end_profiling())
    assert list(where) == ["CPUExecutionProvider"] and any("relu" in name for name in where["CPUExecutionProvider"])
    assert len(set(where["CPUExecutionProvider"])) == len(where["CPUExecutionProvider"])


def test_many_names_are_counted():
    assert errors.listed(["a", "b"]) == "2 (a, b)"
    assert errors.listed(list("abcdefg")) == "7 (a, b, c, d, e, ...)"


def test_only_tf32_rounds_in_the_matrix_units():
    chosen = {p: onnx_providers.cuda_options(p, False)["use_tf32"] for p in ("fp32", "tf32", "fp16")}
    assert chosen == {"fp32": 0, "tf32": 1, "fp16": 0}


def test_heuristics_choose_the_algorithms():
    assert onnx_providers.cuda_options("fp16", True)["cudnn_conv_algo_search"] == "HEURISTIC"


def test_engines_are_kept_apart(folder, tmp_path, monkeypatch):
    """By model, card, versions, precision and provider."""
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path))
    card = gpu.Card("Card", (9, 0), 1000, "580.1")
    monkeypatch.setattr(gpu, "cards", lambda: [card])
    model = contract.read_contract(folder)

    def engines(provider="tensorrt", precision="fp32", version="1.0"):
        return onnx_providers.engine_folder(model, Configuration("gpu", "onnxruntime", precision, 0, provider), version)

    first = engines()
    assert engines() == first and os.path.dirname(first) == str(tmp_path)
    others = {engines("tensorrt_rtx"), engines(precision="tf32"), engines(version="1.1")}
    card = gpu.Card("Card", (9, 0), 1000, "590.1")
    others.add(engines())
    assert len(others | {first}) == 5


def test_engines_are_built_for_the_shapes_of_the_contract(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(gpu, "cards", list)
    model = contract.read_contract(folder)
    settings = onnx_providers.tensorrt_options(model, Configuration("gpu", "onnxruntime", provider="tensorrt"), "1")
    assert settings["trt_profile_min_shapes"] == "x:1x3x32x32"
    assert settings["trt_profile_opt_shapes"] == "x:1x3x512x1024"
    assert settings["trt_profile_max_shapes"] == "x:4x3x1024x2048"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "[E:onnxruntime:Default, provider_bridge_ort.cc:2170 TryGetProviderInfo_CUDA] x.cc:1518 Get() Failed to "
            "load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object "
            "file: No such file or directory\n",
            "libcublasLt.so.13 of CUDA, cuDNN or TensorRT is missing or of another major version",
        ),
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=0", "is insufficient"),
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1", "no CUDA-capable device is detected"),
        ("", "it gives no reason"),
    ],
)
def test_reasons_for_a_missing_provider(log, reason):
    found = onnx_providers.why_missing(log)
    assert reason in found and "\n" not in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: a GPU was requested, but ONNX Runtime cannot use cuda (this ONNX Runtime, "),
        (["--precision", "tf32"], "is built without CUDAExecutionProvider); no NVIDIA GPU was found: check the driver"),
        (["--provider", "tensorrt"], "cannot use tensorrt (this ONNX Runtime, "),
        (["--provider", "tensorrt_rtx"], "pip install onnxruntime onnxruntime-ep-nv-tensorrt-rtx"),
        (["--precision", "fp16"], "has no half-precision ONNX form of the model; export it with --precision fp16"),
        (
            ["--precision", "bf16"],
            "precision of gpu onnxruntime to be one of fp32, tf32, fp16, got 'bf16'",
        ),
    ],
)
def test_refusals_are_one_sentence(arguments, message, folder, no_gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(folder, tmp_path / "model")
    found = contract.read_contract(str(folder))
    contract.write_contract(dataclasses.replace(found, onnx_fp16=None), {})
    assert cli.run(["--model", str(folder), "--device", "gpu", "--backend", "onnxruntime", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_a_missing_gpu_names_every_backend_and_precision(folder, no_gpu):
    with pytest.raises(InputError, match="no configuration reproduces") as error:
        fastest(folder, "gpu")
    for backend, precisions in BACKENDS["gpu"].items():
        for precision in precisions:
            assert (f"gpu {backend} {precision}: " in str(error.value)) == (precision in AUTO_PRECISIONS["gpu"])


def test_the_fastest_precision_is_chosen(folder, monkeypatch):
    """With predictors that claim to be on a GPU, of which fp16 misses the golden output and TF32 is the fastest."""

    class OnGpu(Predictor):
        def __init__(self, model_dir, device, backend, precision, threads, strict):
            super().__init__(model_dir, "cpu", "onnxruntime")
            self.configuration = Configuration(device, backend, precision, strict=strict)

        def verify(self):
            return dataclasses.replace(super().verify(), passed=self.configuration.precision != "fp16")

    monkeypatch.setattr(selection, "Predictor", OnGpu)
    times = {"gpu onnxruntime tf32": 1.0, "gpu onnxruntime fp16": 0.5}
    monkeypatch.setattr(
        selection, "_least_times", lambda passed, image: {name: times.get(name, 2.0) for name in passed}
    )
    predictor, trials = fastest(folder, "gpu")
    assert str(predictor.configuration) == "gpu onnxruntime tf32"
    assert [trial.name for trial in trials if trial.milliseconds is None] == [
        f"gpu {backend} fp16" for backend, precisions in BACKENDS["gpu"].items() if "fp16" in precisions
    ]


@pytest.mark.parametrize(("capability", "refused"), [((7, 5), True), ((8, 0), False)])
def test_tf32_needs_ampere(capability, refused, folder, no_gpu, monkeypatch):
    monkeypatch.setattr(gpu, "cards", lambda: [gpu.Card("Some card", capability, 1000, "580")])
    message = "compute capability 8.0 or later for tf32, got Some card" if refused else "an ONNX Runtime with CUDA"
    with pytest.raises(InputError, match=message):
        Predictor(folder, "gpu", "onnxruntime", "tf32")


def test_libraries_of_pip_packages_are_loaded_wherever_they_lie(tmp_path, monkeypatch, capsys):
    folders = [tmp_path / "nvidia" / name / "lib" for name in ("cu13", "cudnn")]
    for folder in folders:
        folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    asked = []

    def preload_dlls(directory=None):
        asked.append(directory)
        print("Failed to load libcudart.so")

    onnx_gpu_runtime.preload(types.SimpleNamespace(preload_dlls=preload_dlls))
    assert asked == [*map(str, folders), None] and capsys.readouterr().out == ""
    onnx_gpu_runtime.preload(types.SimpleNamespace())  # a release without it


class FakeCuda:
    """onnxruntime whose CUDA provider is the CPU's, for the code around it."""

    def __init__(self, monkeypatch, on_cpu=(), refuses=False):
        import onnxruntime

        self.created, real = [], onnxruntime.InferenceSession

        def create(path, options, providers, enable_fallback):
            self.created.append(providers[0][1]["enable_cuda_graph"])
            if refuses and self.created[-1]:
                raise RuntimeError("This session cannot use the graph capture feature as requested")
            session = real(path, options, providers=["CPUExecutionProvider"])
            session.get_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
            return session

        buffers = onnx_gpu_runtime.Buffers
        fake = types.SimpleNamespace(**vars(onnxruntime))
        fake.InferenceSession = create
        fake.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnx_gpu_runtime, "import_onnxruntime", lambda configuration: fake)
        monkeypatch.setattr(onnx_gpu_runtime, "preload", lambda module: None)
        monkeypatch.setattr(gpu, "cards", list)
        monkeypatch.setattr(onnx_gpu_runtime, "placement", lambda profile: {"CPUExecutionProvider": list(on_cpu)})
        monkeypatch.setattr(
            onnx_gpu_runtime,
            "Buffers",
            lambda module, session, batch, device, graph: buffers(module, session, batch, "cpu"),
        )


@pytest.fixture(scope="module")
def fixed_folder(model, tmp_path_factory):
    """Height and width are fixed, the batch is free."""
    return export_with_onnx(model, tmp_path_factory.mktemp("fixed") / "model", [-1, 3, 128, 192])


def test_free_sizes_are_not_captured(folder, frame, monkeypatch):
    fake = FakeCuda(monkeypatch)
    predictor = Predictor(folder, "gpu", "onnxruntime")
    assert fake.created == [0] and not predictor.runtime.captured and predictor.verify().passed
    for k in range(onnx_gpu_runtime.SHAPES + 3):
        predictor.predict(frame[: 40 + k, :40])
    assert len(predictor.runtime._buffers) <= onnx_gpu_runtime.SHAPES


def test_a_fixed_size_is_captured(fixed_folder, monkeypatch):
    fake = FakeCuda(monkeypatch)
    predictor = Predictor(fixed_folder, "gpu", "onnxruntime", "tf32")
    assert fake.created == [1] and predictor.runtime.captured and predictor.verify().passed
    predictor.runtime.repeat()


def test_half_precision_has_a_file_of_its_own(folder, monkeypatch):
    FakeCuda(monkeypatch)
    predictor = Predictor(folder, "gpu", "onnxruntime", "fp16")
    assert predictor.runtime.path.endswith("model_fp16.onnx")
    verification = predictor.verify()
    assert verification.passed and verification.rms_error > 1e-5  # it is not the file in fp32


def test_capture_that_fails_in_the_first_run_falls_back(fixed_folder, monkeypatch):
    fake = FakeCuda(monkeypatch)
    predictor = Predictor(fixed_folder, "gpu", "onnxruntime")
    working = onnx_gpu_runtime.Buffers

    def failing(module, session, batch, device, graph):
        if graph is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        return working(module, session, batch, device, graph)

    monkeypatch.setattr(onnx_gpu_runtime, "Buffers", failing)
    assert predictor.verify().passed and fake.created == [1, 0] and not predictor.runtime.captured


def test_refused_capture_falls_back(fixed_folder, monkeypatch):
    fake = FakeCuda(monkeypatch, refuses=True, on_cpu=["TopK_1"])
    predictor = Predictor(fixed_folder, "gpu", "onnxruntime")
    assert fake.created == [1, 0] and not predictor.runtime.captured and predictor.verify().passed
    assert predictor.runtime.on_processor == ["TopK_1"]


def test_operators_on_the_processor_are_an_error_if_strict(folder, monkeypatch):
    FakeCuda(monkeypatch, on_cpu=["TopK_1", "ArgMax_7"])
    with pytest.raises(InputError, match=r"got 2 \(TopK_1, ArgMax_7\) on the processor; leave out --strict"):
        Predictor(folder, "gpu", "onnxruntime", strict=True)


def test_operators_on_the_processor_are_reported(folder, monkeypatch, capsys):
    FakeCuda(monkeypatch, on_cpu=["TopK_1"])
    assert cli.run(["--model", folder, "--device", "gpu", "--backend", "onnxruntime"]) == 0
    assert "on the processor: 1 (TopK_1)" in capsys.readouterr().out
