"""Every bundled config: PaddleSeg reads it, its parts fit together, and it is found by name."""

import filecmp
import glob
import os

import numpy as np
import paddle
import persons
import pytest
from paddleseg.cvlibs import SegBuilder, manager
from tiny_configs import run_command

import paddle_rtseg
from paddle_rtseg.config import Builder, find_config, load_config, named_configs
from paddle_rtseg.errors import InputError
from paddle_rtseg.pose.skeletons import skeleton
from paddle_rtseg.tools import check_dataset, export, predict, train, val

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIGS = sorted(
    os.path.relpath(path, ROOT)
    for path in glob.glob(os.path.join(ROOT, "configs", "*", "**", "*.yml"), recursive=True)
    if "/_base_/" not in path
)
POSE = [path for path in CONFIGS if "_pose/" in path]
SEGMENTATION = [path for path in CONFIGS if path not in POSE]
SMALL = [path for path in SEGMENTATION if any(size in os.path.basename(path) for size in ("_slim_", "_b0_", "_t_"))]


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


@pytest.mark.parametrize("path", POSE)
def test_parts_of_a_pose_fit_together(path):
    config = load_config(path)
    for dataset in (config.train_dataset_cfg, config.val_dataset_cfg):
        assert config.model_cfg["num_keypoints"] == len(skeleton(dataset["skeleton"]).names)
    assert config.train_dataset_cfg["input_size"] == config.val_dataset_cfg["input_size"]
    assert f"{config.val_dataset_cfg['input_size'][1]}x{config.val_dataset_cfg['input_size'][0]}" in path


@pytest.mark.slow
@pytest.mark.parametrize("path", POSE)
def test_a_pose_trains(path, tmp_path):
    """On made persons, by a network of fewer layers and channels, at a smaller size."""
    count = load_config(path).model_cfg["num_keypoints"]
    folder = persons.write(tmp_path, keypoints=count, train=4, val=2)
    small = {"model.backbone.embed_dims": [8, 16, 40, 64], "model.backbone.depths": [1, 1, 1, 1]}
    for mode in ("train", "val"):
        small[f"{mode}_dataset.annotations"] = f"{folder}/{mode}.json"
        small.update({f"{mode}_dataset.images": folder, f"{mode}_dataset.input_size": [48, 64]})
    arguments = ["--config", path, "--iters", 1, "--batch_size", 2, "--do_eval", "--save_dir", tmp_path / "out"]
    run_command("train", *arguments, "--device", "cpu", "--opts", *(f"{key}={value}" for key, value in small.items()))
    assert (tmp_path / "out" / "best_model" / "model.pdparams").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, millions", [("segformerpp_b0_coco_384x288", 3.72), ("segformerpp_b5_coco_384x288", 81.97)]
)
def test_a_pose_has_the_published_parameters(name, millions):
    model = Builder(load_config(name)).model
    assert sum(p.size for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.02)


@pytest.mark.parametrize("path", [path for path in POSE if "lspet" not in path])
def test_a_published_pose_keeps_its_learning_rate(path):
    """The steps of the published schedule never happen."""
    rate = Builder(load_config(path, iters=2000)).lr_scheduler
    rates = []
    for _ in range(2000):
        rates.append(rate.get_lr())
        rate.step()
    assert rates[0] == pytest.approx(5e-7) and rates[250] == pytest.approx(2.5e-4, rel=0.01)
    assert rates[500:] == pytest.approx([5e-4] * 1500)


@pytest.mark.parametrize("path", SEGMENTATION)
def test_parts_fit_together(path):
    config = load_config(path)
    classes = manager.DATASETS[config.train_dataset_cfg["type"]].NUM_CLASSES
    assert config.model_cfg["type"] in paddle_rtseg.list_models()
    for dataset in (config.train_dataset_cfg, config.val_dataset_cfg):
        assert config.model_cfg.get("num_classes", classes) == manager.DATASETS[dataset["type"]].NUM_CLASSES
        assert [t["type"] for t in dataset["transforms"]][-1] == "Normalize"
    assert config.iters > config.lr_scheduler_cfg.get("warmup_iters", 0)
    assert len(config.loss_cfg["types"]) == len(config.loss_cfg["coef"])


@pytest.mark.slow
@pytest.mark.parametrize("path", SMALL)
def test_has_a_loss_for_each_output(path):
    config = load_config(path)
    model = SegBuilder(config).model
    model.train()
    classes = manager.DATASETS[config.train_dataset_cfg["type"]].NUM_CLASSES
    outputs = model(paddle.to_tensor(np.zeros((2, 3, 64, 64), "float32")))
    assert len(outputs) == len(config.loss_cfg["coef"])
    assert {tuple(logits.shape) for logits in outputs} == {(2, classes, 64, 64)}


def test_value_on_the_command_line():
    path = os.path.join("configs", "segformerpp", "segformerpp_b0_camvid_480x360.yml")
    config = load_config(path, opts=["model.backbone.token_merging=hq"])
    expected = {**load_config(path).dic["model"]["backbone"], "token_merging": "hq"}
    assert config.dic["model"]["backbone"] == expected


def test_every_config_has_a_unique_name():
    assert len(named_configs()) == len(CONFIGS)


@pytest.mark.parametrize("path", CONFIGS)
def test_found_by_name(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.path.basename(path)
    found = find_config(name)
    assert found == find_config(name[: -len(".yml")])
    assert found.endswith(path) and filecmp.cmp(found, os.path.join(ROOT, path), shallow=False)


def test_a_file_takes_precedence_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rtformer_slim_camvid_demo", "rtformer_slim_camvid_demo.yml"):
        (tmp_path / name).write_text("iters: 5")
        assert find_config(name) == name


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        InputError, match=r"got 'rtformer_slim_cityscape', .*; did you mean rtformer_slim_cityscapes_1024x512_120k"
    ):
        find_config("rtformer_slim_cityscape")
    with pytest.raises(
        InputError, match=r"got 'old/lrformer_t_camvid_480x352.yml', .*; did you mean lrformer_t_camvid_480x352"
    ):
        find_config("old/lrformer_t_camvid_480x352.yml")
    with pytest.raises(InputError, match="which is neither; check --config"):
        find_config("xyz.yaml")


@pytest.mark.parametrize("command", [train, val, predict, export, check_dataset])
def test_every_command_takes_a_name(command, tmp_path, monkeypatch):
    """Each gets as far as the data or the weights, which it does not have here."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", "rtformer_slim_cityscapes_1024x512_120k"]
    if command is predict:
        arguments += ["--image_path", "missing.png"]
    with pytest.raises(InputError, match=r"Cityscapes expects|trained weights|expected images"):
        command.main(command.parser().parse_args(arguments))
