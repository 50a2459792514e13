"""The table is put together from the records, in the order of the inputs."""

import json

import pytest
from bulk_jobs import table

from paddle_rtseg.bulk.storage import Storage
from paddle_rtseg.bulk.table import write_table
from paddle_rtseg.bulk.worker import failure, record_name
from paddle_rtseg.errors import InputError

GOOD = {**failure("a", ""), "status": "ok", "reason": None, "height": 2, "width": 3, "pixels": {"Road": 6}}


@pytest.fixture
def storage(tmp_path):
    found = Storage(str(tmp_path))
    later = {"path": "b.jpg", "frame": None, **failure("b", "is cut short")}
    found.write(record_name("images-000000001-000000002"), json.dumps(later).encode() + b"\n")
    first = {"path": "ä.jpg", "frame": None, **GOOD}
    found.write(record_name("images-000000000-000000001"), json.dumps(first).encode() + b"\n")
    return found


def test_json_lines(storage, tmp_path):
    more = {"path": "c.mp4", "frame": 7, **failure("c", "lost")}
    assert write_table(storage, "jsonl", [more]) == {"ok": 1, "failed": 2}
    assert [(row["path"], row["status"]) for row in table(tmp_path)] == [
        ("ä.jpg", "ok"),
        ("b.jpg", "failed"),
        ("c.mp4", "failed"),
    ]


def test_parquet(storage, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert write_table(storage, "parquet") == {"ok": 1, "failed": 1}
    rows = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert [(row["path"], row["reason"], row["height"]) for row in rows] == [
        ("ä.jpg", None, 2),
        ("b.jpg", "is cut short", None),
    ]
    assert dict(rows[0]["pixels"]) == {"Road": 6}


def test_a_damaged_record(storage, tmp_path):
    storage.write(record_name("images-000000002-000000003"), b'{"path": ')
    with pytest.raises(InputError, match="a record of a bulk job, got 'images-000000002"):
        write_table(storage, "jsonl")
    assert not (tmp_path / "table.jsonl").exists()
