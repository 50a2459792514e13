"""Every config of the project: PaddleSeg reads it, and its parts fit together."""

import glob
import os

import numpy as np
import paddle
import pytest
from paddleseg.cvlibs import SegBuilder, manager

import paddle_rtseg
from paddle_rtseg.config import load_config

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIGS = sorted(
    os.path.relpath(path, ROOT)
    for path in glob.glob(os.path.join(ROOT, "configs", "*", "**", "*.yml"), recursive=True)
    if "/_base_/" not in path
)
SMALL = [path for path in CONFIGS if any(size in os.path.basename(path) for size in ("_slim_", "_b0_", "_t_"))]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_there_are_configs():
    assert len(CONFIGS) >= 8 and SMALL


@pytest.mark.parametrize("path", CONFIGS)
def test_begins_with_its_command(path):
    with open(path) as file:
        head = file.read().split("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"python -m paddleseg.train --config {path}" in head


@pytest.mark.parametrize("path", CONFIGS)
def test_parts_fit_together(path):
    config = load_config(path)
    classes = manager.DATASETS[config.train_dataset_cfg["type"]].NUM_CLASSES
    assert config.model_cfg["type"] in paddle_rtseg.list_models()
    for dataset in (config.train_dataset_cfg, config.val_dataset_cfg):
        assert config.model_cfg.get("num_classes", classes) == manager.DATASETS[dataset["type"]].NUM_CLASSES
        assert [t["type"] for t in dataset["transforms"]][-1] == "Normalize"
    assert config.iters > config.lr_scheduler_cfg.get("warmup_iters", 0)
    assert len(config.loss_cfg["types"]) == len(config.loss_cfg["coef"])


@pytest.mark.parametrize("path", SMALL)
def test_has_a_loss_for_each_output(path):
    config = load_config(path)
    model = SegBuilder(config).model
    model.train()
    classes = manager.DATASETS[config.train_dataset_cfg["type"]].NUM_CLASSES
    outputs = model(paddle.to_tensor(np.zeros((2, 3, 64, 64), "float32")))
    assert len(outputs) == len(config.loss_cfg["coef"])
    assert {tuple(logits.shape) for logits in outputs} == {(2, classes, 64, 64)}


OPTS = {
    "null": None,
    "None": None,
    "false": False,
    "True": True,
    "1e-3": 1e-3,
    "hq": "hq",
    "a/b.pdparams": "a/b.pdparams",
    "[true, false]": [True, False],
    "[{q_mode: n2d}]": [{"q_mode": "n2d"}],
}


@pytest.mark.parametrize("text", OPTS)
def test_values_on_the_command_line(text):
    path = os.path.join("configs", "segformerpp", "segformerpp_b0_camvid_480x360.yml")
    config = load_config(path, opts=[f"model.backbone.token_merging={text}"])
    expected = {**load_config(path).dic["model"]["backbone"], "token_merging": OPTS[text]}
    assert config.dic["model"]["backbone"] == expected
