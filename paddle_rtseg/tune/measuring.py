"""What a search measures: milliseconds from an image in memory to its mask, and pixel counts. All is kept in a journal.

A candidate is timed in turns with the original, on the same images: ``milliseconds = median(candidate) /
median(original in the same turns) * median(original at the start)``. Whatever else the machine does slows down both.
"""

import gc
import hashlib
import itertools
import json
import os
import statistics
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
from rtseg_inference import environment
from rtseg_inference.contract import INT8
from rtseg_inference.errors import first_line
from rtseg_inference.predictor import Predictor
from rtseg_inference.progress import Line
from rtseg_inference.timing import REST, Journal, measure

from ..benchmark import machine
from ..benchmark.timing import FORMATS, ONNX_BACKENDS
from ..errors import InputError
from .accuracy import Counts
from .calibration import CANDIDATE
from .candidates import Candidate, Setting
from .frames import Frames
from .source import Exports, Source

TURNS = 5  #: of a candidate
MANY_TURNS = 15  #: of the original at the start, and of what wins
IMAGES = 5  #: to time with


class Bench:
    """Measures candidates, or finds in the journal what was measured.

    Args:
        source: of the networks.
        exports: where they are.
        frames: to time and to score with.
        journal: where figures are kept.
        settings: that the original is timed in.
        threads: of the predictors.
    """

    def __init__(
        self,
        source: Source,
        exports: Exports,
        frames: Frames,
        journal: Journal,
        settings: Sequence[Setting],
        threads: int = 0,
    ):
        self._source, self._exports, self._frames, self._journal = source, exports, frames, journal
        self._settings, self._threads = settings, threads
        self._rest = REST if source.device == "cpu" else 0.0
        self._onnx = any(setting.backend in ONNX_BACKENDS for setting in settings)
        self._half = ("onnxruntime", "fp16") in settings and source.device == "gpu"
        self._fingerprint = _fingerprint(source, frames, threads)
        self._calibration = {"calibration": _short_hash(_states(source.calibrated_with))}
        self._images = [frames.read(i)[0] for i in frames.choosing[:IMAGES]]
        self._loaded: Dict[Candidate, Predictor] = {}
        self._failed: Dict[Candidate, str] = {}
        self._original_times = self._time_original()
        self.original = self._fastest()

    def cost(self, candidate: Candidate) -> float:
        """Milliseconds from an image to its mask.

        Raises:
            InputError: the candidate cannot be exported, does not run, or does not reproduce its golden output.
        """
        if candidate.network == self.original.network:
            return self._cost_of_original(candidate)
        row = self._journal.get(self._key("time", candidate)) or self._time(candidate, TURNS)
        ratio = statistics.median(row["candidate"]) / statistics.median(row["original"])
        return ratio * self._cost_of_original(self.original)

    def confirmed(self, candidate: Candidate) -> bool:
        """Whether it was timed as often as the original."""
        row = self._journal.get(self._key("time", candidate)) or {}
        return candidate.network == self.original.network or len(row.get("candidate", ())) >= MANY_TURNS

    def confirm(self, candidate: Candidate) -> None:
        """Time a candidate as often as the original."""
        self._time(candidate, MANY_TURNS)

    def counts(self, candidate: Candidate, first: int, last: int, half: str = "choosing") -> Counts:
        """Pixel counts on frames of a half, from number ``first`` to before ``last``, (N, 3, C).

        Args:
            half: "choosing" or "reporting".
        """
        key = {**self._key("count", candidate), "half": half, "first": first, "last": last}
        row = self._journal.get(key)
        if row is None:
            predictor = self._predictor(candidate)
            counts = [self._count(predictor, i) for i in getattr(self._frames, half)[first:last]]
            row = self._journal.put(key, counts=np.concatenate(counts).tolist())
        return np.array(row["counts"], np.int64)

    def _count(self, predictor: Predictor, index: int) -> Counts:
        image, label = self._frames.read(index)
        return self._frames.count(label, predictor.predict(image).mask)

    # --- Time

    def _time_original(self) -> Dict[Setting, Any]:
        """Milliseconds in each setting, or why it does not run there."""
        key = {"what": "original", "settings": ["/".join(setting) for setting in self._settings], **self._fingerprint}
        if any(setting.precision == INT8 for setting in self._settings):
            key.update(self._calibration)
        row = self._journal.get(key)
        if row is None:
            runs: Dict[str, Callable[[], Any]] = {}
            notes: Dict[str, str] = {}
            for setting in self._settings:
                try:
                    runs["/".join(setting)] = self._run(self._load(Candidate(*self._source.original, *setting)))
                except InputError as e:
                    notes["/".join(setting)] = str(e)
            line = Line(MANY_TURNS, "timing the original", unit="turns")
            times = measure(runs, MANY_TURNS, self._rest, after_turn=lambda times: line.step())
            line.clear()
            row = self._journal.put(key, milliseconds=times, notes=notes)
        return {s: row["milliseconds"].get("/".join(s)) or row["notes"]["/".join(s)] for s in self._settings}

    def _fastest(self) -> Candidate:
        """The original in the fastest setting, of those in fp32 if there are any."""
        times = {s: statistics.median(t) for s, t in self._original_times.items() if not isinstance(t, str)}
        if not times:
            reason = next(iter(self._original_times.values()))
            raise InputError(f"expected a backend that runs the network as it is, got none: {reason}")
        exact = [setting for setting in times if setting.precision == "fp32"] or list(times)
        return Candidate(*self._source.original, *min(exact, key=lambda setting: times[setting]))

    def _cost_of_original(self, candidate: Candidate) -> float:
        times = self._original_times[candidate.setting]
        if isinstance(times, str):
            raise InputError(times)
        return statistics.median(times)

    def _time(self, candidate: Candidate, turns: int) -> Dict[str, Any]:
        if candidate in self._failed:  # the next search tries it again
            raise InputError(self._failed[candidate])
        try:
            predictors = {"candidate": self._predictor(candidate), "original": self._predictor(self.original)}
        except InputError as e:
            self._failed[candidate] = str(e)
            raise
        runs = {name: self._run(predictor) for name, predictor in predictors.items()}
        return self._journal.put(self._key("time", candidate), **measure(runs, turns, self._rest))

    def _run(self, predictor: Predictor) -> Callable[[], Any]:
        """A callable that segments one of the images for timing, the next one with each call."""
        images = itertools.cycle(self._images)
        return lambda: predictor.predict(next(images))

    # --- Predictors

    def _predictor(self, candidate: Candidate) -> Predictor:
        """The predictor of a candidate; that of the original and the last other one stay loaded."""
        if candidate not in self._loaded:
            for other in [c for c in self._loaded if c != self.original]:
                del self._loaded[other]
            gc.collect()
            self._loaded[candidate] = self._load(candidate)
        return self._loaded[candidate]

    def _load(self, candidate: Candidate) -> Predictor:
        """Export and load a candidate, and check it.

        Raises:
            InputError: that failed.
        """
        folder = self._exports.get(candidate.network, **self._form(candidate.setting))
        try:
            predictor = Predictor(folder, self._source.device, *candidate.setting, threads=self._threads)
            verification = predictor.verify()
            predictor.predict(self._images[0])
        except InputError:
            raise
        except Exception as e:  # however a backend fails, the others may work
            raise InputError(first_line(e)) from e
        if not verification.passed:
            raise InputError(f"it does not reproduce its golden output: {verification}")
        return predictor

    def _form(self, setting: Setting) -> Dict[str, Any]:
        """The form of export for a setting; as many as possible share one."""
        if setting.precision == INT8:
            return {"precision": INT8, "int8": {**self._source.calibration.options, **CANDIDATE}}
        if FORMATS.get(setting.backend) == "pdmodel":
            return {"format": "pdmodel"}
        return {"precision": "fp16"} if self._half else {"onnx": "if possible" if self._onnx else "no"}

    def _key(self, what: str, candidate: Candidate) -> Dict[str, Any]:
        return {
            "what": what,
            "merging": self._source.mergings[candidate.merging],
            "scale": candidate.scale,
            "backend": candidate.backend,
            "precision": candidate.precision,
            **(self._calibration if candidate.precision == INT8 else {}),
            **self._fingerprint,
        }


def _fingerprint(source: Source, frames: Frames, threads: int) -> Dict[str, Any]:
    """What figures depend on besides the candidate: weights, config, frames and machine."""
    parts = {name: source.config.dic.get(name) for name in ("model", "val_dataset")}
    files = _states([path for pair in frames.files() for path in pair])
    return {
        "weights": source.sha256[:16],
        "config": _short_hash(parts),
        "frames": _short_hash([files, frames.choosing]),
        "device": source.device,
        "threads": threads or environment.thread_count(),
        **machine.settings(source.device),
    }


def _states(paths: Sequence[str]) -> List[Tuple[str, int, int]]:
    """Names, sizes and times of files."""
    return [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]


def _short_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
