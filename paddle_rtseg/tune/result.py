"""What a search found: the words, the files, and the export of what won."""

import functools
import os
import shlex
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

from rtseg_inference.contract import INT8
from rtseg_inference.predictor import Predictor

from ..benchmark import machine
from ..benchmark.timing import FORMATS, ONNX_BACKENDS
from ..errors import InputError
from ..files import atomic_path
from .accuracy import Counts, difference, estimate
from .calibration import WINNER
from .frames import Frames
from .measuring import Bench
from .report import front, in_percent, plot, table
from .search import Budget, Goal, Outcome, Row
from .source import Source

TABLE, PLOT, MODEL = "table.md", "front.png", "model"


@dataclass(frozen=True)
class Result:
    """The outcome of a search, with all that is needed to describe it and to export what won."""

    outcome: Outcome
    goal: Goal
    bench: Bench
    source: Source
    frames: Frames
    save_dir: str
    threads: int = 0

    def export(self) -> None:
        """Export what won to the folder ``model``, and check it in its setting.

        Raises:
            InputError: that failed.
        """
        candidate = self.outcome.nearest.candidate
        folder = self.source.export(candidate.network, self._model, **self._form)
        predictor = Predictor(folder, self.source.device, *candidate.setting, threads=self.threads)
        verification = predictor.verify()
        if not verification.passed:
            raise InputError(
                f"expected the export in {folder!r} to reproduce its golden output, got {verification}; run it again"
            )

    def write(self) -> None:
        """Write ``table.md`` and ``front.png``."""
        rows, original = self.outcome.rows, self.original
        with atomic_path(os.path.join(self.save_dir, TABLE)) as path, open(path, "w", encoding="utf-8") as f:
            f.write(f"{self.text()}\n\n{self._table(rows)}")
        with atomic_path(os.path.join(self.save_dir, PLOT)) as path:
            plot(rows, original, self.outcome.winner, self.goal, len(self.frames.choosing), path)

    def text(self) -> str:
        """The machine, the Pareto front, and what won."""
        settings = ", ".join(f"{name} {value}" for name, value in machine.settings(self.source.device).items())
        return "\n\n".join([settings, self._front(), *(self._won() if self.outcome.winner else [self._missed()])])

    @functools.cached_property
    def original(self) -> Row:
        """The row of the network as it is."""
        return next(row for row in self.outcome.rows if row.candidate == self.bench.original)

    def _front(self) -> str:
        """A table of what no other candidate is better than, with the original."""
        best = front(self.outcome.rows, len(self.frames.choosing))
        shown = [*best, *(row for row in (self.original, self.outcome.nearest) if row not in best)]
        unique = list({row.candidate: row for row in shown}.values())
        return self._table(unique).rstrip()

    def _table(self, rows: Sequence[Row]) -> str:
        return table(rows, self.original, self.source, self.frames.choosing)

    def _won(self) -> List[str]:
        row, original = self.outcome.nearest, self.original
        ours, theirs = (self._reported(r) for r in (row, original))
        places = self.frames.reporting
        gained, found, before = difference(ours, theirs, places), estimate(ours, places), estimate(theirs, places)
        asked = self.goal.floor(before.value)
        lines = [
            f"found for {self.goal}: {row.candidate}",
            f"{row.milliseconds:.1f} ms, the original {original.milliseconds:.1f} ms: "
            f"{original.milliseconds / row.milliseconds:.2f} times as fast",
            f"mean IoU on {len(ours)} frames that it was not chosen by, with 95 % intervals: {in_percent(found)}, the "
            f"original {in_percent(before)}, difference {in_percent(gained, '+')}",
        ]
        if found.value < asked:
            lines.append(f"this is less than was asked for, {100 * asked:.2f} %")
        return ["\n".join(lines), self._commands()]

    def _missed(self) -> str:
        nearest = self.outcome.nearest
        what = f"{nearest.milliseconds:.1f} ms"
        if not isinstance(self.goal, Budget):
            frames = len(nearest.counts)
            found = estimate(nearest.counts, self.frames.choosing[:frames])
            what = f"a mean IoU of {in_percent(found)} % on {frames} frames"
        return f"nothing has {self.goal}; the nearest is {nearest.candidate}, with {what}"

    def _commands(self) -> str:
        """How to repeat the export, and to use it."""
        candidate = self.outcome.nearest.candidate
        export = self.source.export_command(candidate.network, self._model, **self._form)
        infer = ["python", "-m", "rtseg_inference", "--model", self._model, "--input", "IMAGES"]
        infer += ["--device", self.source.device, "--backend", candidate.backend, "--precision", candidate.precision]
        infer += ["--threads", str(self.threads)] if self.threads else []
        return f"exported and checked: {self._model}; the commands that export it again and use it:\n\n" + "\n".join(
            f"    {shlex.join(words)}" for words in (export, infer)
        )

    def _reported(self, row: Row) -> Counts:
        return self.bench.counts(row.candidate, 0, len(self.frames.reporting), "reporting")

    @property
    def _model(self) -> str:
        return os.path.join(self.save_dir, MODEL)

    @property
    def _form(self) -> Dict[str, Any]:
        """The form of the export: the one that the backend runs."""
        backend, precision = self.outcome.nearest.candidate.setting
        if precision == INT8:
            return {"precision": INT8, "int8": {**self.source.calibration.options, **WINNER}}
        if backend in ONNX_BACKENDS:
            return {"precision": "fp16"} if (self.source.device, precision) == ("gpu", "fp16") else {"format": "onnx"}
        return {"format": FORMATS[backend]} if backend in FORMATS else {}
