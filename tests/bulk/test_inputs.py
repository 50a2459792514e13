"""Which inputs a bulk job takes, their names, and sentences about those that it does not."""

import pytest
from rtseg_inference.images import find_images

from paddle_rtseg.bulk.inputs import find_items
from paddle_rtseg.errors import InputError

FILES = (
    "cam1/a.jpg",
    "cam1/b.png",
    "cam2/a.jpg",
    "cam2/drive.mp4",
    "cam2/notes.txt",
    ".hidden/c.jpg",
    "d.jpg",
    "d.png",
)
KINDS = ("masks", "overlays")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in FILES:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "in" / "cam2" / "notes.txt").unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources):
    return [item.name for item in find_items(sources, "out", KINDS)]


@pytest.mark.parametrize(
    "sources, expected",
    [
        (["in/cam1"], ["a", "b"]),
        (["in/cam1", "in/cam2"], ["cam1/a", "cam1/b", "cam2/a", "cam2/drive"]),
        (["in/cam*/a.jpg"], ["cam1/a", "cam2/a"]),
        (["in/**/a.jpg"], ["cam1/a", "cam2/a"]),
        (["in/cam1/a.jpg", "in/cam1"], ["a", "b"]),
        (["in/cam2/drive.mp4", "in/cam2/a.jpg"], ["a", "drive"]),
        (["in/cam2/drive.mp4"], ["drive"]),
    ],
)
def test_names(folder, sources, expected):
    assert names(*sources) == expected


def test_names_of_a_folder_are_those_of_infer(folder):
    assert names("in")[:-1] == find_images("in").names
    assert names("in")[-1] == "cam2/drive"


def test_list(folder):
    (folder / "in" / "list.txt").write_text("cam2/a.jpg\n\n  cam1/b.png\ns3://bucket/x/c.jpg\n")
    items = find_items(["in/list.txt"], "out", KINDS)
    assert [item.path for item in items] == ["in/cam2/a.jpg", "in/cam1/b.png", "s3://bucket/x/c.jpg"]
    assert [item.name for item in items] == ["cam2/a", "cam1/b", "bucket/x/c"]


def test_a_video_named_like_a_folder_of_images(folder):
    """Its frames would get among the results of the folder."""
    (folder / "in" / "cam1.mp4").write_bytes(b"")
    assert names("in")[-2:] == ["cam1.mp4", "cam2/drive"]


def test_results_are_no_inputs(folder):
    (folder / "in" / "out" / "masks").mkdir(parents=True)
    (folder / "in" / "out" / "masks" / "a.png").write_bytes(b"")
    assert not any("out" in item.path for item in find_items(["in"], "in/out", KINDS))


@pytest.mark.parametrize(
    "source, words",
    [
        ("nowhere", "'nowhere', which does not exist"),
        ("in/*.bmp", "match 'in/\\*.bmp', got none"),
        ("in/empty.txt", "a path on each line of 'in/empty.txt', got none"),
        ("in/other.txt", "in the list 'in/other.txt', got 'in/labels.csv'"),
        ("in/bytes.txt", "a text file with a path on each line"),
        ("empty", "in 'empty', got none"),
    ],
)
def test_refused(folder, source, words):
    (folder / "empty").mkdir()
    (folder / "in" / "empty.txt").write_text("\n")
    (folder / "in" / "other.txt").write_text("labels.csv\n")
    (folder / "in" / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=words):
        find_items([source], "out", KINDS)
