"""Labels that are no class ids: check_dataset recognises their form, and its command makes ids of them."""

import json
import shlex

import cv2
import numpy as np
import pytest
from leaves import NAMES, draw
from tiny_configs import run_command, tiny_config, write_config

from paddle_rtseg.data.dataset_file import read_dataset_file
from paddle_rtseg.data.label_forms import recognise

COLOURS = np.array([[0, 0, 0], [40, 160, 60], [200, 60, 30]], np.uint8)  # RGB
SHAPES = {"leaf": [[10.0, 10.0], [90.0, 12.0], [80.0, 70.0]], "rust": [[30.0, 30.0], [50.0, 30.0], [40.0, 50.0]]}


def coloured(label):
    return COLOURS[label][..., ::-1]


def binary(label):
    return np.where(label > 0, np.uint8(255), np.uint8(0))


def grey_levels(label):
    return label * np.uint8(100)


def labelme(label):
    shapes = [{"label": name, "points": points} for name, points in SHAPES.items()]
    return {"shapes": shapes, "imageHeight": label.shape[0], "imageWidth": label.shape[1]}


#: How labels are written and named, what the check says of them, and how far the ids may differ in the end.
FORMS = {
    "colours": (coloured, "labels/{}.png", "masks in colours", 0),
    "colours as JPEG": (coloured, "labels/{}.jpg", r"masks in colours, not class ids (as JPEG", 0.03),
    "colours named otherwise": (coloured, "labels/{}_mask.png", "masks in colours", 0),
    "colours beside the images": (coloured, "images/{}_mask.png", "masks in colours", 0),
    "0 and 255": (binary, "labels/{}.png", "with only 0 and 255, which is ignored", 0),
    "0 and 255 as JPEG": (binary, "labels/{}.jpg", "masks of black and white, not class ids (as JPEG", 0.02),
    "0 and 255 in colour": (
        lambda label: cv2.merge([binary(label)] * 3),
        "labels/{}.png",
        "masks of black and white",
        0,
    ),
    "grey levels": (grey_levels, "labels/{}.png", "masks in colours", 0),
    "Labelme elsewhere": (labelme, "labels/{}.json", "JSON files of Labelme", None),
    "Labelme beside": (labelme, "images/{}.json", "JSON files of Labelme", None),
}


@pytest.fixture
def dataset(tmp_path):
    """``dataset(write, name)``: a config of four images with such labels, and their ids by the name of the image."""

    def make(write, name):
        rng, ids = np.random.default_rng(0), {}
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir()
        for stem in "abcd":
            image, label = draw(rng)
            ids[stem] = label
            cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), image)
            path = tmp_path / name.format(stem)
            content = write(label)
            path.write_text(json.dumps(content)) if isinstance(content, dict) else cv2.imwrite(str(path), content)
        lines = [f"images/{stem}.png {name.format(stem)}\n" for stem in ids]
        (tmp_path / "list.txt").write_text("".join(lines))
        return write_config(tmp_path / "config.yml", tiny_config(tmp_path, 3)), ids

    return make


@pytest.mark.parametrize("form", FORMS)
def test_the_command_makes_ids(form, dataset, tmp_path, monkeypatch, capsys):
    write, name, words, tolerance = FORMS[form]
    config, ids = dataset(write, name)
    monkeypatch.chdir(tmp_path)
    assert run_command("check_dataset", "--config", config) == 1
    shown = capsys.readouterr().out.partition("val_dataset:")[0]
    assert words in shown
    (line,) = (line for line in shown.splitlines() if "run: python -m paddle_rtseg.import_labels " in line)
    if "colours.yml" in line:
        lines = [part for part in shown.splitlines() if part.strip().startswith(("names: [", "colors: ["))]
        (tmp_path / "colours.yml").write_text("\n".join(part.strip() for part in lines) + "\n")
    assert run_command("import_labels", *shlex.split(line.partition("import_labels ")[2])) == 0
    found = read_dataset_file(f"{line.rpartition(' ')[2]}/dataset.yml")
    for stem, label in ids.items():
        made = cv2.imread(f"{found.root}/labels/{stem}.png", cv2.IMREAD_UNCHANGED)
        if tolerance is None:
            assert set(np.unique(made)) == {0, 1, 2}
            continue
        expected = label if len(found.names) == 3 else (label > 0).astype(np.uint8)
        if found.colors is not None and "grey" not in form:
            distances = np.abs(found.colors[:, None].astype(int) - COLOURS).max(axis=2)  # by class, of each colour
            expected = distances.argmin(axis=0)[label]
        assert (made != expected).mean() <= tolerance
    capsys.readouterr()
    again = ["--opts", f"data={found.file}", f"model.num_classes={len(found.names)}"]
    assert run_command("check_dataset", "--config", config, *again) == 0
    assert "run:" not in capsys.readouterr().out


def test_ids_are_not_recognised(tmp_path):
    """A class too many, or grey JPEGs of ids: no command can know."""
    label = np.arange(100, dtype=np.uint8).reshape(10, 10) // 12
    cv2.imwrite(str(tmp_path / "ids.png"), label)
    cv2.imwrite(str(tmp_path / "ids.jpg"), label)
    cv2.imwrite(str(tmp_path / "photo.png"), np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8))
    assert recognise(str(tmp_path / "ids.png")) is None
    assert recognise(str(tmp_path / "ids.jpg")).kind == "jpeg"
    assert recognise(str(tmp_path / "photo.png")) is None
    assert recognise(str(tmp_path / "missing.json")) is None


def test_coco_in_place_of_labels(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "all.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    for stem in "ab":
        cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), draw(np.random.default_rng(0))[0])
    (tmp_path / "list.txt").write_text("images/a.png all.json\nimages/b.png all.json\n")
    assert run_command("check_dataset", "--config", write_config(tmp_path / "c.yml", tiny_config(tmp_path, 3))) == 1
    expected = f"--format coco --input {tmp_path}/all.json --images {tmp_path}/images --save_dir {tmp_path}_ids"
    assert expected in capsys.readouterr().out


def test_colours_of_the_dataset_file_are_used(dataset, tmp_path, capsys):
    config, _ = dataset(coloured, "labels/{}.png")
    file = tmp_path / "leaves.yml"
    colours = json.dumps(COLOURS.tolist())
    file.write_text(f"train: list.txt\nval: list.txt\nnames: [{', '.join(NAMES)}]\ncolors: {colours}\n")
    assert run_command("check_dataset", "--config", config, "--opts", f"data={file}") == 1
    shown = capsys.readouterr().out
    assert f"--data {file} --save_dir" in shown and "colours.yml" not in shown
