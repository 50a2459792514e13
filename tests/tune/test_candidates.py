"""What a search tries."""

import pytest
from rtseg_inference import processor

from paddle_rtseg.errors import InputError
from paddle_rtseg.models.merging_schedule import parse_schedule
from paddle_rtseg.tune.candidates import MERGINGS, Setting, combinations, settings


@pytest.mark.parametrize("name", MERGINGS)
def test_mergings_can_be_built(name):
    assert len(parse_schedule(MERGINGS[name])) == 4


def test_mergings_differ():
    values = [repr(value) for value in MERGINGS.values()]
    assert len(set(values)) == len(values)


def test_settings_that_the_processor_has(monkeypatch):
    monkeypatch.setattr(processor, "obstacle", lambda precision: "none of that" if precision == "bf16" else None)
    found = settings("cpu", ["onednn", "openvino_runtime"])
    assert found == [("onednn", "fp32"), ("openvino_runtime", "fp32"), ("openvino_runtime", "int8")]
    with pytest.raises(InputError, match="in a precision that it and the machine compute in, got onednn in bf16"):
        settings("cpu", ["onednn"], ["bf16"])


def test_settings_of_a_gpu():
    assert Setting("onnxruntime", "tf32") in settings("gpu")
    with pytest.raises(InputError, match=r"backend of the gpu \(native, tensorrt, onnxruntime\)"):
        settings("gpu", ["openvino"])


def test_backends_compute_the_same_except_in_int8():
    def arithmetic(precision):
        return {Setting(backend, precision).arithmetic for backend in ("onnxruntime", "openvino_runtime")}

    assert len(arithmetic("fp32")) == 1 and len(arithmetic("int8")) == 2


def test_combinations():
    found = combinations(["none", "hq"], [0.5, 1.0], [Setting("onednn", "fp32"), Setting("onnxruntime", "fp32")])
    assert (
        len(set(found)) == 8
        and str(found[0]) == "scale 0.5, onednn, fp32"
        and str(found[-1]).startswith("hq, scale 1,")
    )
