"""Lists of images and labels: what a line may hold, and what is said about one that cannot be read."""

import os
import re

import pytest
from paddleseg.datasets import Dataset

from paddle_rtseg.data.lists import Lines, pair_by_name
from paddle_rtseg.errors import InputError


def pairs(tmp_path, content, separator=" ", labelled=True):
    path = tmp_path / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(Lines(str(path)).pairs(separator, labelled))


@pytest.mark.parametrize(
    "content, separator",
    [
        ("a.jpg a.png\nb.jpg b.png\n", " "),
        ("a.jpg a.png\n\n  \nb.jpg b.png\n\n", " "),
        ("a.jpg a.png\r\nb.jpg b.png\r\n", " "),
        ("\ufeffa.jpg  a.png\nb.jpg   b.png", " "),
        ("a.jpg\ta.png\nb.jpg \t b.png", "\t"),
        ("a.jpg\ta.png\nb.jpg b.png", None),
        ("a.jpg, a.png\nb.jpg,b.png", ","),
    ],
)
def test_pairs(tmp_path, content, separator):
    assert pairs(tmp_path, content, separator) == [["a.jpg", "a.png"], ["b.jpg", "b.png"]]


def test_names_with_spaces(tmp_path):
    assert pairs(tmp_path, "my a.jpg\tmy a.png", "\t") == [["my a.jpg", "my a.png"]]


def test_images_without_labels(tmp_path):
    assert pairs(tmp_path, "a.jpg\nb.jpg b.png", labelled=False) == [["a.jpg"], ["b.jpg", "b.png"]]
    with pytest.raises(InputError, match="on line 1 of"):
        pairs(tmp_path, "my first image.jpg", labelled=False)


@pytest.mark.parametrize(
    "content, separator, words",
    [
        ("a.jpg a.png\n\nb.jpg\tb.png", " ", r"a space, on line 3 of .*list.txt', got 'b.jpg\\tb.png'; .*\"\\t\""),
        ("a.jpg,a.png", " ", 'set separator: ","'),
        ("a.jpg a.png", "\t", 'separated by a tab, .* set separator: " "'),
        ("my a.jpg my a.png", " ", r"put a tab between the two .* set separator: \"\\t\""),
        ("a.jpg", " ", "line 1 of .* got 'a.jpg'; put a tab"),
        ("a" * 10**6, None, r"separated by spaces, .* got 'a{100}'; "),
        ("", " ", "without lines"),
        ("\n \n", " ", "without lines"),
        (b"\xff\xfea\0", " ", "no text in UTF-8"),
        (b"a\0.jpg a.png", " ", "no text in UTF-8"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, content, separator, words):
    with pytest.raises(InputError, match=words) as error:
        pairs(tmp_path, content, separator)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_path_of_a_list(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in [(tmp_path, "not a file"), (tmp_path / "pipe", "not a file"), ("nowhere", "cannot be read")]:
        with pytest.raises(InputError, match=f"{re.escape(str(path))}.*{words}"):
            Lines(str(path))


def test_separator_of_a_dataset(tmp_path):
    (tmp_path / "list.txt").write_text("\nmy a.jpg\tmy a.png\n\n")
    arguments = {"transforms": [], "num_classes": 2, "train_path": str(tmp_path / "list.txt")}
    with pytest.raises(InputError, match=r"on line 2 of .* separator: \"\\t\""):
        Dataset("train", str(tmp_path), **arguments)
    dataset = Dataset("train", str(tmp_path), separator="\t", **arguments)
    assert dataset.file_list == [[str(tmp_path / "my a.jpg"), str(tmp_path / "my a.png")]]


def test_pairs_by_name():
    folders, ends = ("data/images", "data/labels"), (".jpg", "_ids.png")
    images, labels = (
        ["data/images/b/2.jpg", "data/images/a/1.jpg"],
        ["data/labels/a/1_ids.png", "data/labels/b/2_ids.png"],
    )
    assert pair_by_name(images, labels, *folders, ends) == [(images[0], labels[1]), (images[1], labels[0])]
    with pytest.raises(InputError, match=r"expected 'data/labels/a/1_ids.png' to go with 'data/images/a/1.jpg'"):
        pair_by_name(images, labels[1:], *folders, ends)
    with pytest.raises(InputError, match=r"expected 'data/images/a/1.jpg' to go with"):
        pair_by_name(images[:1], labels, *folders, ends)
    with pytest.raises(InputError, match=r"NAME_ids.png in 'data/labels', got none"):
        pair_by_name([], [], *folders, ends)
