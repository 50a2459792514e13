"""The table of a job: a row for every image and frame, as JSON lines or Parquet, put together from the records."""

import json
from typing import Any, Counter, Iterable, Iterator, List

from ..errors import InputError
from .storage import Storage
from .worker import RECORDS, Row

FORMATS = ("jsonl", "parquet")
_ROWS = 10_000  # of a row group


def write_table(storage: Storage, form: str, more: Iterable[Row] = ()) -> Counter[str]:
    """Write ``table.jsonl`` or ``table.parquet``; only a part of it is ever in memory.

    Args:
        more: rows to add at the end.

    Returns:
        The number of rows by status: "ok" and "failed".

    Raises:
        InputError: it cannot be written, or a record is damaged.
    """
    counts: Counter[str] = Counter()
    with storage.replacing(f"table.{form}") as path:
        (_write_parquet if form == "parquet" else _write_lines)(path, _counted(_rows(storage, more), counts))
    return counts


def _counted(rows: Iterator[Row], counts: Counter[str]) -> Iterator[Row]:
    for row in rows:
        counts[row["status"]] += 1
        yield row


def _rows(storage: Storage, more: Iterable[Row]) -> Iterator[Row]:
    for record in storage.names(RECORDS):
        for line in (storage.read(f"{RECORDS}/{record}") or b"").splitlines():
            try:
                yield json.loads(line)
            except ValueError as e:
                raise InputError(f"expected a record of a bulk job, got {record!r}; delete it and run again") from e
    yield from more


def _write_lines(path: str, rows: Iterator[Row]) -> None:
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_parquet(path: str, rows: Iterator[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    text, number = pa.string(), pa.int64()
    schema = pa.schema(
        [
            *[("path", text), ("frame", number), ("name", text), ("status", text), ("reason", text)],
            *[("height", number), ("width", number), ("pixels", pa.map_(text, number))],
            *[("milliseconds", pa.float64()), ("sha256", text)],
        ]
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(rows):
            for row in group:
                row["pixels"] = list(row["pixels"].items())
            writer.write_table(pa.Table.from_pylist(group, schema))


def _groups(rows: Iterator[Any]) -> Iterator[List[Any]]:
    group: List[Any] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROWS:
            yield group
            group = []
    if group:
        yield group
