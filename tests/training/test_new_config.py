"""Configs written for a dataset of one's own: they load, say what the data are like, and train as they are."""

import os
import shutil

import cv2
import leaves
import numpy as np
import pytest
from processes import python

from paddle_rtseg import create_model
from paddle_rtseg.config import load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.training.new_config import BUNDLED, new_config, save_config
from paddle_rtseg.weights import read_state, released

NETWORKS = ("RTFormer_Slim", "RTFormer_Base", "SegFormerPP:MiT_B0", "LRFormerSeg:LRFormer_T")


@pytest.fixture
def data(tmp_path):
    return leaves.write(str(tmp_path))


def written(data, network, tmp_path):
    path = str(tmp_path / "config.yml")
    text, notes = new_config(data, network, path)
    save_config(text, path)
    return load_config(path), text, notes


@pytest.mark.parametrize("network", NETWORKS)
def test_it_loads_and_fits_the_data(network, data, tmp_path):
    config, text, notes = written(data, network, tmp_path)
    assert config.model_cfg["num_classes"] == 3 and not notes
    assert config.batch_size == 8 and config.iters == 1500
    crop = next(t for t in config.train_dataset_cfg["transforms"] if t["type"] == "RandomPaddingCrop")
    assert crop["crop_size"] == [128, 96]
    weights = [loss["weight"] for loss in config.dic["loss"]["types"]]
    pixels = np.zeros(3)
    for i in range(8):
        label = cv2.imread(os.path.join(os.path.dirname(data), "leaves", "labels", f"train_{i}.png"), 0)
        pixels += np.bincount(label.ravel(), minlength=3)
    np.testing.assert_allclose(weights[0], (np.median(pixels) / pixels) ** 0.35, atol=0.005)
    assert len(weights) == (2 if network.startswith("RTFormer") else 1) and weights[0] == weights[-1]
    resizes = [t for t in config.val_dataset_cfg["transforms"] if t["type"] == "Resize"]
    assert [t["target_size"] for t in resizes] == ([] if network.startswith("RTFormer") else [[128, 96]])
    assert f"--config {tmp_path}/config.yml" in text
    assert config.dic["model"].get("pretrained") == BUNDLED.get(network)


def test_large_images_are_shrunk(data, tmp_path):
    folder = os.path.join(os.path.dirname(data), "leaves")
    for kind, suffix in (("images", ".jpg"), ("labels", ".png")):
        for i in range(8):
            file = os.path.join(folder, kind, f"train_{i}{suffix}")
            pixels = cv2.imread(file, cv2.IMREAD_UNCHANGED)
            cv2.imwrite(file, cv2.resize(pixels, (1920, 1440), interpolation=cv2.INTER_NEAREST))
    config, _, _ = written(data, "RTFormer_Slim", tmp_path)
    assert config.train_dataset_cfg["transforms"][0] == {"type": "Resize", "target_size": [960, 720]}
    assert config.val_dataset_cfg["transforms"][0] == {"type": "ResizeByShort", "short_size": 720}


def test_a_class_that_never_occurs_is_named(data, tmp_path):
    with open(data) as f:
        text = f.read().replace("rust]", "rust, mildew]")
    with open(data, "w") as f:
        f.write(text)
    config, _, notes = written(data, "RTFormer_Slim", tmp_path)
    assert notes == ["class 3 (mildew) never occurs in the training labels"]
    assert config.dic["loss"]["types"][0]["weight"][3] == 1.0


def test_labels_with_a_defect_are_a_sentence(data, tmp_path):
    label = os.path.join(os.path.dirname(data), "leaves", "labels", "train_0.png")
    cv2.imwrite(label, np.full((96, 128), 9, np.uint8))
    with pytest.raises(InputError, match=r"got 1 with one, first: .*train_0\.png.*check_dataset lists them all"):
        new_config(data, "RTFormer_Slim", "config.yml")


@pytest.mark.parametrize(
    "network", ["RTFormer", "SegFormerPP", "SegFormerPP:LRFormer_T", "SegFormerPP:MiT_B9", "", "x" * 999]
)
def test_unknown_networks(network, data):
    with pytest.raises(InputError, match="expected") as e:
        new_config(data, network, "config.yml")
    assert len(str(e.value)) < 400


def test_a_config_is_not_overwritten(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("mine")
    with pytest.raises(InputError, match="a config that does not exist yet"):
        save_config("other", str(path))
    assert path.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("network", BUNDLED)
def test_bundled_weights_fit_their_network(network, data, tmp_path):
    """Everything except classifiers is loaded, and the network is the one that was trained."""
    model = dict(written(data, network, tmp_path)[0].dic["model"])
    made = create_model(model.pop("type"), **model)
    release = released.find(BUNDLED[network])
    trained = read_state(release.path)
    for name, tensor in made.state_dict().items():
        if tensor.shape == list(trained[name].shape):
            np.testing.assert_array_equal(tensor.numpy(), trained[name].astype(np.float32), err_msg=name)
    backbone = release.arguments.get("backbone", {})
    assert model.get("backbone", {}).get("norm_eps") == backbone.get("norm_eps")


@pytest.mark.slow
def test_from_a_dataset_file_to_masks(data, tmp_path):
    """The commands that the config names, with fewer steps."""
    folder = tmp_path
    for arguments in (
        ["paddle_rtseg.new", "--data", data],
        ["paddleseg.train", "--config", "config.yml", "--iters", "8", "--batch_size", "2", "--save_interval", "8"],
        ["paddleseg.val", "--config", "config.yml", "--model_path", "output/iter_8/model.pdparams"],
        [
            "paddleseg.export",
            "--config",
            "config.yml",
            "--model_path",
            "output/iter_8/model.pdparams",
            "--save_dir",
            "exported",
        ],
        ["paddle_rtseg.infer", "--model", "exported", "--input", "leaves/images", "--backend", "native"],
    ):
        done = python("-m", *arguments, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    from rtseg_inference.contract import read_contract

    contract = read_contract(str(folder / "exported"))
    assert contract.classes == leaves.NAMES and contract.palette[0] == (0, 0, 0)
    assert len(os.listdir(folder / "output" / "inference" / "masks")) == 12
    shutil.rmtree(folder / "exported")
