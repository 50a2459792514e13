"""Areas of the classes and COCO's annotations are equal in Python and C++."""

import json
import os
import shutil

import numpy as np
import pytest
import yaml
from cpp_programs import run
from rtseg_inference import postprocess
from rtseg_inference.coco_file import CocoFile
from rtseg_inference.geometry import Geometry
from rtseg_inference.results import class_areas

pytestmark = pytest.mark.slow

NAMES = ["background", "Straße", 'a "quoted" \\ name', "道路", "🚗", "never", "plain"]


def load(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("size", [(72, 104), (65, 97), (1, 1)])
@pytest.mark.parametrize(
    ("output_op", "file"),
    [("logits", "below/tab\t größe.png"), ("softmax", os.fsdecode(b"a\xff\xe9\x80\xed\xa0\x80.png"))],
)
def test_equal_values(output_op, file, size, host_check, exported, tmp_path):
    model = shutil.copytree(exported["logits"], tmp_path / "model")
    document = yaml.safe_load((model / "deploy.yaml").read_text())
    document["rtseg"]["classes"], document["rtseg"]["output"]["op"] = NAMES, output_op
    (model / "deploy.yaml").write_text(yaml.safe_dump(document))
    planes = np.random.RandomState(1).randn(len(NAMES), 9, 13).astype(np.float32)
    planes[5] = -20
    planes[2, 3:6] = 4
    if output_op == "softmax":
        planes = postprocess.softmax(planes)
    np.save(tmp_path / "planes.npy", planes)
    status, _, err = run(host_check, "results", model, tmp_path / "planes.npy", *size, file, tmp_path)
    assert status == 0, err

    sizes = Geometry(size, size, size)
    mask = postprocess.argmax(planes, sizes)
    expected = class_areas(mask, NAMES, postprocess.confidence(planes, sizes, output_op == "softmax"))
    found = load(tmp_path / "areas.json")
    scores = [[entry.pop("score") for entry in areas["classes"]] for areas in (found, expected)]
    assert found == expected
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)
    coco = CocoFile(str(tmp_path / "expected.json"), NAMES)
    coco.add(file, mask)
    coco.add("again", mask)
    coco.close()
    assert load(tmp_path / "coco.json") == load(tmp_path / "expected.json")
