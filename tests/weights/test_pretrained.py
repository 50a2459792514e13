"""Weights to start a training from: every network, with the classes of the weights and with others."""

import numpy as np
import paddle
import pytest
from comparing import zip_strict
from tiny_models import CASES, create

import paddle_rtseg
from paddle_rtseg.errors import InputError
from paddle_rtseg.weights import load_pretrained


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("case", [case for case in CASES if " " not in case.name], ids=lambda case: case.name)
def test_another_number_of_classes(case, tmp_path, capsys):
    path = str(tmp_path / "start.pdparams")
    paddle.save(create(case, num_classes=5).state_dict(), path)
    there = arrays(create(case, num_classes=5))
    case = case._replace(arguments={**case.arguments, "pretrained": path})
    here = arrays(create(case, num_classes=3, seed=1))
    new = [name for name, value in here.items() if value.shape != there[name].shape]
    assert new and all(value.shape[0] == 3 for name, value in here.items() if name in new)
    for name, value in here.items():
        if name not in new and not name.endswith("_variance"):  # which `create` draws
            np.testing.assert_array_equal(value, there[name], err_msg=name)
    shown = capsys.readouterr().out
    assert "Not loaded from the weights" in shown and all(name in shown for name in new)


def test_the_same_classes_are_loaded_too(tmp_path, capsys):
    there = create(CASES[0])
    here = create(CASES[0], seed=1)
    assert load_pretrained(here, there.state_dict()) == []
    for (name, mine), theirs in zip_strict(arrays(here).items(), arrays(there).values()):
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
    assert "Not loaded" not in capsys.readouterr().out


def test_parts_to_leave_out():
    there, here = create(CASES[0], num_classes=7), create(CASES[0], num_classes=7, seed=1)
    before = arrays(here)
    new = load_pretrained(here, there.state_dict(), skip=["seghead"])
    assert new and all(name.startswith("seghead.") for name in new)
    for name, value in arrays(here).items():
        expected = before[name] if name in new else there.state_dict()[name].numpy()
        np.testing.assert_array_equal(value, expected, err_msg=name)
    with pytest.raises(InputError, match="pretrained_skip names 'seg', which neither"):
        load_pretrained(here, there.state_dict(), skip=["seg"])


def test_anything_else_is_refused():
    there = create(CASES[0], num_classes=7).state_dict()
    here = create(CASES[0], num_classes=3)
    before = arrays(here)
    wider = create(CASES[0]._replace(arguments={**CASES[0].arguments, "base_channels": 16}), num_classes=7).state_dict()
    two_counts = {**there, "seghead.conv2.bias": paddle.zeros([9])}
    missing = {name: value for name, value in there.items() if not name.startswith("layer4")}
    for state, match in (
        (wider, "with a different shape"),
        (two_counts, r"seghead.conv2.bias \(expected \[3\], got \[9\]\)"),
        (missing, "missing layer4"),
        ({**there, "foreign": paddle.zeros([1])}, "not in the model foreign"),
    ):
        with pytest.raises(InputError, match=match):
            load_pretrained(here, state)
    for name, value in arrays(here).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_released_weights_for_other_classes():
    street = paddle_rtseg.create_model("RTFormer_Slim", pretrained="camvid")
    model = paddle_rtseg.create_model("RTFormer_Slim", num_classes=3, pretrained="rtformer_slim_camvid")
    assert model.seghead.conv2.weight.shape[0] == 3
    np.testing.assert_array_equal(model.conv1[0].weight.numpy(), street.conv1[0].weight.numpy())
