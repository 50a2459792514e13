"""The patches of datasets and scores: what PaddleSeg does without each, and with it."""

import contextlib
import pathlib
import shutil

import cv2
import numpy as np
import pytest
import requests
import tiny_training
from comparing import zip_strict
from image_files import image_files, picture, pillow
from paddleseg.core import evaluate
from paddleseg.datasets import (
    ADE20K,
    CHASEDB1,
    DRIVE,
    EG1800,
    HRF,
    STARE,
    SUPERVISELY,
    Cityscapes,
    CocoStuff,
    Dataset,
    MiniDeepGlobeRoadExtraction,
    OpticDiscSeg,
    PascalContext,
    PascalVOC,
    PPHumanSeg14K,
    PSSLDataset,
)
from paddleseg.transforms import Compose
from paddleseg.utils import download
from PIL import Image

from paddle_rtseg.errors import InputError
from paddle_rtseg.training.loading import CheckedLoader


def test_evaluation_says_which_mean_it_prints(without, tiny_images, capsys):
    model, data = tiny_training.PixelNet(), tiny_training.dataset(tiny_images, "val")
    with without("definition of mean IoU"):
        evaluate(model, data)
    assert "mean IoU" not in capsys.readouterr().out
    score = evaluate(model, data)[0]
    assert f"[EVAL] mean IoU of all 4 classes: {score:.2%}" in capsys.readouterr().out


def answer(content, status=200):
    """What ``requests.get`` returns for a file of these blocks; one that is None breaks the connection."""
    response = requests.Response()
    response.status_code, response.headers["content-length"] = status, str(len(content))

    def blocks(chunk_size):
        for block in content:
            if block is None:
                raise requests.exceptions.ChunkedEncodingError("the connection broke")
            yield block

    response.iter_content = blocks
    return response


@pytest.mark.parametrize(
    "patch, content, status, left_over",
    [
        ("downloads, complete", [b"half", None], 200, "file.zip"),
        ("downloads, found", [b"not found"], 404, "file/file.zip"),
    ],
)
def test_downloads_that_fail(without, monkeypatch, tmp_path, patch, content, status, left_over):
    monkeypatch.setattr(requests, "get", lambda url, **arguments: answer(content, status))

    def fetch(folder):
        folder.mkdir()
        download.download_file_and_uncompress("http://host/file.zip", str(folder), str(folder), print_progress=False)
        return folder

    with without(patch), contextlib.suppress(requests.exceptions.RequestException):
        fetch(tmp_path / "before")
    assert (tmp_path / "before" / left_over).exists()
    with pytest.raises(InputError, match=r"http://host/file.zip cannot be downloaded \("):
        fetch(tmp_path / "after")
    assert not list((tmp_path / "after").iterdir())
    with without("downloads, unlocked"), pytest.raises(InputError):
        fetch(tmp_path / "locked")
    assert [path.name for path in (tmp_path / "locked").iterdir()] == ["file.download.lock"]


@pytest.mark.parametrize(
    "patch, dataset",
    [
        ("list of CHASEDB1", CHASEDB1),
        ("list of DRIVE", DRIVE),
        ("list of HRF", HRF),
        ("list of MiniDeepGlobeRoadExtraction", MiniDeepGlobeRoadExtraction),
        ("list of OpticDiscSeg", OpticDiscSeg),
        ("list of PPHumanSeg14K", PPHumanSeg14K),
        ("list of STARE", STARE),
    ],
)
def test_blank_lines_in_lists_of_pairs(without, tmp_path, patch, dataset):
    separator = "|" if dataset is MiniDeepGlobeRoadExtraction else " "
    for name in ("train.txt", "train_list.txt"):
        (tmp_path / name).write_text(f"a.jpg{separator}a.png\n\nb.jpg{separator}b.png\n\n")
    arguments = {"dataset_root": str(tmp_path), "transforms": []}
    with without(patch), pytest.raises(Exception, match="File list format incorrect"):
        dataset(**arguments)
    assert dataset(**arguments).file_list == [
        [str(tmp_path / f"{name}{end}") for end in (".jpg", ".png")] for name in "ab"
    ]


