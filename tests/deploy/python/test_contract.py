"""deploy.yaml is written and read by one module, and a damaged file is refused in one sentence that names the key."""

import os
import shutil

import bad_contracts
import contract_fuzz
import pytest
import yaml
from bad_contracts import BAD_CONTRACTS, BAD_FOLDERS, spoil
from rtseg_inference import InputError, contract


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported["logits"], tmp_path / "model")


def test_reads_what_the_export_wrote(folder):
    found = contract.read_contract(str(folder))
    assert os.path.isfile(found.path(found.model)) and os.path.isfile(found.path(found.params))
    assert found.output.op == "logits" and found.output.num_classes == 7 and len(found.palette) == 7
    assert found.input.shape.contains((5, 3, 32, 999)) and not found.input.shape.contains((1, 3, 31, 64))


@pytest.mark.parametrize("output_op", ["logits", "argmax"])
def test_what_is_read_is_written_again_unchanged(output_op, exported):
    document = contract.load(exported[output_op])
    assert contract.to_document(contract.parse(document, "folder")) == document["rtseg"]


@pytest.mark.parametrize(
    "resize",
    [
        {"rule": "exact", "height": 64, "width": 96, "interpolation": "area"},
        {"rule": "fit", "height": 64, "width": 96, "interpolation": "linear", "divisor": 32},
        {"rule": "long", "size": 64, "interpolation": "nearest"},
        {"rule": "short", "size": 64, "max": 100, "interpolation": "linear"},
        {"rule": "short", "size": 64, "interpolation": "linear"},
        {"rule": "limit", "max": 64, "min": None, "interpolation": "cubic"},
    ],
)
def test_a_resize_has_the_keys_of_its_rule(resize, exported):
    document = contract.load(exported["logits"])
    document["rtseg"]["preprocess"].update(resize=resize, pad={"height": 64, "width": 96, "value": 127.5})
    document["rtseg"].update(onnx="model.onnx", onnx_fp16="model_fp16.onnx")
    document["rtseg"]["sha256"].update({"model.onnx": 64 * "a", "model_fp16.onnx": 64 * "b"})
    assert contract.to_document(contract.parse(document, "folder")) == document["rtseg"]


def test_tf32_has_the_tolerance_of_fp16_unless_the_file_states_one(exported):
    document = contract.load(exported["logits"])
    tolerances = document["rtseg"]["golden"]["tolerance"]
    tolerances.pop("tf32", None)
    golden = contract.parse(document, "folder").golden
    assert golden.tolerance_of("tf32") == golden.tolerance["fp16"] != golden.tolerance_of("fp32")
    tolerances["tf32"] = {"rms_error": 0.125, "agreement": 0.5}
    assert contract.parse(document, "folder").golden.tolerance_of("tf32") == contract.Tolerance(0.125, 0.5)


def test_keys_of_later_versions_are_ignored(exported):
    document = contract.load(exported["logits"])
    expected = contract.parse(document, "folder")
    document["rtseg"]["input"]["later"] = document["rtseg"]["later"] = {"a": [1]}
    assert contract.parse(document, "folder") == expected


def test_writes_paddlesegs_section_first(folder):
    found = contract.read_contract(str(folder))
    contract.write_contract(found, {"model": "model.json"})
    document = yaml.safe_load((folder / "deploy.yaml").read_text())
    assert list(document) == ["Deploy", "rtseg"] and document["Deploy"] == {"model": "model.json"}
    assert contract.read_contract(str(folder)) == found


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"with a deploy\.yaml"):
        contract.read_contract(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_contract(folder, share):
    path = folder / "deploy.yaml"
    text = path.read_text()
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(InputError, match=r"export the model again|damaged"):
        contract.read_contract(str(folder))


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folders(name, folder):
    change, message = BAD_FOLDERS[name]
    change(folder)
    with pytest.raises(InputError) as caught:
        contract.read_contract(str(folder))
    assert message in str(caught.value) and str(caught.value).count("\n") == 0


def test_golden_files_have_sums_but_older_folders_need_none(folder):
    found = contract.read_contract(str(folder))
    assert set(found.files()) == set(found.sha256) >= {found.golden.image, found.golden.mask, found.golden.output}
    bad_contracts._forget_golden_sums(folder)
    older = contract.read_contract(str(folder))
    assert older.files() == found.files() and not set(older.sha256) & {found.golden.image, found.golden.mask}


def test_links_inside_the_folder(folder):
    (folder / "model.pdiparams").rename(folder / "weights")
    (folder / "model.pdiparams").symlink_to("weights")
    (folder.parent / "link").symlink_to(folder)
    assert contract.read_contract(str(folder.parent / "link")).params == "model.pdiparams"


def test_opens_only_its_own_folder(folder):
    (folder.parent / "weights").write_bytes(b"")
    names = {"absolute": "/etc/passwd", "above": "../weights", "link": "link"}
    (folder / "link").symlink_to("/etc/passwd")
    text = (folder / "deploy.yaml").read_text()
    with contract_fuzz.reads_only(str(folder)) as outside:
        contract.read_contract(str(folder))
        for name in names.values():
            (folder / "deploy.yaml").write_text(text.replace("model.pdiparams", name))
            with pytest.raises(InputError):
                contract.read_contract(str(folder))
    assert outside == set()


@pytest.mark.parametrize("key", ["onnx", "onnx_fp16"])
def test_another_onnx_file(key, folder):
    found = contract.read_contract(str(folder))
    (folder / "model.onnx").write_bytes(b"written by the export")
    sums = {**found.sha256, "model.onnx": contract.sha256(str(folder / "model.onnx"))}
    contract.write_contract(contract.dataclasses.replace(found, sha256=sums, **{key: "model.onnx"}), {})
    assert contract.read_contract(str(folder)).path("model.onnx") == str(folder / "model.onnx")
    (folder / "model.onnx").write_bytes(b"from elsewhere")
    with pytest.raises(InputError, match=r"model\.onnx has SHA-256 .* changed or cut short"):
        contract.read_contract(str(folder))


@pytest.fixture(scope="module")
def good_folder(exported, tmp_path_factory):
    return shutil.copytree(exported["logits"], tmp_path_factory.mktemp("contract") / "model")


@pytest.mark.parametrize("name", BAD_CONTRACTS)
def test_bad_contracts(name, good_folder, tmp_path):
    shutil.copy(good_folder / "deploy.yaml", tmp_path)
    spoil(tmp_path, name)
    with pytest.raises(InputError) as caught:
        contract.parse(contract.load(str(tmp_path)), str(tmp_path))
    message = str(caught.value)
    assert BAD_CONTRACTS[name]["expect"] in message
    assert message.startswith(str(tmp_path)) and message.count("\n") == 0 and len(message) < len(str(tmp_path)) + 250
