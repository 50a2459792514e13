"""The driver of a bulk job: it gives out units in rounds, until all have a record, and writes the table."""

import argparse
import hashlib
import json
import logging
import os
import sys
import warnings
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from rtseg_inference import cli
from rtseg_inference.contract import POSE, read_contract
from rtseg_inference.errors import quote
from rtseg_inference.preprocess import Preprocessor
from rtseg_inference.progress import ALL_WRITTEN, NAME, SOME_FAILED, Line

from .. import cluster
from ..errors import InputError
from ..files import sha256
from .inputs import Item, find_items
from .storage import Storage
from .table import write_table
from .units import Unit, image_units, images_of, overlay_units, video_units
from .worker import RECORDS, Job, Row, Worker, chosen_configuration, failure, problem_of_node, video_length

SETTINGS = ".bulk/run.json"  #: below the folder of results: what a repeated run must have in common with the first
ROUNDS = 5  #: times that a unit is given out before its images count as lost
BATCHES = 16  #: of a unit of images
FRAMES = 100  #: of a unit of frames
SHARES = 4  #: each worker gets at least so many units of images, or units of one batch
IN_FLIGHT = 2  #: units that a worker holds: one that it does, and one that waits
#: Flags that a repeated run may change: they change no result.
_FREE = ("address", "workers", "threads", "table", "save_dir", "input", "verify")


def run(args: argparse.Namespace, kinds: Sequence[str]) -> int:
    """Segment all inputs and return the exit status: 1 if some images failed.

    Args:
        args: of :mod:`paddle_rtseg.tools.bulk`.
        kinds: what is written: "masks", "overlays", ...

    Raises:
        InputError: nothing can be done at all, or not further.
    """
    contract = read_contract(args.model)
    if contract.task == POSE:
        raise InputError(f"expected a network for segmentation, got {args.model!r}, which finds poses; use infer")
    cli.refuse_flags(args, kinds, contract)
    cli.chosen_style(args, contract)
    cli.chosen_fit(args, Preprocessor(contract))
    if "coco" in kinds:
        raise InputError("expected --write masks, overlays or json, got 'coco'; make it of the masks afterwards")
    for flag in cli.given(args, cli.VIDEO_FLAGS):
        raise InputError(f"expected no --{flag}: workers segment a video in parts, each of its own; use infer for this")
    items = find_items(args.input, args.save_dir, kinds)[: args.max_frames]
    check_videos(items, kinds)
    storage = Storage(args.save_dir)
    with storage.prepared(), storage.locked(), cluster.connected(args.address) as ray, storage.reserved(ray):
        args.model = args.model if args.address is None else os.path.abspath(args.model)
        return Driver(ray, args, tuple(kinds), storage, items).run()


def check_videos(items: Sequence[Item], kinds: Sequence[str]) -> None:
    """Raise :class:`.InputError` if overlays of videos are wanted without masks, of which they are made."""
    if "overlays" in kinds and "masks" not in kinds and items[-1].is_video:
        raise InputError("expected masks with the overlays of videos, got '--write overlays'; write masks,overlays")