def test_blank_lines_in_the_list_of_a_dataset(without, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.jpg a.png\n\n")
    with without("list of Dataset"), pytest.raises(ValueError, match="File list format incorrect"):
        Dataset("train", str(tmp_path), [], 2, train_path=str(path))
    assert len(Dataset("train", str(tmp_path), [], 2, train_path=str(path))) == 1


VOC_LISTS = "VOC2012/ImageSets/Segmentation/"


@pytest.mark.parametrize(
    "patch, dataset, arguments, files",
    [
        ("open(path, 'r') of EG1800", EG1800, {}, ["eg1800_train.txt"]),
        ("open(path, 'r') of SUPERVISELY", SUPERVISELY, {}, ["supervisely_face_train_easy.txt"]),
        (
            "open(file_path, 'r') of PascalContext",
            PascalContext,
            {},
            ["ImageSets/Segmentation/train_context.txt"],
        ),
        ("open(file_path, 'r') of PascalVOC", PascalVOC, {}, [VOC_LISTS + "train.txt"]),
        (
            "open(file_path_aug, 'r') of PascalVOC",
            PascalVOC,
            {"mode": "trainaug"},
            [VOC_LISTS + "aug.txt", VOC_LISTS + "train.txt"],
        ),
        (
            "open(train_list_file) of PSSLDataset",
            PSSLDataset,
            {},
            ["train.txt", "imagenet_lsvrc_2015_synsets.txt"],
        ),
    ],
)
def test_blank_lines_in_lists_of_names(without, tmp_path, patch, dataset, arguments, files):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x/a\n\nx/b\n\n" if file == files[0] else "x/a\nx/b\n")
    if dataset in (EG1800, SUPERVISELY):
        arguments = {"common_transforms": [], "transforms1": [], "transforms2": [], **arguments}
    else:
        arguments = {"transforms": [], **arguments}
    roots = ["imagenet_root", "pssl_root"] if dataset is PSSLDataset else ["dataset_root"]
    arguments.update({root: str(tmp_path) for root in roots})
    with without(patch):
        before = len(dataset(**arguments))
    assert before - len(dataset(**arguments)) == 2


def test_blank_lines_in_the_classes_of_pssl(without, tmp_path):
    (tmp_path / "train.txt").write_text("train/n1/n1_1.JPEG_eiseg.npz\n")
    (tmp_path / "imagenet_lsvrc_2015_synsets.txt").write_text("\nn1\nn2\n")
    arguments = {"transforms": [], "imagenet_root": str(tmp_path), "pssl_root": str(tmp_path)}
    with without("open(class_id_file) of PSSLDataset"):
        assert PSSLDataset(**arguments).class_id_dict["n2"] == 2
    assert PSSLDataset(**arguments).class_id_dict == {"n1": 0, "n2": 1}


def test_pairs_of_cocostuff(without, tmp_path):
    for folder, names in (("images", ["1.jpg", "2.jpg"]), ("annotations", ["2.png"])):
        (tmp_path / folder / "train2017").mkdir(parents=True)
        for name in names:
            (tmp_path / folder / "train2017" / name).touch()
    with without("pairs of CocoStuff"):
        ((image, label),) = CocoStuff([], str(tmp_path)).file_list
        assert (pathlib.Path(image).stem, pathlib.Path(label).stem) == ("1", "2")
    with pytest.raises(InputError, match=r"annotations/train2017/1.png' to go with"):
        CocoStuff([], str(tmp_path))


def test_pairs_of_cityscapes(without, tmp_path):
    for folder, names in (("leftImg8bit", ["1_leftImg8bit", "2_leftImg8bit"]), ("gtFine", ["2_gtFine_labelTrainIds"])):
        (tmp_path / folder / "train/town").mkdir(parents=True)
        for name in names:
            (tmp_path / folder / "train/town" / f"{name}.png").touch()
    with without("pairs of Cityscapes"):
        assert len(Cityscapes([], str(tmp_path))) == 1
    with pytest.raises(InputError, match=r"1_gtFine_labelTrainIds.png' to go with"):
        Cityscapes([], str(tmp_path))


@pytest.fixture(scope="module")
def readable(tmp_path_factory):
    """The paths of image files of every kind."""
    folder = tmp_path_factory.mktemp("readable")
    for name, content in image_files(picture()).items():
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_as_paddleseg_reads_them(without, readable, channels):
    compose = Compose([], img_channels=channels)
    ours = [compose({"img": str(path)})["img"] for path in readable]
    with without("images and labels, read"):
        theirs = [compose({"img": str(path)})["img"] for path in readable]
    assert len(ours) > 20
    for path, a, b in zip_strict(readable, ours, theirs):
        assert a.dtype == b.dtype and np.array_equal(a, b), path.name


def labels(ids):
    """Label files by name, of ids below 16."""
    small = Image.fromarray(ids)
    palette = small.convert("P")
    palette.putdata(ids.ravel().tolist())
    files = {f"grey.{form}": pillow(form, small) for form in ("png", "bmp", "tiff", "ppm")}
    files.update({f"palette.{form}": pillow(form, palette) for form in ("png", "bmp", "tiff")})
    files.update(
        {f"bits.{form}": pillow(form, small.point(lambda i: 255 * (i % 2)).convert("1")) for form in ("png", "tiff")}
    )
    return files


def test_labels_are_read_as_paddleseg_reads_them(without, tmp_path):
    ids = np.random.default_rng(0).integers(0, 16, (7, 9), dtype=np.uint8)
    compose, image = Compose([]), np.zeros((7, 9, 3), np.float32)
    for name, content in labels(ids).items():
        (tmp_path / name).write_bytes(content)
        sample = {"img": image, "label": str(tmp_path / name)}
        ours = compose(dict(sample))["label"]
        with without("images and labels, read"):
            theirs = compose(dict(sample))["label"]
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert ours.dtype == np.uint8


def test_labels_of_16_bits_in_training(without, tiny_images, tmp_path):
    """Paddle takes them for bfloat16, which makes them zeros."""
    shutil.copytree(tiny_images, tmp_path, dirs_exist_ok=True)
    ids = cv2.imread(str(tmp_path / "label0.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / "label0.png"), ids.astype(np.uint16))

    def first_label():
        loader = CheckedLoader(tiny_training.dataset(str(tmp_path), "train"), batch_size=1)
        return next(iter(loader))["label"].astype("int64").numpy()[0]

    with without("images and labels, read"):
        assert not np.array_equal(first_label(), ids)
    np.testing.assert_array_equal(first_label(), ids)


def test_labels_of_ade20k(without, tmp_path):
    (tmp_path / "label.png").write_bytes(b"not an image")
    dataset = ADE20K.__new__(ADE20K)
    dataset.file_list, dataset.mode = [["image.jpg", str(tmp_path / "label.png")]], "train"
    with without("labels of ADE20K, read"), pytest.raises(OSError, match="cannot identify"):
        dataset[0]
    with pytest.raises(InputError, match=r"label\.png"):
        dataset[0]


@pytest.mark.parametrize(
    "patch, dataset", [("images of EG1800, read", EG1800), ("images of SUPERVISELY, read", SUPERVISELY)]
)
def test_images_of_portrait_datasets(without, patch, dataset):
    made = dataset.__new__(dataset)
    made.file_list = [["nowhere.png", "nowhere.png"]]
    with without(patch), pytest.raises(TypeError):
        made[0]
    with pytest.raises(InputError, match=r"cannot read the image 'nowhere.png'"):
        made[0]


def test_edges_of_ade20k(without, tmp_path):
    ids = np.repeat(np.array([[1, 2]], np.uint8), [10, 10], axis=1).repeat(20, axis=0)
    for folder in ("images/training", "annotations/training"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/training/a.jpg"), np.zeros((20, 20, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "annotations/training/a.png"), ids)
    dataset = ADE20K([], str(tmp_path), edge=True)
    with without("edges of ADE20K"), pytest.raises(NameError):
        dataset[0]
    edges = np.squeeze(dataset[0]["edge"])
    assert edges.shape == (20, 20) and edges[10, 9:11].all() and not edges[10, [5, 15]].any()
