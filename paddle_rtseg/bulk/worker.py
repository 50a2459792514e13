"""What a worker does: read, segment and write a unit, and then its record. Ray pickles this module's class by name."""

import argparse
import contextlib
import functools
import io
import json
import os
import traceback
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
from rtseg_inference import cli, results
from rtseg_inference.contract import Contract, read_contract
from rtseg_inference.drawing import Style
from rtseg_inference.environment import configure
from rtseg_inference.files import Array
from rtseg_inference.images import read_image
from rtseg_inference.media import Frame, Video, Writer, prefetched
from rtseg_inference.predictor import Predictor, Result, Timings
from rtseg_inference.preprocess import Preprocessor

from ..errors import InputError
from ..files import sha256
from .storage import Storage, local_copy
from .units import Unit

RECORDS = ".bulk/records"  #: below the folder of results
Row = Dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What is the same for all units."""

    args: argparse.Namespace  #: of the command line, with backend, precision and threads chosen
    kinds: Tuple[str, ...]  #: what is written: "masks", "overlays", ...
    save_dir: str


class Worker:
    """Segments units, one at a time; the network is loaded for the first that needs it."""

    def __init__(self, job: Job):
        configure(job.args.threads)
        cv2.setNumThreads(job.args.threads)
        self.job, self.storage = job, Storage(job.save_dir)
        self._segmenter: Optional[cli.Segmenter] = None
        self._videos = _OpenVideo()

    def __call__(self, row: Dict[str, str]) -> Dict[str, Any]:
        """Do a unit, given as JSON under "unit", unless it has a record.

        Returns:
            The unit's name, the images that were written and that failed; "error" is a sentence that ends the job, and
            "bug" a traceback.
        """
        unit = Unit(**json.loads(row["unit"]))
        counts = {"unit": unit.name, "written": 0, "failed": 0, "error": "", "bug": ""}
        try:
            rows = self._finished(unit)
            if rows is None:
                rows = list(self._do(unit))
                lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
                self.storage.write(record_name(unit.name), lines.encode())
        except InputError as e:
            return {**counts, "error": str(e)}
        except Exception:
            return {**counts, "bug": traceback.format_exc()}
        failed = sum(r["status"] == "failed" for r in rows)
        return {**counts, "written": len(rows) - failed, "failed": failed}

    def _finished(self, unit: Unit) -> Optional[List[Row]]:
        data = self.storage.read(record_name(unit.name))
        return None if data is None else [json.loads(line) for line in data.splitlines()]

    def _do(self, unit: Unit) -> Iterator[Row]:
        if unit.kind == "overlay":
            yield from self._write_overlay(unit)
        elif unit.kind == "frames":
            yield from self._segment_frames(unit)
        else:
            paths = dict(zip(unit.names, unit.paths))
            for frame, row in self._segment(_images(unit), None, self.job.kinds):
                yield {"path": paths[frame.name], "frame": None, **row}

    def _segment_frames(self, unit: Unit) -> Iterator[Row]:
        """The masks of a range of frames; overlays follow when all masks of the video are there."""
        (path,), (name,) = unit.paths, unit.names
        kinds = [kind for kind in self.job.kinds if kind != "overlays"]
        try:
            video = self._videos.at(path, name, unit.first)
        except InputError as e:
            yield {"path": path, "frame": unit.first, **failure(name, str(e))}
            return
        for frame, row in self._segment(_up_to_error(video, unit.first, unit.end), video.fps, kinds):
            yield {"path": path, "frame": int(frame.name.rpartition("/")[2]), **row}

    def _segment(
        self, frames: Iterator[Frame], fps: Optional[float], kinds: Sequence[str]
    ) -> Iterator[Tuple[Frame, Row]]:
        """Each frame with its row, when all files are written."""
        done: List[Tuple[Frame, Row]] = []
        with self.storage.folder() as folder:
            ahead = prefetched(frames)
            with contextlib.closing(ahead), Writer(folder, kinds, fps, self._style) as writer:
                for group in cli.batches(ahead, cli.group_size(self.job.args)):
                    for frame, outcome in cli.predict(self._loaded(), group):
                        done.append((Frame(frame.name, None), _row(frame, outcome, len(group))))
                        if isinstance(outcome, Result):
                            writer.write(frame.name, outcome)
            for frame, row in done:
                mask = os.path.join(folder, "masks", frame.name + ".png")
                if row["status"] == "ok" and "masks" in kinds:
                    row["sha256"] = sha256(mask)
        yield from done

    def _write_overlay(self, unit: Unit) -> Iterator[Row]:
        """The overlay of a video, made of its frames and the masks that are there; nothing is segmented."""
        (path,), (name,) = unit.paths, unit.names
        try:
            video = self._videos.at(path, name, 0)
        except InputError:  # the rows of the frames say so
            return
        with self.storage.folder() as folder, Writer(folder, ["overlays"], video.fps, self._style) as writer:
            for frame in _up_to_error(video):
                data = self.storage.read(f"masks/{frame.name}.png")
                if data is not None and frame.image is not None:
                    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
                    writer.write(frame.name, Result(mask, frame.image, Timings(0, 0, 0), self._contract, None))
        yield from ()

    @functools.cached_property
    def _contract(self) -> Contract:
        return read_contract(self.job.args.model)

    @property
    def _style(self) -> Style:
        return cli.chosen_style(self.job.args, self._contract)

    def _loaded(self) -> cli.Segmenter:
        if self._segmenter is None:
            args = self.job.args
            with contextlib.redirect_stdout(io.StringIO()):
                predictor = cli.choose(args, None, Predictor)
            cli.check_batch(predictor, args.batch_size)
            fit = cli.chosen_fit(args, Preprocessor(self._contract))
            self._segmenter = fit.applied(predictor, args.batch_size, with_confidence="json" in self.job.kinds)
        return self._segmenter


class _OpenVideo:
    """The video that was read last, open at the place where its reading stopped: a later range continues there."""

    def __init__(self) -> None:
        self._path, self._local = "", ""
        self._copy = contextlib.ExitStack()
        self._video: Optional[Video] = None

    def at(self, path: str, name: str, first: int) -> Video:
        """The video, of which no frame from number ``first`` on has been read.

        Raises:
            InputError: it cannot be opened.
        """
        if path != self._path:
            self._copy.close()
            self._path, self._video = "", None
            self._local = self._copy.enter_context(local_copy(path))
            self._path = path
        if self._video is None or self._video.position > first:
            self._video = None
            self._video = _open(self._local, path)
        self._video.name = name
        return self._video


def _images(unit: Unit) -> Iterator[Frame]:
    for path, name in zip(unit.paths, unit.names):
        try:
            yield Frame(name, _read(path))
        except InputError as e:
            yield Frame(name, None, str(e))


def _read(path: str) -> Array:
    with local_copy(path) as local, _naming(path, local):
        return read_image(local)


def _open(local: str, path: str) -> Video:
    with _naming(path, local):
        return Video(local)


@contextlib.contextmanager
def _naming(path: str, local: str) -> Iterator[None]:
    """Let an error name the path or address that was given, and not its copy."""
    try:
        yield
    except InputError as e:
        raise InputError(str(e).replace(local, path)) from e


def _up_to_error(video: Video, first: int = 0, end: Optional[int] = None) -> Iterator[Frame]:
    """The frames of a video; an error takes the place of the frame that causes it, and ends them."""
    try:
        yield from video.frames(first, end)
    except InputError as e:
        yield Frame(f"{video.name}/{video.position:06d}", None, str(e))


def _row(frame: Frame, outcome: Union[Result, str], group: int) -> Row:
    """What the table says of an image; the checksum follows when the mask is written."""
    if isinstance(outcome, str):
        return failure(frame.name, outcome, frame)
    areas = results.class_areas(outcome.mask, outcome.contract.classes, None)
    times = outcome.timings
    return {
        "name": frame.name,
        "status": "ok",
        "reason": None,
        "height": areas["height"],
        "width": areas["width"],
        "pixels": {c["name"]: c["pixels"] for c in areas["classes"]},
        "milliseconds": round((times.pre + times.run + times.post) / group, 3),
        "sha256": None,
    }


def failure(name: str, reason: str, frame: Optional[Frame] = None) -> Row:
    """The row of an image without a result."""
    height, width = frame.image.shape[:2] if frame is not None and frame.image is not None else (None, None)
    missing = {"height": height, "width": width, "pixels": {}, "milliseconds": None, "sha256": None}
    return {"name": name, "status": "failed", "reason": reason, **missing}


def record_name(unit: str) -> str:
    """The file of a unit's record, below the folder of results."""
    return f"{RECORDS}/{unit}.jsonl"


