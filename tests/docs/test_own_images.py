"""The page on one's own images, from photographs to a video in C++: each of its commands, in its order."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import cv2
import numpy as np
import photographs
import pytest
from cpp_programs import SOURCE, onnxruntime_options

from paddle_rtseg.data.dataset_file import read_dataset_file

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "own_images.md"
TEXT = PAGE.read_text(encoding="utf-8")
IN_TABLE = re.findall(r"^\|.*`(python -m [^`]*)` \|$", TEXT, flags=re.MULTILINE)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]
SHORT = ["--iters", "2", "--save_interval", "1"]  # in place of an afternoon
INPUTS = {
    "labelme": lambda names: photographs.write_labelme("photos", names),
    "coco": lambda names: photographs.write_coco("instances.json", names),
    "colours": lambda names: photographs.write_colours("masks", "colours.yml", names),
    "binary": lambda names: photographs.write_binary("masks", names),
}


def test_page_has_all_commands():
    assert [re.search(r"--format (\w+)", command)[1] for command in IN_TABLE] == list(INPUTS)
    programs = [re.sub(r"python -m ", "", command).split()[0] for command in COMMANDS]
    package, infer = "paddle_rtseg.", "paddle_rtseg.infer"
    assert programs == [
        *(f"{package}new", f"{package}check_dataset", "paddleseg.train", "paddleseg.export", infer, infer),
        *("cmake", "cmake", "build/rtseg_infer"),
    ]


def run(command):
    """A command of the page, with this Python, and its output."""
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    if "paddleseg.train" in words:
        words += SHORT
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", INPUTS)
def test_labels(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = photographs.frames(4)
    photographs.write_photographs("photos", names)
    INPUTS[kind](names)
    (command,) = [command for command in IN_TABLE if f"--format {kind}" in command]
    assert "leaves" in run(command)
    dataset = read_dataset_file("leaves/dataset.yml")
    ids = np.unique([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in pathlib.Path("leaves").rglob("*.png")])
    assert len(dataset.names) >= len(ids[ids != 255]) > 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands of the page were run, up to those for C++."""
    here, folder = os.getcwd(), tmp_path_factory.mktemp("own")
    os.chdir(folder)
    try:
        names = photographs.frames(10)
        photographs.write_photographs("photos", names[:8])
        photographs.write_labelme("photos", names[:8])
        photographs.write_photographs("new_photos", names[8:])
        photographs.write_video("walk.mp4", names[:5])
        for command in [IN_TABLE[0], *COMMANDS]:
            if command.startswith("python"):
                run(command)
    finally:
        os.chdir(here)
    return folder


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_results(folder):
    evaluation = {path.name for path in (folder / "output" / "mine" / "evaluation").iterdir()}
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", TEXT, flags=re.MULTILINE)) == evaluation
    masks = sorted(
        path.relative_to(folder / "result" / "masks") for path in (folder / "result").rglob("masks/**/*.png")
    )
    assert len(masks) == 2 + 5
    assert cv2.VideoCapture(str(folder / "result" / "overlays" / "walk.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 5


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_cpp(folder):
    if not list((folder / "exported").glob("*.onnx")):
        pytest.skip("the ONNX form needs paddle2onnx, onnx and Paddle 3")
    options = onnxruntime_options()
    if not options:
        pytest.skip("ONNXRUNTIME_HEADERS does not name a folder of ONNX Runtime's headers")
    configure, build, infer = COMMANDS[-3:]
    program = folder / "build"
    configured = configure.replace("-DONNXRUNTIME=onnxruntime/", " ".join(options)).replace("deploy/cpp", str(SOURCE))
    for command in (configured, build, infer):
        done = subprocess.run(shlex.split(command), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (program / "rtseg_infer").is_file()
    assert len(list((folder / "result_cpp" / "masks" / "walk").iterdir())) == 5
    assert (folder / "result_cpp" / "overlays" / "walk.mp4").is_file()
