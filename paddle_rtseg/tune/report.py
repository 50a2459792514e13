"""What a search leaves behind: a table of what was tried, and a plot of the Pareto front."""

from typing import Any, List, Optional, Sequence

from .accuracy import Estimate, estimate
from .search import Budget, Goal, Row
from .source import Source

COLUMNS = ("merging", "input", "backend", "precision", "ms", "times as fast", "mIoU, %", "frames", "note")


def front(rows: Sequence[Row], frames: int) -> List[Row]:
    """The rows scored on all frames of which no other is both faster and as good, the fastest first."""
    found: List[Row] = []
    for row in sorted((r for r in rows if scored_on(r) == frames), key=lambda r: (r.milliseconds, -r.mean_iou)):
        if not found or row.mean_iou > found[-1].mean_iou:
            found.append(row)
    return found


def scored_on(row: Row) -> int:
    """How many frames a row was scored on; 0 for one without a time."""
    return 0 if row.counts is None or not row.timed else len(row.counts)


def table(rows: Sequence[Row], original: Row, source: Source, places: Sequence[int]) -> str:
    """The rows as a Markdown table, from the fastest on.

    Args:
        places: of the frames that candidates are chosen by in the list that they come from.
    """
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [_cells(row, original, source, places) for row in sorted(rows, key=lambda row: row.milliseconds)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def in_percent(estimate: Estimate, sign: str = "") -> str:
    """The value and its 95 % interval, such as "58.12 (56.40 to 59.71)"."""
    value, low, high = (f"{100 * number:{sign}.2f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def plot(rows: Sequence[Row], original: Row, winner: Optional[Row], goal: Goal, frames: int, path: str) -> None:
    """Write a picture of mean IoU against time, with the Pareto front."""
    from matplotlib.figure import Figure  # without pyplot, which would choose a window system

    figure = Figure(figsize=(9, 5.5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    best = front(rows, frames)
    complete = [row for row in rows if scored_on(row) == frames]
    dropped = [row for row in rows if 0 < scored_on(row) < frames]
    _scatter(axes, dropped, label="scored on the first frames only", marker="x", color="0.65")
    _scatter(axes, complete, label="scored on all frames", marker="o", color="tab:blue")
    _scatter(axes, [original], label=f"original: {original.candidate}", marker="s", color="black", s=60)
    _scatter(axes, [winner] if winner else [], label=_named(winner), marker="*", color="tab:red", s=200)
    x, y = _points(best)
    axes.plot(x, y, drawstyle="steps-post", color="tab:blue", label="Pareto front")
    if isinstance(goal, Budget):
        axes.axvline(goal.milliseconds, color="tab:green", linestyle="--", label=str(goal))
    else:
        axes.axhline(100 * goal.floor(original.mean_iou), color="tab:green", linestyle="--", label=str(goal))
    axes.set(xlabel="ms from an image to its mask", ylabel="mean IoU on the frames to choose by, %")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    figure.savefig(path)


def _scatter(axes: Any, rows: Sequence[Row], **style: Any) -> None:
    if rows:
        axes.scatter(*_points(rows), zorder=3, **style)


def _points(rows: Sequence[Row]) -> Any:
    return [row.milliseconds for row in rows], [100 * row.mean_iou for row in rows]


def _named(winner: Optional[Row]) -> str:
    return f"winner: {winner.candidate}" if winner else ""


def _cells(row: Row, original: Row, source: Source, places: Sequence[int]) -> List[str]:
    candidate = row.candidate
    size = source.input_size(candidate.network)
    cells = [
        candidate.merging,
        f"{size[1]} x {size[0]}" if size else "as configured",
        candidate.backend,
        candidate.precision,
    ]
    cells += [f"{row.milliseconds:.1f}", f"{original.milliseconds / row.milliseconds:.2f}"] if row.timed else ["", ""]
    if row.counts is not None:
        frames = len(row.counts)
        cells += [in_percent(estimate(row.counts, places[:frames])), str(frames)]
    else:
        cells += ["", ""]
    return [*cells, row.note.replace("|", "/")]