class Driver:
    """A job on a connected cluster."""

    def __init__(self, ray: Any, args: argparse.Namespace, kinds: Tuple[str, ...], storage: Storage, items: List[Item]):
        self.ray, self.args, self.storage, self.items = ray, args, storage, items
        self.workers, args.threads = shares(self._capacities(), args.workers, args.threads, args.device)
        self.job = Job(args, kinds, storage.address)
        self.disturbed = storage.read(SETTINGS) is not None  # a killed worker may have left temporary files

    def run(self) -> int:
        """Do everything and return the exit status."""
        self._settle()
        finished = self._finished()
        if finished:
            print(f"{len(finished)} units of an earlier run are finished and left out")
        lengths = self._video_lengths()
        line = Line(sum(images_of(unit, lengths) for unit in self._units(lengths)))
        try:
            lost = self._rounds(lengths, line)
            self._finish_videos(lengths, line)
        finally:
            line.clear()
        return self._close([row for unit in lost for row in _lost_rows(unit)])

    def _settle(self) -> None:
        """Compare with the run that began the folder, or begin it; then check the nodes.

        Raises:
            InputError: it is another job, or a node cannot take part.
        """
        given = {k: v for k, v in sorted(vars(self.args).items()) if k not in _FREE}
        settings = {
            "inputs": len(self.items),
            "inputs_sha256": _digest(f"{item.path}\n{item.name}\n" for item in self.items),
            "model_sha256": sha256(os.path.join(self.args.model, "deploy.yaml")),
            "flags": {**given, "write": sorted(self.job.kinds)},
        }
        settings["flags"].pop("model")
        written = self.storage.read(SETTINGS)
        if written is None:
            self._write_settings({**settings, "configuration": None})
        else:
            self._compare(settings, parsed_settings(written))
        self._check_nodes(settings["model_sha256"])
        configuration = parsed_settings(self.storage.read(SETTINGS) or b"").get("configuration")
        if configuration is None:
            configuration = self._choose()
            self._write_settings({**settings, "configuration": configuration})
        self.args.backend, self.args.precision = configuration["backend"], configuration["precision"]

    def _write_settings(self, settings: Dict[str, Any]) -> None:
        self.storage.write(SETTINGS, json.dumps(settings, indent=1).encode())

    def _compare(self, settings: Dict[str, Any], earlier: Dict[str, Any]) -> None:
        for key, what in (("inputs_sha256", "inputs"), ("model_sha256", "model"), ("flags", "flags")):
            if json.loads(json.dumps(settings[key])) != earlier.get(key):
                raise InputError(
                    f"expected the {what} of the run that began {self.storage.address!r}, got others; repeat its "
                    "command, or choose another --save_dir"
                )

    def _choose(self) -> Dict[str, Any]:
        """Backend and precision, chosen by one worker for all: results must not depend on who made them."""
        first = next(iter(self._image_units(set())), None) or next(video_units(self.items, {0: 0}, FRAMES))
        if self.ray.available_resources().get("CPU", 0) < self._resources()["num_cpus"]:
            print("all cores of the cluster are in use by others; waiting for some", file=sys.stderr)
        task = self.ray.remote(**self._resources())(chosen_configuration)
        try:
            chosen = self.ray.get(task.remote(self.job, first.as_dict()))
        except InputError as e:
            raise InputError(str(e.cause if hasattr(e, "cause") else e)) from e
        print(chosen.pop("printed"), end="")
        return chosen

    def _check_nodes(self, model_sha256: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        check = self.ray.remote(num_cpus=0)(problem_of_node)
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        answers = [
            check.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                self.args.model, model_sha256, self.storage.address
            )
            for node in nodes
        ]
        for node, answer in zip(nodes, answers):
            try:
                problem = self.ray.get(answer)
            except self.ray.exceptions.RayError as e:
                problem = f"cannot run {__package__} ({quote(str(e).strip().splitlines()[-1])})"
            if problem:
                raise InputError(f"the node {node['NodeManagerAddress']} {problem}; use folders that all nodes share")

    def _capacities(self) -> List[Tuple[int, int]]:
        """Cores and GPUs of each node."""
        resources = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return [(int(r.get("CPU", 0)), int(r.get("GPU", 0))) for r in resources]

    def _resources(self) -> Dict[str, int]:
        if self.args.device == "gpu":
            return {"num_cpus": 1, "num_gpus": 1}
        return {"num_cpus": self.args.threads}

    def _finished(self) -> Set[str]:
        return {name.rpartition(".")[0] for name in self.storage.names(RECORDS)}

    def _image_units(self, finished: Set[str], size: Optional[int] = None) -> Iterator[Unit]:
        batch = self.args.batch_size
        share = len(self.items) // (SHARES * self.workers)
        return image_units(self.items, finished, size or max(batch, min(BATCHES * batch, share)))

    def _video_lengths(self) -> Dict[int, int]:
        """The frames that each video announces, by the number of its item."""
        length = self.ray.remote(num_cpus=1)(video_length)
        numbers = [i for i, item in enumerate(self.items) if item.is_video]
        return dict(zip(numbers, self.ray.get([length.remote(self.items[i].path) for i in numbers])))

    def _units(self, lengths: Dict[int, int], image_size: Optional[int] = None) -> List[Unit]:
        """The images and frames that are left.

        Args:
            image_size: images of a unit; None for as many as suits their number and that of the workers.
        """
        finished = self._finished()
        frames = [u for u in video_units(self.items, lengths, FRAMES) if u.name not in finished]
        return [*self._image_units(finished, image_size), *frames]

    def _rounds(self, lengths: Dict[int, int], line: Line) -> List[Unit]:
        """Give out what is left until nothing is, and return the units that were lost every time.

        From the second round on each image is a unit: one that kills its worker takes no other with it.
        """
        for number in range(ROUNDS):
            units = self._units(lengths, None if number == 0 else 1)
            if not units:
                return []
            if number > 0:
                self.disturbed = True
                line.clear()
                print(f"{len(units)} units were lost with their workers, and are given out again", file=sys.stderr)
            self._give_out(units, line)
        return self._units(lengths, 1)

    def _finish_videos(self, lengths: Dict[int, int], line: Line) -> None:
        """The overlays of the videos of which every frame has been segmented."""
        if "overlays" not in self.job.kinds:
            return
        for _ in range(ROUNDS):
            finished = self._finished()
            waiting = {u.video for u in video_units(self.items, lengths, FRAMES) if u.name not in finished}
            units = overlay_units(self.items, [n for n in lengths if n not in waiting])
            left = [u for u in units if u.name not in finished]
            if not left:
                return
            self._give_out(left, line)

    def _give_out(self, units: List[Unit], line: Line) -> None:
        """A round: let the workers do the units. Those of workers that are killed are silently left out.

        Raises:
            InputError: a worker cannot go on for a reason that the user can fix.
        """
        workers = min(self.workers, len(units))
        arguments = [json.dumps(unit.as_dict()) for unit in units], self.job, workers, self._resources()
        if (self.args.address or "").startswith("ray://"):  # Ray Data needs a driver on the cluster
            answers = self.ray.get(self.ray.remote(num_cpus=0)(all_answers).remote(*arguments))
        else:
            answers = answers_of_workers(*arguments)
        for row in answers:
            _count(row, line)

    def _close(self, lost: List[Row]) -> int:
        if self.disturbed:
            self.storage.sweep()
        counts = write_table(self.storage, self.args.table, lost)
        print(
            f"{counts['ok']} written to {quote(self.storage.address, NAME)}, {counts['failed']} failed; see "
            f"table.{self.args.table}"
        )
        return SOME_FAILED if counts["failed"] else ALL_WRITTEN


