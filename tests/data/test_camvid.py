"""CamVid in PaddleSeg, the bundled frames, and the colours of classes."""

import pathlib

import cv2
import numpy as np
import pytest
from comparing import zip_strict
from paddleseg.cvlibs import manager
from paddleseg.transforms import Normalize, Resize
from paddleseg.utils.visualize import get_color_map_list
from PIL import Image

from paddle_rtseg.data.palettes import CAMVID, CITYSCAPES, bit_colours, classes_and_palette
from paddle_rtseg.errors import InputError

MINI = pathlib.Path(__file__).parent / "camvid_mini"


def camvid(mode, root=MINI, transforms=()):
    return manager.DATASETS["CamVid"](transforms=list(transforms), dataset_root=str(root), mode=mode)


@pytest.mark.parametrize("mode, frames", [("train", 8), ("val", 2), ("test", 4), ("trainval", 10)])
def test_splits(mode, frames):
    dataset = camvid(mode)
    assert len(dataset) == frames
    for (image_path, label_path), sample in zip_strict(dataset.file_list, dataset):
        image = np.asarray(Image.open(image_path), np.float32)
        assert np.abs(sample["img"].transpose(1, 2, 0) - image).mean() < 1  # two decoders of JPEG
        np.testing.assert_array_equal(np.squeeze(sample["label"]), np.asarray(Image.open(label_path)))


def test_splits_are_disjoint():
    names = {mode: {path for path, _ in camvid(mode).file_list} for mode in ("train", "val", "test", "trainval")}
    assert not names["test"] & names["trainval"]
    assert names["trainval"] == names["train"] | names["val"]


@pytest.mark.parametrize("mode", ["train", "test"])
def test_every_class_occurs(mode):
    values = set(np.concatenate([np.unique(sample["label"]) for sample in camvid(mode)]))
    assert values == {*range(11), 255}


def test_labels_are_resized_in_training_only():
    transforms = [Resize((64, 48)), Normalize()]
    assert camvid("train", transforms=transforms)[0]["label"].shape == (48, 64)
    sample = camvid("test", transforms=transforms)[0]
    assert sample["img"].shape == (3, 48, 64) and sample["label"].shape == (1, 360, 480)


def test_attributes_for_paddleseg():
    dataset = camvid("train")
    assert (dataset.num_classes, dataset.ignore_index, dataset.img_channels) == (11, 255, 3)
    assert len(CAMVID) == dataset.NUM_CLASSES


def test_unknown_mode():
    with pytest.raises(InputError, match="train, val, test, trainval, got 'training'"):
        camvid("training")


@pytest.mark.parametrize("content", [None, ""])
def test_missing_data(tmp_path, content):
    if content is not None:
        (tmp_path / "val.txt").write_text(content)
    with pytest.raises(InputError, match=r"val\.txt.*set dataset_root"):
        camvid("val", root=tmp_path)


def test_terms_of_the_frames():
    readme = (MINI / "README.md").read_text()
    assert "CC BY-NC 4.0" in readme and "Brostow" in readme
    assert sum(path.stat().st_size for path in MINI.rglob("*.*")) < 1.5e6


def test_default_colours_are_paddlesegs():
    np.testing.assert_array_equal(bit_colours(171).ravel(), get_color_map_list(171)[: 3 * 171])


@pytest.mark.parametrize("name, known", [("CamVid", CAMVID), ("Cityscapes", CITYSCAPES)])
def test_palettes(name, known):
    classes, palette = classes_and_palette(name)
    assert classes == list(known) and len(classes) == manager.DATASETS[name].NUM_CLASSES
    assert palette.shape == (len(classes), 3) and palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == len(classes)


def test_palette_of_another_number_of_classes():
    for dataset in ("ADE20K", "CamVid", None):
        classes, palette = classes_and_palette(dataset, 150)
        assert classes[149] == "149" and palette.shape == (150, 3)
        assert len(np.unique(palette, axis=0)) == 150
    with pytest.raises(InputError, match="CamVid, Cityscapes, got 'ADE20K'"):
        classes_and_palette("ADE20K")


def test_labels_have_the_right_class_ids():
    """Road is at the bottom and sky at the top, unless class ids were mixed up."""
    for sample in camvid("test"):
        rows = cv2.resize(np.squeeze(sample["label"]), (48, 36), interpolation=cv2.INTER_NEAREST)
        road, sky = (np.argwhere(rows == list(CAMVID).index(name))[:, 0].mean() for name in ("Road", "Sky"))
        assert road > 18 > sky
