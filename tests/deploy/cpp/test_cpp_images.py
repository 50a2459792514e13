"""The C++ program finds, reads, names and writes images as the Python package does, and refuses the same ones."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import time

import cv2
import numpy as np
import pytest
import yaml
from comparing import zip_strict
from cpp_programs import build_with_sanitizers, run
from image_cases import HOSTILE, NAMES
from image_files import image_files, opencv, picture, tiled
from image_mutants import outcome, read_in_cpp, read_in_python
from image_mutants import run as run_mutants
from rtseg_inference import InputError, contract
from rtseg_inference.geometry import geometry
from rtseg_inference.images import find_images, result_folders
from rtseg_inference.media import IMAGE_KINDS

pytestmark = pytest.mark.slow

FILES = image_files(picture())


@pytest.fixture
def compared(image_check, tmp_path):
    """A function that writes files and returns what each reader makes of each: by name, Python's and C++'s."""

    def compare(files):
        paths = [tmp_path / name for name in files]
        for path, content in zip_strict(paths, files.values()):
            path.write_bytes(content)
        shown = tmp_path / "pixels"
        shown.mkdir(exist_ok=True)
        found = read_in_cpp(str(image_check), [str(p) for p in paths], str(shown))
        return {p.name: (read_in_python(str(p)), cpp) for p, cpp in zip_strict(paths, found)}

    return compare


def test_pixels_equal_python(compared):
    """Those of JPEGs to a few levels, because the two builds of OpenCV may bundle different libjpegs."""
    longer = {"longer " + name: content + bytes(2000) for name, content in FILES.items()}
    for name, (python, cpp) in compared({**FILES, **longer}).items():
        assert outcome(python, cpp) == "read by both", (name, python, cpp)
        assert name.endswith((".jpg", ".jpeg")) or np.array_equal(python, cpp), name


def test_large_tiffs_that_are_decoded_in_bands_equal_python(compared):
    image = cv2.resize(picture(), (5100, 5000))
    files = {"strips.tif": opencv(".tif", image), "tiles.tif": tiled(image, 512)}
    for name, (python, cpp) in compared(files).items():
        np.testing.assert_array_equal(python, image, name)
        np.testing.assert_array_equal(cpp, image, name)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_cut_files_are_refused(share, compared):
    files = {name: content[: int(share * len(content))] for name, content in FILES.items() if len(content) > 100}
    del files["pages.tiff"]  # its first page is whole
    closed = {f"closed {n}": c.rstrip(b"\xff") + b"\xff\xd9" for n, c in files.items() if c.startswith(b"\xff\xd8")}
    closed.pop("closed progressive.jpg", None)  # its header is more than that
    assert len(closed) >= 5 or share == 0
    for name, (python, cpp) in compared({**files, **closed}).items():
        assert outcome(python, cpp) == "refused by both", (name, python, cpp)


def test_hostile_files_are_refused_with_the_same_sentence(compared):
    for name, (python, cpp) in compared({name: content for name, content, _ in HOSTILE}).items():
        assert python == cpp and cpp.startswith("error: "), name


def test_only_regular_files_are_opened(image_check, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to("nowhere")
    paths = [str(tmp_path / f"{name}.png") for name in ("pipe", "device", "folder", "broken", "missing")]
    found = read_in_cpp(str(image_check), paths, str(tmp_path))
    assert found == [read_in_python(path) for path in paths]
    assert all(isinstance(sentence, str) and sentence.startswith("error: ") for sentence in found)


@pytest.mark.parametrize("limit", ["1", "", "0", "-1", "1e3", "9" * 500])
def test_limit_is_the_same_setting(limit, compared, monkeypatch):
    monkeypatch.setenv("RTSEG_MEGAPIXELS", limit)
    python, cpp = compared({"a.png": opencv(".png", np.zeros((1001, 1000), np.uint8))})["a.png"]
    assert outcome(python, cpp) == ("refused by both" if limit else "read by both")
    assert not limit or python == cpp


@pytest.mark.slow_on_old_paddle
def test_mutated_files_crash_nothing(tmp_path):
    """Under address and undefined-behaviour sanitizers."""
    program = build_with_sanitizers(tmp_path, "image_check") / "image_check"
    found = run_mutants(str(program), 200)
    assert not found.get("crash") and not found.get("disagreement"), json.dumps(found, indent=1)
    assert found["read by both"] > 20 and found["refused by both"] > 50


@pytest.mark.parametrize(("paths", "names"), NAMES)
def test_names_of_results_equal_python(paths, names, image_check):
    assert run(image_check, "names", *paths) == (0, "\n".join(names) + "\n", "")


def test_search_equals_python(image_check, tmp_path):
    root = tmp_path / "photos"
    for name in (
        *("b.PNG", "a.jpg", "x.png", "x.jpg", "x.png.png", "A.JPG", "out/masks/b.png", "masks/a.png"),
        *("a b/1.png", "a/1.png", "a.b/1.png", "a-b/1.png", "a/c/1.png", "below/c.tif", "x.png-2.bmp"),
        *(".hidden.png", ".git/d.png", ".partial-1-e.png", "one.gif", "two.GIF", "README", "list.txt", "..x.gif"),
        "film.MOV",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(FILES["plain.png"])
    (root / "again").symlink_to(root / "below")
    (root / "broken.png").symlink_to("nowhere")
    (root / "linked.png").symlink_to(root / "a.jpg")
    os.mkfifo(root / "pipe.png")
    out = root / "below" / ".." / "out"
    for folder, left_out in ((root, []), (root, [out]), (f"{root}/", [root, root / "masks"]), (root / "a", [])):
        found = find_images(str(folder), leave_out=[str(f) for f in left_out])
        lines = [f"{name}\t{path}" for name, path in zip_strict(found.names, found.paths)] + [found.not_taken]
        assert run(image_check, "find", folder, *left_out) == (0, "\n".join(lines) + "\n", "")
    for nothing in (root / "one.gif", root / ".git" / "nothing"):
        nothing.parent.mkdir(exist_ok=True)
        status, _, err = run(image_check, "find", nothing)
        assert status == 2 and err.startswith("error: expected an image") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "save_dir"),
    [("in", "out"), ("in", "in"), ("in", "in/out"), ("out/masks", "out"), ("in/a.png", "in"), ("in/a.png", "in/../x")],
)
def test_folders_of_results_equal_python(source, save_dir, image_check, tmp_path):
    for folder in ("in", "out/masks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "in" / "a.png").write_bytes(FILES["plain.png"])
    arguments = [f"{tmp_path}/{source}", f"{tmp_path}/{save_dir}"]
    status, out, err = run(image_check, "results", *arguments)
    try:
        expected = result_folders(*arguments, IMAGE_KINDS)
    except InputError as e:
        assert (status, out, err) == (2, "", f"error: {e}\n") and source == "out/masks"
    else:
        assert (status, out.splitlines()) == (0, expected)


@pytest.mark.parametrize(
    ("resize", "pad", "sizes"),
    [
        ({"rule": "short", "size": 540}, None, [(2, 3000), (3000, 2), (2, 400), (540, 540), (1, 65000)]),
        ({"rule": "long", "size": 100}, None, [(1, 3000), (3, 200), (100, 100)]),
        ({"rule": "long", "size": 2_000_000_000}, None, [(1, 3000), (9, 9)]),
        ({"rule": "limit", "min": 1e9, "max": None}, None, [(9, 9)]),
        ({"rule": "exact", "height": 100_000, "width": 1_001}, None, [(10, 10)]),
        (None, {"height": 100_000, "width": 1_001, "value": 0.0}, [(10, 10)]),
        (None, {"height": 100, "width": 100, "value": 0.0}, [(10, 10), (101, 10)]),
    ],
)
def test_resized_sizes_are_bounded_as_in_python(resize, pad, sizes, image_check, exported, tmp_path):
    folder = shutil.copytree(exported["logits"], tmp_path / "model")
    document = yaml.safe_load((folder / "deploy.yaml").read_text())
    document["rtseg"]["preprocess"].update(resize=resize and {**resize, "interpolation": "linear"}, pad=pad)
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document))
    read = contract.read_contract(str(folder))
    for size in sizes:
        status, out, err = run(image_check, "geometry", folder, *size)
        try:
            expected = geometry(read, size)
        except InputError as e:
            assert (status, out, err) == (2, "", f"error: {e}\n")
        else:
            assert out.split() == [str(n) for n in (*expected.content, *expected.network)]


def test_full_disk_is_a_sentence(image_check, tmp_path):
    """A limit on the size of files takes the place of the disk's."""
    source, target = tmp_path / "a.png", tmp_path / "out" / "b.bmp"
    source.write_bytes(FILES["plain.png"])

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    command = [image_check, "copy", source, target]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: cannot write '{target}' (File too large); make room, or choose another place\n"
    assert list(target.parent.iterdir()) == []


def test_leftovers_of_killed_runs_are_cleared(image_check, tmp_path):
    source, out = tmp_path / "a.png", tmp_path / "out"
    source.write_bytes(FILES["plain.png"])
    out.mkdir()
    for name in (".partial-old", ".partial-held", ".partial-young", "partial"):
        (out / name).write_bytes(b"")
        if name != ".partial-young":
            os.utime(out / name, (0, time.time() - 100))
    with open(out / ".partial-held") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(image_check, "copy", source, out / ("x" * 250 + ".png"))[0] == 0
    assert sorted(p.name for p in out.iterdir()) == [".partial-held", ".partial-young", "partial", "x" * 250 + ".png"]
    assert (out / ("x" * 250 + ".png")).stat().st_mode & 0o777 == source.stat().st_mode & 0o777
    assert np.array_equal(cv2.imread(str(out / ("x" * 250 + ".png"))), cv2.imread(str(source)))
