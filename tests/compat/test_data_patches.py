"""The patches of datasets and scores: what PaddleSeg does without each, and with it."""

import contextlib
import pathlib

import pytest
import requests
import tiny_training
from paddleseg.core import evaluate
from paddleseg.datasets import (
    CHASEDB1,
    DRIVE,
    HRF,
    STARE,
    CocoStuff,
    MiniDeepGlobeRoadExtraction,
    OpticDiscSeg,
    PascalContext,
    PPHumanSeg14K,
)
from paddleseg.utils import download

from paddle_rtseg.errors import InputError


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
    assert [path.name for path in (tmp_path / "after").iterdir()] == ["file.download.lock"]


def test_lists_of_names_skip_blank_lines(without, tmp_path):
    for folder in ("ImageSets/Segmentation", "JPEGImages", "Context"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train_context.txt").write_text("a\n\nb\n\n")
    with without("open(file_path, 'r') of PascalContext"):
        assert len(PascalContext([], str(tmp_path))) == 4
    names = [pathlib.Path(image).name for image, _ in PascalContext([], str(tmp_path)).file_list]
    assert names == ["a.jpg", "b.jpg"]


def test_lists_of_pairs_skip_blank_lines(without, tmp_path):
    """In every dataset that reads such a list."""
    for dataset in (CHASEDB1, DRIVE, HRF, MiniDeepGlobeRoadExtraction, OpticDiscSeg, PPHumanSeg14K, STARE):
        separator = "|" if dataset is MiniDeepGlobeRoadExtraction else " "
        for name in ("train.txt", "train_list.txt"):
            (tmp_path / name).write_text(f"a.jpg{separator}a.png\n\nb.jpg{separator}b.png\n\n")
        with without(f"list of {dataset.__name__}"), pytest.raises(Exception, match="File list format incorrect"):
            dataset(dataset_root=str(tmp_path), transforms=[])
        assert len(dataset(dataset_root=str(tmp_path), transforms=[])) == 2
        assert dataset(dataset_root=str(tmp_path), transforms=[]).file_list[1][1] == str(tmp_path / "b.png")


def test_pairs_that_do_not_fit(without, tmp_path):
    for folder, names in (("images", ["1.jpg", "2.jpg"]), ("annotations", ["2.png"])):
        (tmp_path / folder / "train2017").mkdir(parents=True)
        for name in names:
            (tmp_path / folder / "train2017" / name).touch()
    with without("pairs of CocoStuff"):
        ((image, label),) = CocoStuff([], str(tmp_path)).file_list
        assert (pathlib.Path(image).stem, pathlib.Path(label).stem) == ("1", "2")
    with pytest.raises(InputError, match=r"annotations/train2017/1.png' to go with"):
        CocoStuff([], str(tmp_path))
