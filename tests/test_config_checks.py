"""Values of a config that cannot work are refused before anything is built; those of PaddleSeg's configs are not."""

import pytest
from tiny_configs import tiny_config, write_config

from paddle_rtseg.config import load_config
from paddle_rtseg.config_checks import channels, check_prediction, num_classes
from paddle_rtseg.errors import InputError

#: A value for a key of the tiny config, and what the error says.
REFUSED = [
    ("batch_size", 0, "expected a whole number from 1 to .* as batch_size, got '0'"),
    ("batch_size", -1, "as batch_size, got '-1'"),
    ("batch_size", 1.5, "as batch_size, got '1.5'"),
    ("batch_size", True, "as batch_size, got 'True'"),
    ("batch_size", [1], r"as batch_size, got '\[1\]'"),
    ("train_dataset.num_classes", [4], r"as Dataset's num_classes, got '\[4\]'"),
    ("iters", 0, "as iters, got '0'"),
    ("iters", 10**30, "as iters, got '1000"),
    ("iters", "many", "as iters, got 'many'; correct it"),
    ("model", 3, "expected keys and values as model, got '3'"),
    ("model", {"num_classes": 4}, "expected model to name its type"),
    ("model.type", 3, "expected model to name its type, got 3"),
    ("model.base_chanels", 3, "does not take 'base_chanels'; did you mean 'base_channels'"),
    (
        "model.num_classes",
        5,
        "expected one number of classes in model and datasets, got 5 in model, 4 in train_dataset",
    ),
    ("model.num_classes", 0, "as RTFormer_Slim's num_classes, got '0'"),
    ("model.in_channels", 4, "expected images of 4 channels, as the model takes, got 3 in train_dataset"),
    ("train_dataset", None, "No train_dataset"),
    ("train_dataset", [], "expected keys and values as train_dataset"),
    ("train_dataset.type", "CamVids", "'CamVids'; did you mean CamVid"),
    ("train_dataset.num_class", 4, "Dataset does not take 'num_class'; did you mean 'num_classes'"),
    ("train_dataset.img_channels", 1, "got 3 in val_dataset"),
    ("train_dataset.transforms", {"type": "Normalize"}, "expected a list as train_dataset.transforms"),
    ("train_dataset.transforms", ["Normalize"], "expected keys and values as an item of train_dataset.transforms"),
    ("train_dataset.transforms", [{"prob": 1}], "expected an item of train_dataset.transforms to name its type"),
    ("train_dataset.transforms", [{"type": "Resize", "target_size": [0, 64]}], "as Resize's target_size, got '0'"),
    ("train_dataset.transforms", [{"type": "Resize", "target_size": "big"}], "as Resize's target_size, got 'big'"),
    ("train_dataset.transforms", [{"type": "RandomBlur", "prob": 7}], "number from 0 to 1 as RandomBlur's prob"),
    ("val_dataset.transforms", [{"type": "Normalize", "mean": [0.5, 0.5]}], "expected one mean or 3 .*, got 2"),
    ("val_dataset.transforms", [{"type": "Normalize", "std": 0.5}], "expected a list as Normalize's std"),
    ("val_dataset.transforms", [{"type": "Normalize", "std": [0, 1, 1]}], "a number above 0 as Normalize's std"),
    ("optimizer.type", "SDG", "'SDG'; did you mean SGD"),
    ("optimizer.momentum", 2, "from 0 to 1 as optimizer.momentum"),
    ("optimizer.weight_decay", -1, "a number of 0 or more as optimizer.weight_decay, got '-1'"),
    ("optimizer", {"type": "AdamW", "lazy_mode": "x"}, "expected lazy_mode of AdamW to be true or false, got .x."),
    ("optimizer", {"type": "AdamW", "beta1": {}}, "expected a number from 0 to 1 as optimizer.beta1, got '{}'"),
    ("lr_scheduler.type", "PolynomialDecays", "did you mean 'PolynomialDecay'"),
    ("lr_scheduler.type", "np", "expected a schedule of paddle.optimizer.lr as lr_scheduler.type, got 'np'"),
    ("lr_scheduler.learning_rate", 0, "expected a number above 0 as lr_scheduler.learning_rate, got '0'"),
    ("lr_scheduler.learning_rate", -0.1, "as lr_scheduler.learning_rate, got '-0.1'"),
    ("lr_scheduler.learning_rate", "1e-3", "as lr_scheduler.learning_rate, got '1e-3'; write 0.001"),
    ("lr_scheduler.learning_rate", "nan", "as lr_scheduler.learning_rate, got 'nan'; correct it"),
    ("lr_scheduler.powr", 0.9, "PolynomialDecay does not take 'powr'; did you mean 'power'"),
    ("lr_scheduler.power", -1, "as lr_scheduler.power"),
    ("lr_scheduler.warmup_iters", -1, "as lr_scheduler.warmup_iters"),
    ("lr_scheduler.warmup_iters", 5, "expected warmup_start_lr and learning_rate with lr_scheduler.warmup_iters"),
    ("loss", {"coef": [1, 1]}, "expected a list as loss.types, got 'None'"),
    ("loss.types", [], "expected a list as loss.types"),
    ("loss.coef", 1, "expected a list as loss.coef"),
    ("loss.coef", [1, "x"], "as loss.coef, got 'x'"),
    (
        "loss.types",
        [{"type": "CrossEntropyLoss"}] * 3,
        "expected as many items in loss.coef as in loss.types, 3, got 2",
    ),
    ("loss.typ", 1, "loss has an unknown key 'typ'; did you mean 'types'"),
    ("loss.types", [{"type": "PixelCrossEntropyLoss", "weight": [1, 1]}], "expected 4 numbers as PixelCross.*, got 2"),
    (
        "loss.types",
        [{"type": "MixedLoss", "losses": [], "coef": [1]}],
        "the same length as MixedLoss's losses and coef",
    ),
    ("loss.types", [{"type": "BCELoss", "edge_label": True}] * 2, "expected labels of edges for BCELoss's edge_label"),
    ("teacher", {"type": "RTFormer_Slim", "num_classes": 4}, "expected trained weights of the teacher, got none"),
    ("teacher", {"type": "RTFormer_Slim", "num_classes": 5, "pretrained": "x"}, "expected a distill_loss with the"),
    ("teacher", {"num_classes": 5, "pretrained": "x"}, "expected teacher to name its type"),
    ("test_config", {"is_slid": True}, "expected no 'test_config.is_slid'; did you mean 'is_slide'"),
    ("test_config", {"aug_eval": "yes"}, "expected true or false as test_config.aug_eval, got 'yes'"),
    ("test_config", {"aug_eval": True, "scales": [1, 0]}, "as test_config.scales, got '0'"),
    ("test_config", {"is_slide": True, "crop_size": [64, 64]}, "width and height as test_config.stride, got 'None'"),
    (
        "test_config",
        {"is_slide": True, "crop_size": [64], "stride": [1, 1]},
        "width and height as test_config.crop_size",
    ),
    ("test_config", {"is_slide": True, "crop_size": [64, 64], "stride": [0, 9]}, "as test_config.stride, got '0'"),
    ("test_config", {"is_slide": True, "crop_size": [8, 8], "stride": [8, 9]}, "which leaves pixels out; lower it"),
    ("log_ranks", "all", "expected process numbers such as 0,1 as log_ranks, got 'all'"),
    ("to_static_training", "no", "expected true or false as to_static_training, got 'no'"),
]


