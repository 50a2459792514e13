"""A damaged folder is refused with one sentence that names what is wrong."""

import os
import shutil

import pytest
import yaml
from rtseg_inference import InputError, contract


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported["logits"], tmp_path / "model")


def edit(folder, change):
    path = folder / "deploy.yaml"
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))


def test_reads_what_the_export_wrote(folder):
    found = contract.read_contract(str(folder))
    assert os.path.isfile(found.path(found.model)) and os.path.isfile(found.path(found.params))
    assert found.output.op == "logits" and found.output.num_classes == 7 and len(found.palette) == 7
    assert found.input.shape.contains((5, 3, 32, 999)) and not found.input.shape.contains((1, 3, 31, 64))


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"with a deploy\.yaml"):
        contract.read_contract(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_cut_short_anywhere(folder, share):
    path = folder / "deploy.yaml"
    text = path.read_text()
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(InputError, match=r"export the model again|damaged"):
        contract.read_contract(str(folder))


def test_not_text(folder):
    (folder / "deploy.yaml").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(InputError, match="damaged"):
        contract.read_contract(str(folder))


def test_missing_file(folder):
    (folder / "model.pdiparams").unlink()
    with pytest.raises(InputError, match=r"model\.pdiparams, which does not exist"):
        contract.read_contract(str(folder))


def test_changed_file(folder):
    with open(folder / "model.pdiparams", "r+b") as f:
        f.truncate(100)
    with pytest.raises(InputError, match="changed or cut short"):
        contract.read_contract(str(folder))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 99, "schema 99"),
        ("paddle_version", None, "rtseg.paddle_version"),
        ("classes", ["only one"], "1 names"),
        ("output", {"op": "median"}, "median"),
        ("preprocess", {}, "rtseg.preprocess.resize"),
        ("sha256", {}, "no SHA-256"),
    ],
)
def test_wrong_values(folder, key, value, message):
    edit(folder, lambda document: document["rtseg"].update({key: value}))
    with pytest.raises(InputError, match=message):
        contract.read_contract(str(folder))
