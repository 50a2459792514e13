"""A worker's files are those of infer, to the byte; its record makes a unit finished."""

import json

import pytest
from bulk_jobs import arguments, infer, make_images, make_video, results
from comparing import zip_strict
from rtseg_inference import cli

from paddle_rtseg.bulk import worker as room
from paddle_rtseg.bulk.inputs import find_items
from paddle_rtseg.bulk.storage import Storage
from paddle_rtseg.bulk.units import image_units, overlay_units, video_units
from paddle_rtseg.bulk.worker import Job, Worker
from paddle_rtseg.errors import InputError
from paddle_rtseg.files import sha256

KINDS = ("masks", "overlays")


@pytest.fixture
def start(network):
    """``start(source, save_dir)``: a worker and the items of its job."""

    def started(source, save_dir, *flags):
        args = arguments(network, source, save_dir, *flags)
        args.precision = "fp32"
        kinds = tuple(cli.written_kinds(args.write))
        return Worker(Job(args, kinds, str(save_dir))), find_items([str(source)], str(save_dir), KINDS)

    return started


def do(worker, units):
    """The counts that the driver gets, and the rows of the records."""
    counts, rows = [], []
    for unit in units:
        counts.append(worker({"unit": json.dumps(unit.as_dict())}))
        assert not counts[-1]["bug"], counts[-1]["bug"]
        record = worker.storage.read(room.record_name(unit.name)) or b""
        rows += map(json.loads, record.decode().splitlines())
    return counts, rows


@pytest.mark.parametrize(
    "flags", [[], ["--batch", "3"], ["--outlines", "--no_legend", "--write", "masks,json,overlays"]]
)
def test_images(flags, network, start, tmp_path):
    source = make_images(tmp_path / "in", 12)
    worker, items = start(source, tmp_path / "out", *flags)
    counts, rows = do(worker, image_units(items, [], 5))
    assert infer(network, source, tmp_path / "expected", *flags) == 1
    assert results(tmp_path / "out") == results(tmp_path / "expected")
    assert sum(c["written"] for c in counts) == 11 and sum(c["failed"] for c in counts) == 1
    for item, row in zip_strict(items, rows):
        assert (row["path"], row["name"]) == (item.path, item.name)
        if row["status"] == "failed":
            assert "0010.jpg" in row["reason"] and "is cut short" in row["reason"]
        else:
            assert row["sha256"] == sha256(tmp_path / "out" / "masks" / (item.name + ".png"))
            assert (row["height"], row["width"], sum(row["pixels"].values())) == (360, 480, 360 * 480)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_video(order, network, start, tmp_path):
    """Ranges may be done in any order; the overlay is made in the end."""
    make_video(tmp_path / "drive.avi", 8)
    worker, items = start(tmp_path / "drive.avi", tmp_path / "out")
    units = list(video_units(items, {0: 8}, 3))
    _, rows = do(worker, [units[k] for k in order])
    assert sorted(row["frame"] for row in rows) == list(range(8)) and all(row["sha256"] for row in rows)
    counts, _ = do(worker, overlay_units(items, [0]))
    assert counts[0]["written"] == counts[0]["failed"] == 0
    assert infer(network, tmp_path / "drive.avi", tmp_path / "expected") == 0
    assert results(tmp_path / "out") == results(tmp_path / "expected")


def test_videos_that_cannot_be_read_to_the_end(network, start, tmp_path):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "short.avi", 8)
    whole = (tmp_path / "in" / "short.avi").read_bytes()
    (tmp_path / "in" / "short.avi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "text.avi").write_text("no video")
    worker, items = start(tmp_path / "in", tmp_path / "out")
    _, rows = do(worker, video_units(items, {0: 8, 1: 0}, 3))
    do(worker, overlay_units(items, [0, 1]))
    failed = [row for row in rows if row["status"] == "failed"]
    assert [row["path"] for row in failed] == [item.path for item in items]
    assert "cannot open the video" in failed[1]["reason"]
    assert infer(network, tmp_path / "in" / "short.avi", tmp_path / "expected") in (0, 1)
    assert results(tmp_path / "out") == results(tmp_path / "expected")


def test_a_finished_unit_is_not_done_again(start, tmp_path, monkeypatch):
    worker, items = start(make_images(tmp_path / "in", 12), tmp_path / "out")
    (unit,) = image_units(items, [], 100)
    once, _ = do(worker, [unit])
    monkeypatch.setattr(Worker, "_do", lambda self, unit: pytest.fail("it was done again"))
    assert do(worker, [unit])[0] == once


def test_results_through_a_file_system_of_pyarrow(network, start, tmp_path):
    """file:// takes the way of all addresses: inputs and results are copied."""
    pytest.importorskip("pyarrow")
    source = make_images(tmp_path / "in", 12)
    make_video(tmp_path / "in" / "drive.avi", 4)
    worker, items = start((tmp_path / "in").as_uri(), (tmp_path / "out").as_uri())
    _, rows = do(worker, [*image_units(items, [], 5), *video_units(items, {12: 4}, 3), *overlay_units(items, [12])])
    assert {row["path"] for row in rows} == {item.path for item in items}
    assert all(row["path"].startswith("file://") for row in rows)
    reasons = [row["reason"] for row in rows if row["reason"]]
    assert len(reasons) == 1 and f"{items[5].path!r}, which is cut short" in reasons[0]
    infer(network, source, tmp_path / "expected")
    infer(network, source / "drive.avi", tmp_path / "expected")
    assert results(tmp_path / "out") == results(tmp_path / "expected")


def test_an_address_that_cannot_be_read(tmp_path):
    pytest.importorskip("pyarrow")
    for address in ("file:///nowhere/at/all", "nonsense://a/b"):
        with pytest.raises(InputError, match="check the address"):
            find_items([address], str(tmp_path), KINDS)
    with pytest.raises(InputError, match="cannot write"):
        Storage("nonsense://a/b").prepared()


def test_a_full_disk_is_a_sentence(start, tmp_path, full_disk):
    worker, items = start(make_images(tmp_path / "in", 3), full_disk / "out")
    counts, _ = do(worker, image_units(items, [], 100))
    assert "cannot write" in counts[0]["error"] and "make room" in counts[0]["error"]
    assert not worker.storage.names(room.RECORDS)


def test_a_model_of_which_a_file_is_missing(network, start, tmp_path):
    worker, items = start(make_images(tmp_path / "in", 3), tmp_path / "out")
    worker.job.args.model = str(tmp_path / "nowhere")
    counts, _ = do(worker, image_units(items, [], 100))
    assert "nowhere" in counts[0]["error"]