def chosen_configuration(job: Job, unit: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """The backend and precision that ``infer`` would choose here for the first images, and what it prints then."""
    configure(job.args.threads)
    frames = _samples(Unit(**unit)) if unit else iter(())
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        preprocess = Preprocessor(read_contract(job.args.model))
        predictor, _ = cli.start(job.args, preprocess, cli.chosen_fit(job.args, preprocess), frames)
    chosen = predictor.configuration
    return {"backend": chosen.backend, "precision": chosen.precision, "printed": printed.getvalue()}


def _samples(unit: Unit) -> Iterator[Frame]:
    """The first images of a job, of which one decides the configuration."""
    if unit.kind == "images":
        yield from _images(unit)
        return
    with contextlib.suppress(InputError), local_copy(unit.paths[0]) as local:
        yield from Video(local).frames(0, 1)


def video_length(path: str) -> int:
    """The frames that a video announces; 0 if unknown, also because it cannot be read."""
    try:
        with local_copy(path) as local:
            return len(Video(local))
    except InputError:
        return 0


def problem_of_node(model: str, contract_sha256: str, save_dir: str) -> str:
    """Why this node cannot take part; empty if it can."""
    try:
        read_contract(model)
        if sha256(os.path.join(model, "deploy.yaml")) != contract_sha256:
            return f"has another model in {model!r}"
        storage = Storage(save_dir)
        if storage.read(".bulk/run.json") is None:
            return f"does not see the results in {save_dir!r}"
        with storage.prepared():
            pass
    except InputError as e:
        return f"cannot take part: {e}"
    return ""
