"""The C++ program finds the same keypoints as the Python package, reads the same boxes and refuses the same input."""

import json
import shutil

import contract_fuzz
import cv2
import numpy as np
import paddle
import pytest
import yaml
from bad_contracts import BAD_POSE_CONTRACTS, spoil
from box_files import BAD_FILES, GOOD_FILES, NAMES
from comparing import zip_strict
from cpp_programs import run
from rtseg_inference import InputError, cli, contract
from rtseg_inference.pose import average_flipped, decode
from rtseg_inference.pose_boxes import match, read_boxes
from tiny_pose import PREPROCESSING, SEGMENTATION_FLAGS, SIZE, dots, draw_persons, pose

from paddle_rtseg.export.exporter import export_model

pytestmark = pytest.mark.slow


def edit(folder, **changes):
    """Change keys of the pose section."""
    document = yaml.safe_load((folder / "deploy.yaml").read_text())
    document["rtseg"]["pose"].update(changes)
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("name", BAD_POSE_CONTRACTS)
def test_bad_contracts(name, host_check, exported_pose, tmp_path):
    folder = shutil.copytree(exported_pose, tmp_path / "model")
    spoil(folder, name)
    with pytest.raises(InputError) as python:
        contract.read_contract(str(folder))
    assert run(host_check, "contract", folder) == (2, "", f"error: {python.value}\n")


def test_mutated_contracts(host_check, exported_pose):
    outcomes = contract_fuzz.fuzz("contracts", exported_pose, [host_check], range(150), seed=3)
    assert outcomes.failures == [] and outcomes.count["cases"] == 150 and outcomes.count["accepted by both"] > 0