def with_value(tmp_path, key, value):
    """The path of the tiny config with one value changed."""
    values = tiny_config(tmp_path)
    section, _, name = key.rpartition(".")
    (values[section] if section else values)[name] = value
    return write_config(tmp_path / "config.yml", values)


@pytest.mark.parametrize("key, value, words", REFUSED, ids=[f"{key}-{value}"[:60] for key, value, _ in REFUSED])
def test_refused(tmp_path, key, value, words):
    with pytest.raises(InputError, match=words) as raised:
        load_config(with_value(tmp_path, key, value))
    assert len(str(raised.value)) < 500 and "\n" not in str(raised.value)


@pytest.mark.parametrize("key, value, words", [case for case in REFUSED if not isinstance(case[1], (dict, list))])
def test_refused_on_the_command_line(tmp_path, key, value, words):
    if value in ("1e-3", "no"):
        pytest.skip("a number and false in Python's and YAML's notation")
    path = write_config(tmp_path / "config.yml", tiny_config(tmp_path))
    with pytest.raises(InputError):
        load_config(path, opts=[f"{key}={value}"])


@pytest.mark.parametrize(
    "flags", [{"batch_size": 0}, {"iters": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}]
)
def test_flags_are_not_ignored(tmp_path, flags):
    path = write_config(tmp_path / "config.yml", tiny_config(tmp_path))
    with pytest.raises(InputError, match=f"{next(iter(flags))}, got '?(0|nan)"):
        load_config(path, **flags)


