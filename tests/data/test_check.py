"""The dataset check finds the defects that a test plants, and counts pixels as NumPy does."""

import os
import pathlib
import shutil

import cv2
import numpy as np
import pytest
import yaml
from paddleseg.cvlibs import manager
from paddleseg.datasets import ADE20K
from paddleseg.transforms import Compose
from PIL import Image

from paddle_rtseg.data import check
from paddle_rtseg.data.check import check_dataset, read_pair
from paddle_rtseg.errors import InputError
from paddle_rtseg.tools import check_dataset as tool

MINI = pathlib.Path(__file__).parent / "camvid_mini"


@pytest.fixture
def root(tmp_path):
    """A copy of the frames that a test may damage."""
    return pathlib.Path(shutil.copytree(MINI, tmp_path / "camvid"))


def camvid(root, mode="test"):
    return manager.DATASETS["CamVid"](transforms=[], dataset_root=str(root), mode=mode)


def labels(root, mode="test"):
    return np.stack([np.asarray(Image.open(path)) for _, path in camvid(root, mode).file_list])


def first(root, kind):
    """Path of the first test frame's image or label."""
    return camvid(root).file_list[0][["images", "labels"].index(kind)]


def change_label(root, change):
    path = first(root, "labels")
    cv2.imwrite(path, change(cv2.imread(path, cv2.IMREAD_UNCHANGED)))


def cut(path):
    os.truncate(path, os.path.getsize(path) * 2 // 3)


def scribble(path):
    with open(path, "wb") as f:
        f.write(b"this is no image")


def test_no_defects():
    report = check_dataset(camvid(MINI))
    expected = labels(MINI)
    assert report.defects == [] and report.absent == []
    np.testing.assert_array_equal(report.pixels, [(expected == i).sum() for i in range(11)])
    np.testing.assert_array_equal(report.images, [(expected == i).any((1, 2)).sum() for i in range(11)])
    assert report.ignored == (expected == 255).sum()


@pytest.mark.parametrize("kind", ["images", "labels"])
@pytest.mark.parametrize(
    "spoil, words", [(os.remove, "No such file"), (cut, "cut short"), (scribble, "has the header of no format")]
)
def test_bad_file(root, kind, spoil, words):
    path = first(root, kind)
    spoil(path)
    report = check_dataset(camvid(root))
    assert len(report.defects) == 1
    assert words in report.defects[0] and path in report.defects[0]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda label: label[:100], "480 x 360 pixels, got 480 x 100"),
        (lambda label: np.dstack([label] * 3), "one class id for each pixel"),
        (lambda label: np.where(label == 255, 11, label), "0 to 10 or 255"),
    ],
)
def test_bad_label(root, change, words):
    change_label(root, change)
    (defect,) = check_dataset(camvid(root)).defects
    assert words in defect and first(root, "labels") in defect


def test_values_out_of_range(root):
    change_label(root, lambda label: np.where(label == 3, 77, np.where(label == 5, 12, label)).astype(np.uint8))
    report = check_dataset(camvid(root))
    assert "got 12, 77" in report.defects[0]
    np.testing.assert_array_equal(report.pixels, [(labels(root) == i).sum() for i in range(11)])


def test_absent_classes(root):
    for _, path in camvid(root).file_list:
        label = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        cv2.imwrite(path, np.where((label == 2) | (label == 10), 255, label))
    report = check_dataset(camvid(root))
    assert report.absent == [2, 10] and report.defects == []


def test_palette_image(root):
    path = first(root, "labels")
    before = labels(root)
    image = Image.open(path).convert("P")
    image.putdata(before[0].ravel().tolist())
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)
    np.testing.assert_array_equal(labels(root), before)
    assert check_dataset(camvid(root)).defects == []


def test_labels_as_the_dataset_remaps_them(tmp_path):
    """ADE20K's files count classes from 1 and ignore 0."""
    dataset = ADE20K.__new__(ADE20K)
    dataset.transforms, dataset.mode, dataset.edge = Compose([]), "train", False
    dataset.num_classes, dataset.ignore_index = 150, 255
    dataset.file_list = [[str(tmp_path / "image.png"), str(tmp_path / "label.png")]]
    cv2.imwrite(dataset.file_list[0][0], np.zeros((2, 3, 3), np.uint8))
    cv2.imwrite(dataset.file_list[0][1], np.array([[0, 1, 150], [150, 150, 1]], np.uint8))
    report = check_dataset(dataset)
    assert report.defects == []
    assert (report.pixels[0], report.pixels[149], report.ignored) == (2, 3, 1)


