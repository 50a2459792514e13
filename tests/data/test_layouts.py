"""Datasets of which files are missing, for every type that PaddleSeg has."""

import pytest
import requests
from comparing import zip_strict
from paddleseg.cvlibs import manager

from paddle_rtseg.config import Builder
from paddle_rtseg.data.layouts import check_files
from paddle_rtseg.errors import InputError

EVERY_TYPE = sorted(
    name for name, kind in manager.DATASETS.components_dict.items() if kind.__module__.startswith("paddleseg.")
)


def build(kind, **arguments):
    transforms = (
        ["common_transforms", "transforms1", "transforms2"] if kind in ("EG1800", "SUPERVISELY") else ["transforms"]
    )
    return Builder(None).build_component({"type": kind, **{name: [] for name in transforms}, **arguments})


def roots(kind, path):
    names = ["imagenet_root", "pssl_root"] if kind == "PSSLDataset" else ["dataset_root"]
    return {name: str(path) for name in names}


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_empty_folder(tmp_path, kind):
    own = {"num_classes": 2} if kind in ("Dataset", "SegDataset") else {}
    with pytest.raises(InputError, match=r"expects .* got .*; .*(correct|set)"):
        build(kind, **roots(kind, tmp_path), mode="train", **own)


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_unknown_mode(tmp_path, kind):
    with pytest.raises(InputError, match=r"expects a mode of train.* got 'training'"):
        build(kind, **roots(kind, tmp_path), mode="training")


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_missing_folder(tmp_path, kind, monkeypatch):
    """PaddleSeg downloads some datasets: here, from a server that refuses."""

    def refuse(url, **arguments):
        raise requests.exceptions.ConnectionError(f"{url}: " + "refused, " * 100)

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(InputError, match=r"got (none|no )|cannot be downloaded"):
        build(kind, **roots(kind, tmp_path / "nowhere"), mode="train")


def test_cityscapes(tmp_path):
    with pytest.raises(InputError, match=r"expects .* leftImg8bit/val and gtFine/val .* got no .*convert_city"):
        build("Cityscapes", dataset_root=str(tmp_path), mode="val")
    ends = "_leftImg8bit.png", "_gtFine_labelTrainIds.png"
    folders = [tmp_path / folder / "val" / "town" for folder in ("leftImg8bit", "gtFine")]
    for folder in folders:
        folder.mkdir(parents=True)
    with pytest.raises(InputError, match=r"labels NAME_gtFine_labelTrainIds.png .* got none"):
        build("Cityscapes", dataset_root=str(tmp_path), mode="val")
    for name in ("town_1", "town_2"):
        for folder, end in zip_strict(folders, ends):
            (folder / (name + end)).touch()
    assert len(build("Cityscapes", dataset_root=str(tmp_path), mode="val")) == 2
    (folders[1] / ("town_1" + ends[1])).unlink()
    with pytest.raises(InputError, match=r"town_1_gtFine_labelTrainIds.png' to go with"):
        build("Cityscapes", dataset_root=str(tmp_path), mode="val")


def test_dataset_without_a_list(tmp_path):
    for arguments, words in [({}, "got none"), ({"val_path": "nowhere.txt"}, "got no file 'nowhere.txt'")]:
        with pytest.raises(InputError, match=f"mode val expects val_path, .* {words}"):
            check_files({"type": "Dataset", "mode": "val", "dataset_root": str(tmp_path), **arguments})