def test_flag_that_the_schedule_does_not_take(tmp_path):
    schedule = {"type": "PiecewiseDecay", "boundaries": [5], "values": [0.1, 0.01]}
    path = write_config(tmp_path / "config.yml", tiny_config(tmp_path, lr_scheduler=schedule))
    assert load_config(path).lr_scheduler_cfg == schedule
    with pytest.raises(InputError, match="PiecewiseDecay does not take 'learning_rate'"):
        load_config(path, learning_rate=0.1)


ACCEPTED = [
    ("test_config", {"aug_eval": True, "scales": 0.75}),
    ("test_config", {"is_slide": True, "crop_size": [64, 32], "stride": [64, 32], "auc_roc": True}),
    ("test_config", None),
    ("val_dataset", None),
    ("train_dataset.shuffle", False),
    ("loss.types", [{"type": "PixelCrossEntropyLoss", "weight": [1, 1, 1, 1]}]),
    ("loss.types", [{"type": "MixedLoss", "losses": [{"type": "DiceLoss"}], "coef": [0.5]}] * 2),
    ("optimizer", {"type": "sgd", "momentum": 0.9, "weight_decay": 0}),
    ("val_dataset.transforms", [{"type": "Normalize", "mean": [0.5], "std": [0.5, 0.5, 0.5]}]),
    ("hpi_config_path", "hpi.yml"),
    ("log_ranks", "0,1"),
    ("log_ranks", [0, 1]),
]


@pytest.mark.parametrize("key, value", ACCEPTED)
def test_accepted(tmp_path, key, value):
    config = load_config(with_value(tmp_path, key, value))
    assert num_classes(config.dic) == 4 and channels(config.dic) == 3


def test_grey_images(tmp_path):
    """As in PaddleSeg, the network takes what the data have."""
    values = tiny_config(tmp_path)
    for name in ("train_dataset", "val_dataset"):
        values[name]["img_channels"] = 1
    config = load_config(write_config(tmp_path / "config.yml", values))
    assert channels(config.dic) == config.model_cfg["in_channels"] == 1


@pytest.mark.parametrize("name", ["RandomPaddingCrop", "RandomHorizontalFlip", "ResizeStepScaling"])
def test_transforms_that_cannot_be_undone(tmp_path, name):
    values = tiny_config(tmp_path)
    check_prediction(values)
    values["val_dataset"]["transforms"] = [{"type": name}, {"type": "Normalize"}]
    config = load_config(write_config(tmp_path / "config.yml", values))
    with pytest.raises(
        InputError, match=f"by a resize and a padding only, got {name}, which is for training; remove it"
    ):
        check_prediction(config.dic)


@pytest.mark.parametrize("section", ["model", "loss", "train_dataset"])
@pytest.mark.parametrize("value", [3, [1]])
def test_sections_with_a_dataset_file(tmp_path, section, value):
    path = write_config(tmp_path / "config.yml", tiny_config(tmp_path, data="data.yml", **{section: value}))
    with pytest.raises(InputError, match=f"expected keys and values as {section}"):
        load_config(path)


KL = {"types": [{"type": "KLLoss"}], "coef": [1]}
TEACHERS = [
    ({"num_classes": 5}, KL, "expected one number of classes .* got 4 in model, 5 in teacher"),
    ({"in_channels": 4}, KL, "expected a teacher for images of 3 channels, as the model takes, got 4"),
    ({}, {"types": [{"type": "DiceLoss"}], "coef": [1]}, "expected KLLoss in distill_loss, got DiceLoss"),
    ({}, {"types": [{"type": "KLLoss"}], "coef": [-1]}, "expected a number of 0 or more as distill_loss.coef"),
]


@pytest.mark.parametrize("teacher, losses, message", TEACHERS)
def test_teacher_that_does_not_fit(teacher, losses, message, tmp_path):
    teacher = {"type": "RTFormer_Slim", "pretrained": "x.pdparams", **teacher}
    config = tiny_config(tmp_path, teacher=teacher, distill_loss=losses)
    with pytest.raises(InputError, match=message):
        load_config(write_config(tmp_path / "c.yml", config))


def test_distillation_without_a_teacher(tmp_path, capsys):
    load_config(write_config(tmp_path / "c.yml", tiny_config(tmp_path, distill_loss=KL)))
    assert "distill_loss has no effect: the config has no teacher" in capsys.readouterr().err
