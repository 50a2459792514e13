"""A network, a golden pair and a contract that do not belong together are one sentence."""

import shutil

import cv2
import numpy as np
import pytest
import yaml
from rtseg_inference import InputError, Predictor
from rtseg_inference.files import sha256


def change(folder, contract=lambda _: None):
    """Change the contract in ``folder``, and make its sums those of the files."""
    path = folder / "deploy.yaml"
    document = yaml.safe_load(path.read_text())
    contract(document["rtseg"])
    document["rtseg"]["sha256"] = {name: sha256(str(folder / name)) for name in document["rtseg"]["sha256"]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported["logits"], tmp_path / "model")


def _shrink_mask(folder):
    cv2.imwrite(str(folder / "golden_mask.png"), np.zeros((5, 5), np.uint8))


def _other_output(folder):
    np.save(folder / "golden_output.npy", np.zeros((7, 5, 5), np.float32))


def _pickled_output(folder):
    np.save(folder / "golden_output.npy", np.array([{}], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shrink_mask, "the golden mask has another size or type than the network's; export the model again"),
        (_other_output, "the golden output has shape 7x5x5, the network gives 7x"),
        (_pickled_output, "is not a .npy file of float32 in C order"),
    ],
)
def test_golden_pair_of_another_network(damage, message, folder):
    damage(folder)
    change(folder)
    with pytest.raises(InputError) as caught:
        Predictor(str(folder), backend="native").verify()
    assert message in str(caught.value)


def _rename_input(contract):
    contract["input"]["name"] = "nothing"


def _drop_classes(contract):
    contract["output"]["num_classes"] = 3
    contract["classes"], contract["palette"] = contract["classes"][:3], contract["palette"][:3]


def _argmax(contract):
    contract["output"].update(op="argmax", dtype="int32")
    contract["golden"]["output"] = None


def _large_batch(contract):
    for bound in ("min", "opt"):
        contract["input"]["shape"][bound][0] = 1024


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_rename_input, "has no input 'nothing'; export the model again"),
        (_drop_classes, "expected 3 classes of the network, got 7x"),
        (_argmax, "expected class ids for "),
        (_large_batch, "expected at most 1 million pixels in the model's batch of 1024, got 1024 images of "),
    ],
)
def test_contract_of_another_network(edit, message, folder, monkeypatch):
    monkeypatch.setenv("RTSEG_MEGAPIXELS", "1")
    change(folder, edit)
    with pytest.raises(InputError) as caught:
        Predictor(str(folder), backend="native").verify()
    assert message in str(caught.value)


def test_class_ids_without_a_color(exported, tmp_path):
    folder = shutil.copytree(exported["argmax"], tmp_path / "model")
    change(folder, _drop_classes)
    with pytest.raises(InputError, match="expected class ids from 0 to 2 of the network, got others"):
        Predictor(str(folder), backend="native").verify()