@pytest.mark.parametrize("flip_test, shift", [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("rule", ["quarter", "none", "dark"])
def test_decoding_equals_python(rule, flip_test, shift, host_check, exported_pose, tmp_path):
    folder = shutil.copytree(exported_pose, tmp_path / "model")
    flips = [0, 2, 1]
    edit(folder, decode=rule, flip_test=flip_test, shift=shift, flip_indices=flips)
    rng = np.random.default_rng(4)
    for _ in range(4):
        maps, mirrored = (cv2.GaussianBlur(rng.standard_normal((32, 24, 3)), (7, 7), 0) for _ in range(2))
        maps, mirrored = (np.ascontiguousarray(m.transpose(2, 0, 1), np.float32) for m in (maps, mirrored))
        maps[2], mirrored[1] = -abs(maps[2]), -abs(mirrored[1])  # of one nothing is found
        np.save(tmp_path / "maps.npy", maps)
        np.save(tmp_path / "mirrored.npy", mirrored)
        status, out, err = run(host_check, "decode", folder, tmp_path / "maps.npy", tmp_path / "mirrored.npy")
        assert status == 0, err
        found = np.array([line.split() for line in out.splitlines()], float)
        keypoints, scores = decode(average_flipped(maps, mirrored, flips, shift) if flip_test else maps, rule)
        np.testing.assert_allclose(found[:, :2], keypoints, atol=1e-3)
        np.testing.assert_array_equal(found[:, 2].astype(np.float32), scores)


PIECES = b'{}[],:"\\0123456789.eE+- \ntrufalsn\xc3\xa9'


def in_python(path, score, category):
    images, line = match(read_boxes(str(path)), NAMES, score, category)
    lines = [line]
    for image in images:
        width, height = image.size or (0, 0)
        rows = [",".join(f"{n:.17g}" for n in row) for row in image.boxes]
        lines.append(" ".join([f"{image.image_id} {image.category} {width}x{height}", *rows]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", [*GOOD_FILES, *BAD_FILES])
def test_boxes_equal_python(name, host_check, tmp_path):
    content = GOOD_FILES[name] if name in GOOD_FILES else BAD_FILES[name][0]
    path = tmp_path / "boxes.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    for score, category in ((0.0, None), (0.3, 0), (0.3, 1)):
        found = run(host_check, "boxes", path, score, "-" if category is None else category, *NAMES)
        try:
            assert found == (0, in_python(path, score, category), "")
        except InputError as e:
            assert found == (2, "", f"error: {e}\n")


@pytest.mark.slow_on_old_paddle
def test_mutated_boxes_equal_python(host_check, tmp_path):
    """Bytes exchanged, removed and added."""
    rng, path = np.random.default_rng(5), tmp_path / "boxes.json"
    texts = [json.dumps(content).encode() for content in GOOD_FILES.values() if not isinstance(content, bytes)]
    accepted = 0
    for i in range(150):
        text = bytearray(texts[i % len(texts)])
        for _ in range(rng.integers(1, 4)):
            at = rng.integers(len(text) + 1)
            text[at : at + rng.integers(3)] = bytes(rng.choice(list(PIECES), rng.integers(3)).tolist())
        path.write_bytes(bytes(text))
        found = run(host_check, "boxes", path, 0.3, 1, *NAMES)
        try:
            assert found == (0, in_python(path, 0.3, 1), ""), bytes(text)
            accepted += 1
        except InputError as e:
            assert found == (2, "", f"error: {e}\n"), bytes(text)
    assert 10 < accepted < 140


@pytest.fixture
def source(tmp_path):
    """A folder of images, and the file of their boxes."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    persons = {
        "a.png": [
            [(60, 50), (90, 80), (60, 130)],
            [(200, 60), (180, 90), (230, 140)],
            [(10, 15), (30, 100), (80, 190)],
        ],
        "below/12.png": [[(30, 30), (60, 60), (90, 90)]],
        "nobody.png": [],
    }
    boxes = []
    for name, those in persons.items():
        found = draw_persons(folder / name, those, (300, 200))
        boxes += [{"file_name": name, "bbox": box, "score": 0.9} for box in found]
    boxes.append({"file_name": "away.png", "bbox": [0, 0, 9, 9]})
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return folder


def both(program, model, source, tmp_path, capfd, *arguments):
    """Status, results and folder of the run in Python and of that in C++."""
    outcomes = []
    for language in ("python", "cpp"):
        command = ["--model", model, "--input", source, "--save_dir", tmp_path / language, *arguments]
        words = [str(word) for word in command]
        if language == "python":
            status = cli.run(words)
            captured = capfd.readouterr()
            out, err = captured.out, captured.err
        else:
            status, out, err = run(program, *words)
        results = tmp_path / language / "keypoints.json"
        found = json.loads(results.read_text()) if results.exists() else None
        lines = [
            line for line in (out + err).splitlines() if line.startswith(("skipped", "error")) or "boxes in" in line
        ]
        outcomes.append((status, found, lines))
    return outcomes


def assert_same(python, cpp, tmp_path):
    assert (python[0], python[2]) == (cpp[0], cpp[2])
    for one, other in zip_strict(python[1], cpp[1]):
        assert {k: one[k] for k in ("image_id", "file_name", "category_id")} == {
            k: other[k] for k in ("image_id", "file_name", "category_id")
        }
        for key, tolerance in (("keypoints", 0.01), ("bbox", 1e-3), ("score", 1e-4)):
            np.testing.assert_allclose(one[key], other[key], rtol=0, atol=tolerance)
    names = [sorted(p.relative_to(tmp_path / x) for p in (tmp_path / x).rglob("*.jpg")) for x in ("python", "cpp")]
    assert names[0] == names[1]
    for name in names[0]:
        images = [cv2.imread(str(tmp_path / language / name)).astype(int) for language in ("python", "cpp")]
        assert abs(images[0] - images[1]).mean() < 0.5


FORMS = {
    "as it is": {},
    "dark, without a mirror": {"pose": pose(decode="dark", flip_test=False)},
    "camera images, two at once": {"raw_input": True, "input_shape": [2, 3, *SIZE[::-1]]},
}


@pytest.mark.parametrize("form", FORMS)
def test_results_equal_python(form, rtseg_infer, source, tmp_path, capfd):
    options = {"pose": pose(), **FORMS[form]}
    model = export_model(dots(), str(tmp_path / "model"), PREPROCESSING, onnx="no", **options)
    batch = 2 if "two" in form else 3
    arguments = ["--boxes", tmp_path / "boxes.json", "--backend", "native", "--batch_size", batch]
    python, cpp = both(rtseg_infer, model, source, tmp_path, capfd, *arguments)
    assert_same(python, cpp, tmp_path)
    assert python[0] == 0 and len(python[1]) == 4 and "1 of images that are not in the input" in python[2][0]


def test_images_that_fail_equal_python(rtseg_infer, exported_pose, source, tmp_path, capfd):
    boxes = [{"file_name": "nobody.png", "bbox": [400, 0, 10, 10]}, {"file_name": "a.png", "bbox": [20, 30, 80, 120]}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    (source / "damaged.png").write_bytes(b"\x89PNG")
    arguments = ["--boxes", tmp_path / "boxes.json", "--backend", "native"]
    python, cpp = both(rtseg_infer, exported_pose, source, tmp_path, capfd, *arguments)
    assert_same(python, cpp, tmp_path)
    assert python[0] == 1 and len(python[2]) == 3


def test_whole_images_equal_python(rtseg_infer, exported_pose, source, tmp_path, capfd):
    python, cpp = both(rtseg_infer, exported_pose, source / "a.png", tmp_path, capfd, "--backend", "native")
    assert_same(python, cpp, tmp_path)


def test_onnx_runtime_equals_python(onnx_infer, source, tmp_path, capfd):
    if paddle.__version__.startswith("2."):
        pytest.skip("paddle2onnx needs Paddle 3")
    pytest.importorskip("paddle2onnx")
    model = export_model(dots(), str(tmp_path / "model"), PREPROCESSING, pose=pose(), onnx="required")
    arguments = ["--boxes", tmp_path / "boxes.json", "--backend", "onnxruntime"]
    assert_same(*both(onnx_infer, model, source, tmp_path, capfd, *arguments), tmp_path)


@pytest.mark.parametrize("flag", [["--boxes", "boxes.json"], ["--category", "1"], ["--box_score", "0.5"]])
def test_flags_for_poses_with_another_model(flag, rtseg_infer, exported, source, tmp_path, capfd):
    python, cpp = both(rtseg_infer, exported["logits"], source, tmp_path, capfd, *flag)
    assert python == cpp and python[0] == 2


@pytest.mark.parametrize("flag", [*SEGMENTATION_FLAGS, ["--write", "json"]])
def test_flags_for_segmentation(flag, rtseg_infer, exported_pose, source, tmp_path, capfd):
    python, cpp = both(rtseg_infer, exported_pose, source, tmp_path, capfd, *flag)
    assert python == cpp and python[0] == 2


def test_bad_boxes_leave_nothing_behind(rtseg_infer, exported_pose, source, tmp_path, capfd):
    (tmp_path / "boxes.json").write_text("[{}]")
    python, cpp = both(rtseg_infer, exported_pose, source, tmp_path, capfd, "--boxes", tmp_path / "boxes.json")
    assert python == cpp and python[0] == 2
    assert not (tmp_path / "python").exists() and not (tmp_path / "cpp").exists()


def test_verify(rtseg_infer, exported_pose):
    status, out, _ = run(rtseg_infer, "--model", exported_pose, "--verify")
    assert status == 0 and "100.00% of the keypoints agree" in out


def test_video_equals_python(rtseg_infer, exported_pose, source, tmp_path, capfd):
    """Each frame is one person; boxes belong to images."""
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (300, 200))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for name in ("a.png", "nobody.png", "below/12.png"):
        writer.write(cv2.imread(str(source / name)))
    writer.release()
    arguments = ["--backend", "native", "--max_frames", 2]
    python, cpp = both(rtseg_infer, exported_pose, video, tmp_path, capfd, *arguments)
    assert_same(python, cpp, tmp_path)
    assert [result["image_id"] for result in cpp[1]] == [0, 1] and (tmp_path / "cpp" / "overlays" / "clip.mp4").exists()
    python, cpp = both(rtseg_infer, exported_pose, video, tmp_path, capfd, "--boxes", tmp_path / "boxes.json")
    assert (python[0], python[2]) == (cpp[0], cpp[2]) and "got the video" in cpp[2][0]
