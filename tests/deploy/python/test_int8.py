"""INT8 in the predictor: checked with several frames, chosen only by name, and with what it costs."""

import dataclasses
import importlib.util
import os
import shutil

import pytest
from rtseg_inference import InputError, Predictor, cli, contract, fastest, processor
from rtseg_inference.errors import Remark
from rtseg_inference.int8_contract import Int8Result
from tiny_int8 import rewrite, spoil_weights
from tiny_network import FRAMES

PACKAGES = {"onnxruntime": "onnxruntime", "openvino_runtime": "openvino"}
backends = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(p), reason=f"{p} is not installed"))
        for name, p in PACKAGES.items()
    ],
)


@pytest.fixture
def copied(exported_int8, tmp_path):
    return shutil.copytree(exported_int8, tmp_path / "model")


@backends
def test_frames_verify(backend, exported_int8):
    predictor = Predictor(exported_int8, backend=backend, precision="int8")
    int8 = predictor.contract.int8
    found = predictor.verify()
    assert found.passed and found.agreement >= int8.backends[backend].agreement and found.cost == int8.cost(backend)
    assert len(int8.frames) == 4 and found.unit == "pixels in the worst of 4 frames"
    miou = int8.backends[backend].miou
    assert int8.miou_fp32 == 1.0 > miou > 0.5  # the labels are fp32's masks
    assert f"mIoU {100 * miou:.2f}% instead of 100.00%" in str(found)


@backends
def test_computes_in_int8(backend, exported_int8, frame):
    """Other logits than fp32's, but close to them."""
    fp32, int8 = (
        Predictor(exported_int8, backend=backend, precision=p).predict(frame).output for p in ("fp32", "int8")
    )
    assert 1e-4 < ((fp32 - int8) ** 2).mean() ** 0.5 / (fp32**2).mean() ** 0.5 < 0.1


@backends
def test_the_worst_frame_counts(backend, copied):
    """A mask that one frame does not have, among four."""
    found = contract.read_contract(str(copied))
    shutil.copy(found.path(found.int8.frames[0].mask), found.path(found.int8.frames[3].mask))
    rewrite(copied)
    verification = Predictor(str(copied), backend=backend, precision="int8").verify()
    assert not verification.passed and verification.agreement < 0.95


@backends
def test_damaged_network_is_refused(backend, copied, tmp_path, capsys):
    flags = ["--model", str(copied), "--input", str(FRAMES), "--save_dir", str(tmp_path / "out")]
    flags += ["--backend", backend, "--precision", "int8"]
    spoil_weights(str(copied / "model_int8.onnx"))
    assert cli.run(flags) == 2
    assert "model_int8.onnx has SHA-256" in capsys.readouterr().err
    rewrite(copied)
    assert cli.run(flags) == 2
    shown = capsys.readouterr().err
    assert f"cpu {backend} int8 does not reproduce the model's golden output" in shown and shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_damaged_frame_is_refused(copied):
    os.truncate(copied / "int8_input_2.png", 1000)
    with pytest.raises(InputError, match=r"int8_input_2\.png has SHA-256"):
        Predictor(str(copied), backend="onnxruntime", precision="int8")


def test_auto_times_it_and_chooses_fp32(exported_int8):
    predictor, trials = fastest(exported_int8)
    assert predictor.configuration.precision == "fp32"
    notes = {trial.name: trial for trial in trials}
    trial = notes["cpu onnxruntime int8"]
    assert trial.milliseconds is not None and "instead of 100.00%; chosen only with --precision int8" in trial.note
    predictor, trials = fastest(exported_int8, precision="int8")
    assert predictor.configuration.precision == "int8" and "chosen only" not in "".join(t.note for t in trials)


def test_auto_does_not_choose_it_where_fp32_fails(copied):
    found = contract.read_contract(str(copied))
    golden = dataclasses.replace(
        found.golden, tolerance={name: contract.Tolerance(0.0, 1.0) for name in found.golden.tolerance}
    )
    shutil.copy(copied / "int8_mask_0.png", copied / "golden_mask.png")
    shutil.copy(copied / "int8_input_1.png", copied / "golden_input.png")
    sums = {name: contract.sha256(found.path(name)) for name in found.sha256}
    contract.write_contract(dataclasses.replace(found, golden=golden, sha256=sums), {})
    with pytest.raises(InputError, match="no configuration reproduces the golden output"):
        fastest(str(copied))


def test_folder_without_it(exported, capsys):
    assert cli.run(["--model", exported["logits"], "--precision", "int8"]) == 2
    assert "has no INT8 form of the model; export it with --precision int8" in capsys.readouterr().err
    _, trials = fastest(exported["logits"])
    assert not [trial for trial in trials if "int8" in trial.name]


@backends
def test_backend_in_which_it_was_not_kept(backend, copied, capsys):
    (other,) = {*PACKAGES} - {backend}
    rewrite(copied, backends={other: Int8Result(0.5, 0.5)})
    assert cli.run(["--model", str(copied), "--backend", backend, "--precision", "int8"]) == 2
    assert f"expected INT8 in {other}, got {backend}, where the export did not measure it" in capsys.readouterr().err
    _, trials = fastest(str(copied))
    assert next(trial for trial in trials if trial.name == f"cpu {backend} int8").left_out


def test_backend_that_lacks_it(exported):
    with pytest.raises(InputError, match="precision of cpu onednn to be one of fp32, bf16, got 'int8'"):
        Predictor(exported["logits"], precision="int8")


@pytest.mark.parametrize(
    ("bits", "flags", "message"),
    [
        (8, {"avx2"}, "8-bit weights, for processors with VNNI, and its products may saturate on this one"),
        (8, {"avx2", "avx_vnni"}, None),
        (7, {"avx512_vnni"}, "7-bit weights, for processors without VNNI"),
        (7, {"avx2"}, None),
        (7, set(), None),
    ],
)
def test_warning_on_processors_of_the_other_kind(bits, flags, message, copied, monkeypatch, capsys, recwarn):
    rewrite(copied, weight_bits=bits)
    monkeypatch.setattr(processor, "flags", lambda: frozenset(flags))
    Predictor(str(copied), backend="onnxruntime", precision="int8")
    warned = [str(warning.message) for warning in recwarn if issubclass(warning.category, Remark)]
    assert len(warned) == (message is not None) and all(message in text for text in warned)
    fastest(str(copied))  # which does not choose INT8
    assert len([warning for warning in recwarn if issubclass(warning.category, Remark)]) == len(warned)


def test_what_is_read_is_written_again_unchanged(exported_int8):
    document = contract.load(exported_int8)
    assert contract.to_document(contract.parse(document, "folder")) == document["rtseg"]
    assert list(document["rtseg"])[-1] == "tensorrt"
