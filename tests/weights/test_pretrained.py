"""Weights to start a training from: every network, with the classes of the weights and with others."""

import numpy as np
import paddle
import pytest
import tiny_training
from comparing import zip_strict
from tiny_configs import tiny_config, write_config
from tiny_models import CASES, create

import paddle_rtseg
from paddle_rtseg.config import Builder, load_config
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


#: PaddleSeg's networks, made small, and their classifiers.
PADDLESEGS = {
    "BiSeNetV2": ({"lambd": 0.1}, ["aux_head1.conv_1x1.bias", "head.conv_1x1.weight"]),
    "SegFormer": (
        {"backbone": {"type": "MixVisionTransformer_B0"}, "embedding_dim": 8},
        ["linear_pred.weight", "linear_pred.bias"],
    ),
    "PPLiteSeg": (
        {"backbone": {"type": "STDC1"}, "arm_out_chs": [8, 8, 8], "cm_out_ch": 8, "seg_head_inter_chs": [8] * 3},
        ["seg_heads.0.conv_out.weight"],
    ),
}


@pytest.fixture(params=PADDLESEGS)
def paddlesegs(request, tmp_path):
    """One of PaddleSeg's networks: a function that makes it, its classifiers, and a file of weights for 5 classes."""
    arguments, classifiers = PADDLESEGS[request.param]

    def make(**more):
        return paddle_rtseg.create_model(request.param, **{**arguments, **more})

    path = str(tmp_path / "five.pdparams")
    paddle.save(make(num_classes=5).state_dict(), path)
    return make, classifiers, path


def test_paddlesegs_networks(paddlesegs, capsys):
    make, classifiers, path = paddlesegs
    capsys.readouterr()
    there, here = make(num_classes=5, pretrained=path).state_dict(), make(num_classes=3, pretrained=path).state_dict()
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "Not loaded from the weights in" in line)
    new = line.partition("so new: ")[2].split(", ")
    assert set(classifiers) <= set(new) == {name for name in here if list(here[name].shape) != list(there[name].shape)}
    for name, value in here.items():
        if name not in new:
            np.testing.assert_array_equal(value.numpy(), there[name].numpy(), err_msg=name)


@pytest.mark.slow
def test_paddlesegs_networks_refuse_the_rest(paddlesegs, without, tmp_path):
    make, _, path = paddlesegs
    state = dict(paddle.load(path))
    lost = next(name for name in state if name.endswith("_mean") or "norm" in name)
    short = str(tmp_path / "short.pdparams")
    paddle.save({name: value for name, value in state.items() if name != lost}, short)
    with pytest.raises(InputError, match=f"do not fit .*: missing {lost}; .*pretrained_skip"):
        make(num_classes=3, pretrained=short)
    with without("pretrained weights, strictly"):
        make(num_classes=3, pretrained=short)
    make(num_classes=3, pretrained=short, pretrained_skip=[lost])
    with pytest.raises(InputError, match="pretrained_skip names 'nothing', which neither"):
        make(num_classes=3, pretrained=path, pretrained_skip=["nothing"])
    with pytest.raises(InputError, match=r"expected pretrained_skip of .* to be a list, .* got 7"):
        make(num_classes=3, pretrained=path, pretrained_skip=7)
    with pytest.raises(InputError, match=r"got '.*missing\.pdparams'"):
        make(num_classes=3, pretrained=str(tmp_path / "missing.pdparams"))


def test_paddlesegs_backbones_leave_out_the_classifier_of_imagenet(tmp_path, capsys):
    path = str(tmp_path / "backbone.pdparams")
    backbone = paddle_rtseg.create_model("STDC1")
    paddle.save({**backbone.state_dict(), "fc.weight": paddle.zeros([8, 1000])}, path)
    capsys.readouterr()
    again = paddle_rtseg.create_model("STDC1", pretrained=path)
    count = len(backbone.state_dict())
    assert f"There are {count}/{count} variables loaded into" in capsys.readouterr().out
    name = next(iter(again.state_dict()))
    np.testing.assert_array_equal(again.state_dict()[name].numpy(), backbone.state_dict()[name].numpy())


def test_paddlesegs_network_from_a_config(tmp_path, tiny_images, capsys):
    path = str(tmp_path / "nine.pdparams")
    paddle.save(paddle_rtseg.create_model("FastSCNN", num_classes=9).state_dict(), path)
    model = {"type": "FastSCNN", "pretrained": path, "pretrained_skip": ["auxlayer"]}
    content = tiny_config(tiny_images, tiny_training.NUM_CLASSES, model=model)
    network = Builder(load_config(str(write_config(tmp_path / "config.yml", content)))).model
    assert network.classifier.conv.weight.shape[0] == tiny_training.NUM_CLASSES
    assert "so new: classifier.conv.weight" in capsys.readouterr().out


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
