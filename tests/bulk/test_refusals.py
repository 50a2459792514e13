"""What a bulk job refuses before it starts: one sentence each."""

import json
import socket
import sys

import pytest
from bulk_jobs import arguments, make_video

from paddle_rtseg import cluster
from paddle_rtseg.bulk import job
from paddle_rtseg.bulk.inputs import find_items
from paddle_rtseg.bulk.storage import Storage
from paddle_rtseg.bulk.worker import problem_of_node
from paddle_rtseg.errors import InputError
from paddle_rtseg.files import sha256
from paddle_rtseg.tools import bulk


def test_missing_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"the package ray with Ray Data, .*; pip install \"paddle_rtseg\[ray\]"):
        with cluster.connected(None):
            pass


@pytest.mark.parametrize(
    "address, words",
    [
        ("ray://127.0.0.1:{port}", "at 'ray://127.0.0.1:[0-9]+', which does not answer"),
        ("127.0.0.1:{port}", "which does not answer"),
        ("127.0.0.1:99999", "which does not answer"),
        ("nowhere", "--address auto, HOST:PORT or ray://HOST:PORT, got 'nowhere'"),
        ("http://127.0.0.1:80/a", "--address auto"),
    ],
)
def test_an_address_that_does_not_answer(address, words):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        with pytest.raises(InputError, match=words):
            cluster.check_that_it_answers(address.format(port=unused.getsockname()[1]))


@pytest.fixture
def begun(network, tmp_path):
    """The folder of a run that has begun."""
    storage = Storage(str(tmp_path / "out"))
    storage.write(job.SETTINGS, json.dumps({"inputs_sha256": "a", "model_sha256": "b", "flags": {}}).encode())
    return storage


def test_nodes_that_do_not_see_a_folder(network, begun, tmp_path):
    digest = sha256(f"{network}/deploy.yaml")
    assert problem_of_node(network, digest, begun.address) == ""
    assert "deploy.yaml" in problem_of_node(str(tmp_path / "elsewhere"), digest, begun.address)
    assert problem_of_node(network, "0" * 64, begun.address) == f"has another model in {network!r}"
    elsewhere = str(tmp_path / "local")
    assert problem_of_node(network, digest, elsewhere) == f"does not see the results in {elsewhere!r}"


@pytest.mark.parametrize(
    "key, what", [("inputs_sha256", "inputs"), ("model_sha256", "model"), ("flags", "flags"), (None, None)]
)
def test_another_job_in_the_folder_of_one(begun, key, what):
    driver = job.Driver.__new__(job.Driver)
    driver.storage = begun
    earlier = json.loads(begun.read(job.SETTINGS) or b"")
    given = {**earlier, key: "another"} if key else earlier
    if key is None:
        driver._compare(given, earlier)
        return
    with pytest.raises(InputError, match=f"the {what} of the run that began '.*', got others; repeat its command"):
        driver._compare(given, earlier)


def test_damaged_settings(begun):
    for content in (b"", b"[]", b"{", b"\xff"):
        begun.write(job.SETTINGS, content)
        with pytest.raises(InputError, match="expected the settings of a run"):
            job.parsed_settings(content)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--write", "overlays"], "masks with the overlays of videos"),
        (["--write", "masks,coco"], "--write masks, overlays or json, got 'coco'"),
        (["--clear", "nobody"], "nobody"),
        (["--steady", "2"], "--steady"),
        (["--motion", "2"], "--motion"),
    ],
)
def test_flags(flags, words, network, tmp_path):
    make_video(tmp_path / "drive.avi", 2)
    with pytest.raises(InputError, match=words):
        bulk.main(arguments(network, tmp_path / "drive.avi", tmp_path / "out", *flags))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(network, tmp_path):
    make_video(tmp_path / "drive.avi", 2)
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="a folder that can be written"):
        bulk.main(arguments(network, tmp_path / "drive.avi", tmp_path / "out"))


def test_two_runs_into_one_folder(network, tmp_path):
    make_video(tmp_path / "drive.avi", 2)
    storage = Storage(str(tmp_path / "out"))
    with storage.prepared(), storage.locked(), pytest.raises(InputError, match="that no other process is writing to"):
        bulk.main(arguments(network, tmp_path / "drive.avi", tmp_path / "out"))


def test_verify_needs_no_ray(network, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert bulk.main(arguments(network, "unused", tmp_path, "--verify")) == 0
    assert "using cpu onnxruntime fp32" in capsys.readouterr().out


def test_leftovers_of_killed_workers(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write("masks/a.png", b"")
    (tmp_path / "masks" / ".partial-1-b.png").write_bytes(b"")
    storage.sweep()
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a.png"]


def test_lists_of_paths_on_each_line(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(b"")
    (tmp_path / "list.txt").write_text("a b.jpg\n")
    assert [item.name for item in find_items([str(tmp_path / "list.txt")], "out", ("masks",))] == ["a b"]
