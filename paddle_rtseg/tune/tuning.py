"""A search from its config to the export that won: what ``python -m paddle_rtseg.tune`` does."""

import contextlib
import os
import sys
from dataclasses import dataclass, field
from typing import Callable, Iterator, List, Optional, Sequence

from rtseg_inference.contract import INT8
from rtseg_inference.errors import quote
from rtseg_inference.progress import Line
from rtseg_inference.timing import Journal

from ..errors import InputError
from ..files import exclusive, new_folder, path_text, temporary_folder
from .calibration import Calibration
from .candidates import SCALES, Candidate, Setting, combinations, settings
from .frames import Frames
from .measuring import Bench
from .result import Result
from .search import Goal, Measures, Outcome, search
from .source import Exports, Source

JOURNAL = "tune.jsonl"
FOUND, NOTHING_MEETS = 0, 1


@dataclass(frozen=True)
class Space:
    """What is tried; None for all that there is."""

    mergings: Optional[Sequence[str]] = None
    scales: Sequence[float] = SCALES
    backends: Optional[Sequence[str]] = None
    precisions: Optional[Sequence[str]] = None
    calibration: Calibration = field(default_factory=Calibration)  #: for INT8


def tune(
    config: str,
    weights: Optional[str],
    save_dir: str,
    goal: Goal,
    opts: Sequence[str] = (),
    device: str = "cpu",
    threads: int = 0,
    frames: Optional[int] = None,
    space: Space = Space(),
    say: Callable[[str], None] = print,
) -> int:
    """Search for the best way to run trained weights, and export it.

    Writes to ``save_dir`` while it measures ``tune.jsonl``, by which the same call continues a search that was stopped,
    and in the end ``table.md``, ``front.png`` and, if something meets the goal, its export ``model``.

    Args:
        config: file or name of a config.
        weights: file of weights; None for the config's ``model.pretrained``.
        opts: overrides of the config, KEY=VALUE.
        threads: processor threads; 0 for all cores.
        frames: how many frames of the val_dataset to use; None for all.
        say: called with the lines of the result.

    Returns:
        0, or 1 if nothing meets the goal.

    Raises:
        InputError: the config, its weights, its data or the folder cannot be used.
    """
    save_dir = path_text(save_dir, "a folder to write")
    available = settings(device, space.backends, space.precisions)
    source = Source(config, weights, opts, device)
    used = Frames(source.config, frames)
    available = _with_int8(available, source, used, space, say)
    mergings = _mergings(source, space)
    with new_folder(save_dir), exclusive(save_dir), temporary_folder() as folder, _resumable():
        journal = Journal(os.path.join(save_dir, JOURNAL))
        images, classes = used.survey()
        source.use_images(images)
        scales = _scales(source, space.scales, say)
        bench = Bench(source, Exports(source, folder), used, journal, available, threads)
        measures = Measures(bench.cost, bench.counts, used.choosing, classes, _Bar())
        outcome = _search(combinations(mergings, scales, available), goal, bench, measures)
        result = Result(outcome, goal, bench, source, used, save_dir, threads)
        if outcome.winner is not None:
            if outcome.winner.candidate.precision == INT8:
                say("exporting what won, which measures INT8 on the whole val_dataset")
            result.export()
        result.write()
        say(result.text())
    return FOUND if outcome.winner is not None else NOTHING_MEETS


def _with_int8(
    available: List[Setting], source: Source, used: Frames, space: Space, say: Callable[[str], None]
) -> List[Setting]:
    """The settings, without INT8 where that was not asked for and cannot be tried, which a line says.

    Raises:
        InputError: it was asked for and cannot be tried.
    """
    if all(setting.precision != INT8 for setting in available):
        if space.calibration:
            raise InputError(
                "expected --calibration and --samples where a backend is tried in int8, got none; leave them out, or "
                "try ONNX Runtime or OpenVINO on the CPU"
            )
        return available
    try:
        source.use_calibration(space.calibration, used.num_classes, [image for image, _ in used.files()])
    except InputError as e:
        if space.calibration or INT8 in (space.precisions or ()):
            raise
        say(f"INT8 is not tried: {e}")
        return [setting for setting in available if setting.precision != INT8]
    return available


def _mergings(source: Source, space: Space) -> List[str]:
    wanted = source.mergings if space.mergings is None else space.mergings
    for name in wanted:
        if name not in source.mergings:
            raise InputError(
                f"expected token merging among {', '.join(source.mergings)} for this network, got {quote(name)!r}; "
                "choose some of these"
            )
    return list(wanted)


def _scales(source: Source, wanted: Sequence[float], say: Callable[[str], None]) -> Sequence[float]:
    if source.one_scale and list(wanted) != [1.0]:
        say(f"the input keeps its size: {source.one_scale}")
    return [1.0] if source.one_scale else wanted


def _search(candidates: Sequence[Candidate], goal: Goal, bench: Bench, measures: Measures) -> Outcome:
    """Search until what wins was timed as often as the original."""
    while True:
        outcome = search(candidates, bench.original, goal, measures)
        if outcome.winner is None or bench.confirmed(outcome.winner.candidate):
            return outcome
        bench.confirm(outcome.winner.candidate)


class _Bar:
    """Shows a line of progress for each phase of a search."""

    def __init__(self) -> None:
        self._line = Line(0)

    def __call__(self, phase: str, done: int, total: int) -> None:
        if done == 0:
            self._line = Line(total, phase, unit="candidates")
        elif done > self._line.done:
            self._line.step(done - self._line.done)
        if done == total:
            self._line.clear()


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        raise
