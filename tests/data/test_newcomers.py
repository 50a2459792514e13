"""What newcomers get wrong: import_labels says it in a sentence or in its summary, and leaves nothing half-written."""

import json

import cv2
import numpy as np
import pytest
from leaves import draw
from processes import python
from tiny_configs import run_command

from paddle_rtseg.errors import InputError

INSIDE = [[10, 10], [60, 10], [40, 60]]
OTHER = [[30, 30], [90, 30], [60, 90]]
OUTSIDE = [[500, 500], [600, 500], [600, 600]]
ACROSS = [[100, 50], [500, 50], [500, 90]]
LABELME = ["--format", "labelme", "--input", "photos"]
COLOURS = ["--format", "colours", "--input", "masks", "--images", "photos", "--data", "colours.yml"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of three photographs, which is the current folder's ``photos``; and one of masks, of one colour."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for stem in "abc":
        cv2.imwrite(str(tmp_path / "photos" / f"{stem}.png"), draw(rng)[0])
        cv2.imwrite(str(tmp_path / "masks" / f"{stem}.png"), np.full((96, 128, 3), (10, 20, 30), np.uint8))
    return tmp_path / "photos"


def annotate(folder, *shapes, images="abc"):
    content = {"shapes": [{"label": label, "points": points} for label, points in shapes]}
    for stem in images:
        (folder / f"{stem}.json").write_text(json.dumps(content))


#: Shapes of each image, the command, and the sentence.
REFUSED = {
    "no labels": (None, LABELME, "expected a JSON file of Labelme in 'photos' for each image"),
    "no shapes": ([], LABELME, "expected labels of two classes or more, got only 'background' in 3 images; label more"),
    "outside": ([("leaf", OUTSIDE)], LABELME, r"got only 'background' .* \(a polygon outside the image was left out\)"),
    "empty": ([("leaf", INSIDE[:2])], LABELME, r"got only 'background' .* \(an empty polygon was left out\)"),
    "another name": (
        [("leaf", INSIDE), ("Leaf", INSIDE)],
        [*LABELME, "--names", "background", "leaf"],
        "expected a label of background, leaf in 'photos/a.json', got 'Leaf'; add or rename it",
    ),
    "a name twice": ([("leaf", INSIDE)], [*LABELME, "--names", "leaf", "leaf"], "expected --names that differ"),
    "a colour of no class": (
        "[[0, 0, 0], [255, 0, 0]]",
        COLOURS,
        "expected the colours of 2 classes in 'masks/a.png', got 30, 20, 10 in 12288 pixels; add that colour",
    ),
    "a colour twice": (
        "[[30, 20, 10], [30, 20, 10]]",
        COLOURS,
        "with a colour for each class, got one that occurs twice",
    ),
    "no colours": ("null", COLOURS, "expected a key 'colors' in 'colours.yml' with a colour for each class, got none"),
    "colours of other classes": ("[[0, 0, 0]]", COLOURS, "expected 'colors' in 'colours.yml' to be 2 lists"),
    "one class": ("[[30, 20, 10], [1, 1, 1]]", COLOURS, "got only 'soil' in 3 images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, photos):
    content, command, sentence = REFUSED[case]
    if isinstance(content, list):
        annotate(photos, *content)
    elif content is not None:
        (photos.parent / "colours.yml").write_text(f"names: [soil, leaf]\ncolors: {content}\n")
    with pytest.raises(InputError, match=sentence):
        run_command("import_labels", *command, "--save_dir", "out")
    assert not (photos.parent / "out").exists()


def test_one_good_image_is_not_kept(photos):
    annotate(photos, ("leaf", INSIDE), images="a")
    (photos.parent / "out").mkdir()
    with pytest.raises(
        InputError, match=r"expected at least two images with labels, got 1; .*b.png: it has no JSON file"
    ):
        run_command("import_labels", *LABELME, "--save_dir", "out")
    assert not list((photos.parent / "out").iterdir())


#: Shapes of each image, further flags, and what the summary says; the status is 0.
TOLD = {
    "overlapping": ([("leaf", INSIDE), ("rust", OTHER)], [], "covers part of an earlier one of another class: 3 times"),
    "across the border": ([("leaf", ACROSS)], [], "a polygon that leaves the image was cut off: 3 times"),
    "a class that never occurs": ([("leaf", INSIDE)], ["--names", "background", "leaf", "rust"], "never occurs"),
}


@pytest.mark.parametrize("case", TOLD)
def test_told(case, photos, capsys):
    shapes, flags, words = TOLD[case]
    annotate(photos, *shapes)
    assert run_command("import_labels", *LABELME, *flags, "--save_dir", "out") == 0
    assert words in capsys.readouterr().out


def test_images_without_labels_are_left_out(photos, capsys):
    annotate(photos, ("leaf", INSIDE), images="ab")
    assert run_command("import_labels", *LABELME, "--save_dir", "out") == 1
    assert "left out photos/c.png: it has no JSON file" in capsys.readouterr().out


@pytest.mark.slow
def test_a_class_that_never_occurs_trains(photos, capsys):
    """`new` and `check_dataset` say so; training and its table go on."""
    annotate(photos, ("leaf", INSIDE))
    run_command("import_labels", *LABELME, "--names", "background", "leaf", "rust", "--save_dir", "out")
    capsys.readouterr()
    run_command("new", "--data", "out/dataset.yml", "--save", "mine.yml")
    assert "note: class 2 (rust) never occurs in the training labels" in capsys.readouterr().out
    assert run_command("check_dataset", "--config", "mine.yml") == 1
    assert "2 rust never occurs" in " ".join(capsys.readouterr().out.split())
    small = ["--opts", "model.pretrained=null", "model.base_channels=8", "model.head_channels=8"]
    small += ["model.spp_channels=8", "model.cross_size=3"]
    run = python(
        "-m", "paddleseg.train", "--config", "mine.yml", "--iters", "2", "--do_eval", "--batch_size", "2", *small
    )
    assert run.returncode == 0, run.stderr[-2000:]
    (row,) = (line.split() for line in run.stdout.splitlines() if line.startswith("rust "))
    assert row[3:] == ["-", "0.000%"]  # the recall, and the share of the labelled pixels
