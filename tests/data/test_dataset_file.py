"""Dataset files: what they become in a config, and a sentence for whatever is wrong with one."""

import os

import numpy as np
import pytest
import yaml

from paddle_rtseg.data.dataset_file import read_dataset_file, use_dataset_file
from paddle_rtseg.data.palettes import DISTINCT, classes_and_palette, distinct_colours
from paddle_rtseg.errors import InputError

GOOD = {"path": "leaves", "train": "train.txt", "val": "val.txt", "names": ["background", "leaf", "rust"]}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "leaves").mkdir()
    for mode in ("train", "val"):
        (tmp_path / "leaves" / f"{mode}.txt").write_text("a.jpg a.png\n")

    def write(content):
        path = tmp_path / "my.yml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write


def test_what_a_file_says(write, tmp_path):
    found = read_dataset_file(write(GOOD))
    assert found.names == ("background", "leaf", "rust") and (found.ignore, found.separator) == (255, " ")
    assert found.root == str(tmp_path / "leaves") and found.val == str(tmp_path / "leaves" / "val.txt")
    assert found.colors is None
    more = {"colors": [[1, 2, n] for n in range(3)], "ignore": 200, "separator": "\t"}
    found = read_dataset_file(write({**GOOD, **more}))
    assert found.colors.tolist() == [[1, 2, 0], [1, 2, 1], [1, 2, 2]]
    assert (found.ignore, found.separator) == (200, "\t")


def test_names_and_colours_by_the_file(write):
    names, colours = classes_and_palette(write(GOOD), 3)
    assert names == GOOD["names"] and colours.tolist() == [[0, 0, 0], *map(list, DISTINCT[:2])]
    _, colours = classes_and_palette(write({**GOOD, "colors": [[1, 2, n] for n in range(3)]}))
    assert colours.tolist() == [[1, 2, 0], [1, 2, 1], [1, 2, 2]]
    with pytest.raises(InputError, match="expected 4 names in"):
        classes_and_palette(write(GOOD), 4)


def test_config_gets_its_datasets_and_classes(write):
    from paddleseg.datasets import Dataset

    resize = [{"type": "Resize", "target_size": [64, 64]}]
    config = {
        "data": write({**GOOD, "ignore": 9}),
        "train_dataset": {"type": "CamVid", "dataset_root": "data/camvid", "mode": "trainval", "transforms": resize},
        "val_dataset": {"type": "CamVid", "dataset_root": "data/camvid"},
        "model": {"type": "RTFormer_Slim", "num_classes": 11},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1]},
    }
    use_dataset_file(config)
    assert config["model"]["num_classes"] == 3 and config["loss"]["types"][0]["ignore_index"] == 9
    assert config["train_dataset"]["transforms"] == resize and config["val_dataset"]["transforms"] == []
    for mode in ("train", "val"):
        arguments = {key: value for key, value in config[f"{mode}_dataset"].items() if key != "type"}
        dataset = Dataset(**{**arguments, "transforms": []})
        assert [os.path.basename(path) for path in dataset.file_list[0]] == ["a.jpg", "a.png"]
        assert (dataset.num_classes, dataset.ignore_index) == (3, 9)


def test_config_without_one_stays():
    config = {"model": {"num_classes": 11}}
    use_dataset_file(config)
    assert config == {"model": {"num_classes": 11}}


BAD = {
    "unknown key": ({**GOOD, "nmes": 1}, "unknown key 'nmes'; did you mean 'names'?"),
    "no names": ({key: GOOD[key] for key in ("path", "train", "val")}, "a key 'names' in"),
    "mapping": ({**GOOD, "names": {"a": 0}}, "to be a list of texts"),
    "no text": ({**GOOD, "names": ["yes", False]}, "put quotes around names"),
    "twice": ({**GOOD, "names": ["a", "b", "a"]}, "to differ, got 'a' twice"),
    "too many": ({**GOOD, "names": [str(i) for i in range(256)]}, "at most 255 classes"),
    "ignored class": ({**GOOD, "ignore": 1}, "a label from 3 to 255 that no class has, got 1"),
    "colours": ({**GOOD, "colors": [[0, 0, 0]]}, "to be 3 lists of red, green and blue"),
    "colour 300": ({**GOOD, "colors": [[0, 0, n] for n in (1, 2, 300)]}, "to be 3 lists of red, green and blue"),
    "no list": ({**GOOD, "val": "valid.txt"}, "which is nothing; python -m paddle_rtseg.import_labels"),
    "a folder": ({**GOOD, "val": "."}, "which is a folder"),
    "a number": ({**GOOD, "separator": 3}, "'separator' in .* to be text, got '3'"),
    "no mapping": ("[1, 2]", "expected keys and values"),
    "no YAML": ("a: [", "expected a YAML file"),
    "deep": ("a: " + "[" * 100 + "]" * 100, "nested at most"),
    "large": ("# " + "x" * (1 << 20), "at most"),
}


@pytest.mark.parametrize("content, match", BAD.values(), ids=BAD)
def test_bad_files_are_one_sentence(content, match, write):
    with pytest.raises(InputError, match=match) as e:
        read_dataset_file(write(content))
    assert "\n" not in str(e.value) and len(str(e.value)) < 400


def test_missing_file():
    with pytest.raises(InputError, match=r"'nowhere\.yml': No such file"):
        read_dataset_file("nowhere.yml")


@pytest.mark.parametrize("count", [1, 5, 40, 255])
def test_colours_differ_and_stay(count):
    names = ["background", *map(str, range(count - 1))]
    colours = distinct_colours(names)
    assert colours.shape == (count, 3) and len(np.unique(colours, axis=0)) == count
    np.testing.assert_array_equal(colours, distinct_colours([*names, "more"])[:count])


def test_a_file_in_the_current_folder(write, tmp_path, monkeypatch):
    write({**GOOD, "train": "leaves/train.txt", "val": "leaves/val.txt", "path": "."})
    monkeypatch.chdir(tmp_path)
    assert os.path.isdir(read_dataset_file("my.yml").root)
    write({key: value for key, value in GOOD.items() if key != "path"})
    monkeypatch.chdir(tmp_path / "leaves")
    os.rename(tmp_path / "my.yml", "my.yml")
    assert os.path.isdir(read_dataset_file("my.yml").root)