def test_read_pair_applies_no_transforms():
    mirrored = manager.TRANSFORMS["RandomHorizontalFlip"](prob=1.0)
    dataset = manager.DATASETS["CamVid"](transforms=[mirrored], dataset_root=str(MINI), mode="train")
    image, label = read_pair(dataset, 0)
    np.testing.assert_array_equal(label, np.asarray(Image.open(dataset.file_list[0][1])))
    np.testing.assert_array_equal(image, cv2.imread(dataset.file_list[0][0]))


def run(config, tmp_path, *arguments):
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(config))
    return tool.main(tool.parser().parse_args(["--config", str(path), *arguments]))


def config_of(root, **modes):
    """A whole config, as PaddleSeg wants it, of which the check uses the datasets."""
    dataset = {"type": "CamVid", "dataset_root": str(root), "transforms": [{"type": "Normalize"}]}
    return {
        "batch_size": 1,
        "iters": 1,
        "model": {"type": "RTFormer_Slim"},
        "optimizer": {"type": "AdamW"},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.1},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 1]},
        **{f"{part}_dataset": {**dataset, "mode": mode} for part, mode in modes.items()},
    }


def test_command(tmp_path, capsys):
    assert not run(config_of(MINI, train="train", val="test"), tmp_path)
    printed = capsys.readouterr().out
    share = (labels(MINI) == 3).sum() / (labels(MINI) != 255).sum()
    assert "8 pairs, 0 with a defect" in printed and "4 pairs, 0 with a defect" in printed
    assert f"3             Road          {share:.3%}       4" in printed


def test_command_with_defects(root, tmp_path, capsys):
    for path, _ in camvid(root).file_list:
        os.remove(path)
    assert run(config_of(root, train="train", val="test"), tmp_path, "--limit", "3") == 1
    printed = capsys.readouterr().out
    assert printed.count("No such file") == 3 and "... and 1 more" in printed


def test_command_with_a_class_missing_from_training(root, tmp_path, capsys):
    (root / "val.txt").write_text((root / "train.txt").read_text().partition("\n")[0])
    assert run(config_of(root, train="val", val="test"), tmp_path) == 1
    assert "never occurs" in capsys.readouterr().out
    assert not run(config_of(root, train="test", val="val"), tmp_path)
    assert "never occurs" in capsys.readouterr().out


def test_command_without_data(tmp_path):
    with pytest.raises(InputError, match=r"train\.txt"):
        run(config_of(tmp_path / "nothing", train="train"), tmp_path)


def test_command_with_objects_marked_by_255(root, tmp_path, capsys):
    for path in (root / "labels").iterdir():
        cv2.imwrite(str(path), np.where(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 4, 255, 0))
    assert run(config_of(root, train="train"), tmp_path) == 1  # ten classes never occur
    assert "8 labels ('" in (printed := capsys.readouterr().out)
    assert "with only 0 and 255, which is ignored: if 255 marks an object, it must be 1" in printed
    labels = root / "labels"
    assert (
        f"if 255 marks an object, run: python -m paddle_rtseg.import_labels --format binary --input {labels}" in printed
    )


def test_command_with_labels_ignored_in_every_pixel(root, tmp_path, capsys):
    change_label(root, lambda label: np.full_like(label, 255))
    assert not run(config_of(root, train="trainval", val="test"), tmp_path)
    assert f"1 label ('{first(root, 'labels')}') with only 255, which is ignored" in capsys.readouterr().out


def test_command_counts_images_that_no_list_names(root, tmp_path, capsys):
    (root / "images" / "notes.txt").touch()
    run(config_of(root, train="train", val="val"), tmp_path)
    assert "4 images ('" in (printed := capsys.readouterr().out) and "named by none of these lists" in printed
    run(config_of(root, train="trainval", val="test"), tmp_path)
    assert "named by none" not in capsys.readouterr().out


def test_bytes_after_the_end(root):
    for kind in ("images", "labels"):
        with open(first(root, kind), "ab") as f:
            f.write(bytes(2000))
    assert check_dataset(camvid(root)).defects == []


def test_any_error_of_a_dataset_is_a_defect(monkeypatch):
    dataset = camvid(MINI)

    def fail(index):
        raise KeyError("n01440764")

    monkeypatch.setattr(type(dataset), "__getitem__", lambda self, index: fail(index))
    report = check_dataset(dataset)
    assert len(report.defects) == 4 and "cannot be read (KeyError: 'n01440764'); replace them" in report.defects[0]


def test_interruption_does_not_wait_for_all_files(monkeypatch):
    dataset, read = camvid(MINI), []
    dataset.file_list *= 1000
    monkeypatch.setattr(check, "read_pair", lambda dataset, index: read.append(index) or read_pair(dataset, index))

    def interrupted(pairs):
        yield next(iter(pairs))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_dataset(dataset, interrupted, threads=1)
    assert len(read) < 1000