def answers_of_workers(units: List[str], job: Job, workers: int, resources: Dict[str, int]) -> Iterator[Dict[str, Any]]:
    """What :class:`.Worker` returns for each unit, as they come; nothing for those whose worker was killed.

    Args:
        units: as JSON.
        workers: their number.
        resources: of each, as Ray names them.
    """
    import ray.data as data

    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a worker was killed
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        answers = data.from_items([{"unit": unit} for unit in units], override_num_blocks=len(units)).map(
            Worker,
            fn_constructor_args=(job,),
            compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=IN_FLIGHT),
            max_task_retries=0,  # or a task would wait for a place on the cluster that may be gone
            **resources,
        )
    yield from answers.iter_rows()


def all_answers(*arguments: Any) -> List[Dict[str, Any]]:
    """:func:`answers_of_workers` as a task of the cluster."""
    return list(answers_of_workers(*arguments))


def _count(row: Dict[str, Any], line: Line) -> None:
    """Take notice of what a worker answers.

    Raises:
        InputError: the job cannot go on.
    """
    if row["bug"]:
        raise RuntimeError(row["bug"])
    if row["error"]:
        raise InputError(row["error"])
    images = row["written"] + row["failed"]
    if images:
        line.step(images)


def shares(nodes: Sequence[Tuple[int, int]], workers: Optional[int], threads: int, device: str) -> Tuple[int, int]:
    """How many workers there are, and the threads of each.

    Args:
        nodes: cores and GPUs of each node.
        workers: as asked for; None for as many as there is room for.
        threads: as asked for; 0 for the share of the cores that each worker has, or without ``workers`` one.

    Raises:
        InputError: there is no room for them.
    """
    if device == "gpu":
        room = sum(gpus for _, gpus in nodes)
        threads = threads or 1
    else:
        most = max(cores for cores, _ in nodes)
        options = [threads] if threads else range(most, 0, -1) if workers else [1]
        threads = next((t for t in options if _room(nodes, t) >= (workers or 1)), options[-1])
        room = _room(nodes, threads)
    if room < (workers or 1):
        each = "one for each GPU" if device == "gpu" else f"with {threads} threads each"
        raise InputError(
            f"expected --workers of at most {room}, {each}, got {workers or 1}; lower --workers or --threads"
        )
    return workers or room, threads


def _room(nodes: Sequence[Tuple[int, int]], threads: int) -> int:
    return sum(cores // threads for cores, _ in nodes)


def _lost_rows(unit: Unit) -> Iterator[Row]:
    for path, name in zip(unit.paths, unit.names):
        frame = unit.first if unit.kind == "frames" else None
        reason = f"the worker was killed {ROUNDS} times while it segmented this"
        yield {"path": path, "frame": frame, **failure(name, reason)}


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def parsed_settings(data: bytes) -> Dict[str, Any]:
    """What :data:`SETTINGS` holds.

    Raises:
        InputError: it is damaged.
    """
    try:
        found = json.loads(data)
        assert isinstance(found, dict)
        return found
    except (ValueError, AssertionError) as e:
        raise InputError(f"expected the settings of a run in {SETTINGS!r}, got something else; delete it") from e
