"""A new network is one model file, one rename table and one config; nothing else in the repository changes.

The three files are in ``fixtures/toy``. The test drops them into a copy of the repository.
"""

import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from processes import python

from paddle_rtseg.weights import read_state, save_state

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
NUM_CLASSES, CHANNELS = 11, 12
# Runs several commands in one process, each as `python -m paddle_rtseg.NAME` does, and prints the family names.
COMMANDS = """
import json, runpy, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv = arguments
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as e:
        if e.code:
            raise
import paddle_rtseg
from paddle_rtseg.weights import FAMILIES
from rtseg_inference import Predictor
print("models", *paddle_rtseg.list_models())
print("families", *FAMILIES)
print("verified", Predictor("exported").verify().passed)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the repository, without large files, with the three files of the toy network."""
    folder = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("*.safetensors", "__pycache__", "*.npz")
    for part in ("paddle_rtseg", "configs", "deploy/python", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    added = [path for path in (ROOT / "tests" / "fixtures" / "toy").rglob("*.*") if "__pycache__" not in path.parts]
    assert len(added) == 3
    for path in added:
        target = folder / path.relative_to(ROOT / "tests" / "fixtures" / "toy")
        target.parent.mkdir(exist_ok=True)
        assert not target.exists()
        shutil.copy(path, target)
    return folder


def run(checkout, *arguments):
    path = os.pathsep.join([str(checkout), str(checkout / "deploy" / "python")])
    return python(*arguments, cwd=checkout, check=True, PYTHONPATH=path).stdout


def published():
    """A checkpoint with the publisher's names and layout."""
    rng = np.random.default_rng(0)
    shapes = {
        "encoder.conv1.weight": (CHANNELS, 3, 3, 3),
        **{f"encoder.bn1.{name}": (CHANNELS,) for name in ("weight", "bias", "running_mean", "running_var")},
        "encoder.conv2.weight": (CHANNELS, CHANNELS, 3, 3),
        "encoder.conv2.bias": (CHANNELS,),
        "head.weight": (NUM_CLASSES, CHANNELS),
        "head.bias": (NUM_CLASSES,),
    }
    state = {name: rng.uniform(0.5, 1, shape).astype("float32") for name, shape in shapes.items()}
    return {**state, "encoder.bn1.num_batches_tracked": np.array(7)}


def test_commands(checkout):
    """It is listed, and its checkpoint is converted, exported, verified against its golden pair and timed."""
    save_state(published(), str(checkout / "published.safetensors"))
    config = "configs/toy/toy_camvid_480x360.yml"
    commands = [
        ["paddle_rtseg.convert", "--family", "toy", "--input", "published.safetensors", "--output", "toy.pdparams"],
        ["paddle_rtseg.export", "--config", config, "--model_path", "toy.pdparams", "--save_dir", "exported"],
        ["paddle_rtseg.benchmark", "--models", "Toy", "--sizes", "64x64", "--turns", "2", "--save", "table.md"],
    ]
    printed = run(checkout, "-c", COMMANDS, json.dumps(commands))
    assert "Toy" in re.search(r"^models (.*)$", printed, re.M).group(1).split()
    assert "toy" in re.search(r"^families (.*)$", printed, re.M).group(1).split()
    assert "verified True" in printed

    converted = read_state(str(checkout / "toy.pdparams"))
    np.testing.assert_array_equal(converted["classifier.weight"], published()["head.weight"].T)
    assert len(converted) == 9
    (row,) = (line for line in (checkout / "table.md").read_text().splitlines() if "Toy" in line)
    assert "onednn" in row and "did not run" not in row


def test_loops_over_all_networks_and_configs(checkout):
    files = ["tests/models/test_all_models.py", "tests/test_configs.py"]
    printed = run(checkout, "-m", "pytest", "-vv", "-p", "no:cacheprovider", *files, "-k", "Toy or toy or has_a_case")
    passed = re.findall(r"::(test_\w+).* PASSED", printed)
    for name in (
        "test_every_registered_model_has_a_case",
        "test_every_parameter_gets_a_gradient",
        "test_static_graph_equals_the_model",
        "test_predictor_equals_the_model",
        "test_begins_with_its_command",
        "test_parts_fit_together",
    ):
        assert name in passed, printed
    assert "FAILED" not in printed
