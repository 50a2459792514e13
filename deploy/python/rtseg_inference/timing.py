"""Time exported models on this machine: ``python -m rtseg_inference.timing --model A/ B/ --backend onnxruntime``.

Each row holds the time of the network alone, with inputs and outputs on the device, the time from an image in memory to
its mask, and the comparison with the golden output that says whether these times are those of a correct result; in a
larger batch, also that of each mask with the image's alone. All models of one backend, precision and batch size are
timed in turns, so that other load meets all of them. Rows are printed and saved as they are measured, and a later run
with the same file skips those that it holds. No Paddle is imported unless the backend is Paddle's.
"""

import argparse
import gc
import importlib.util
import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Callable, Dict, Hashable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar

import numpy as np

from . import environment, gpu, program
from .arguments import Parser
from .configuration import BACKENDS, DEFAULT_BACKEND, PROVIDERS, Configuration
from .contract import FILE_NAME, PRECISIONS, read_contract
from .errors import InputError, first_line
from .files import Array, atomic_path, sha256
from .images import read_image
from .predictor import Predictor

REST = 0.25  #: seconds between calls on a CPU, whose OpenMP threads keep spinning for 0.2 after each
LEAST_TURNS = 3  #: even where a time limit asks for fewer; quartiles need them
WARM_UP_CALLS = 3  #: the first calls of a shape choose algorithms and capture graphs

Name = TypeVar("Name", bound=Hashable)
Call = Callable[[], Any]


# --- Turns


def measure(
    runs: Mapping[Name, Call],
    turns: int,
    rest: float = REST,
    calls: int = 1,
    until: Optional[float] = None,
    warm_up: int = 1,
    after_turn: Callable[[Dict[Name, List[float]]], None] = lambda times: None,
) -> Dict[Name, List[float]]:
    """Milliseconds of each call in each of ``turns`` turns, after ``warm_up`` turns that do not count.

    Args:
        runs: zero-argument callables that run the timed work once.
        rest: seconds to pause before each call; see :data:`REST`.
        calls: consecutive calls of each in a turn.
        until: when, by ``time.monotonic``, to stop after :data:`LEAST_TURNS` turns; None for never.
        after_turn: called with the times so far after each turn that counts.
    """
    times: Dict[Name, List[float]] = {name: [] for name in runs}
    for turn in range(turns + warm_up):
        if until is not None and turn >= LEAST_TURNS + warm_up and time.monotonic() > until:
            break
        for name, run in runs.items():
            for _ in range(calls):
                time.sleep(rest)
                start = time.perf_counter()
                run()
                if turn >= warm_up:
                    times[name].append(1e3 * (time.perf_counter() - start))
        if turn >= warm_up:
            after_turn(times)
    return times


@dataclass(frozen=True)
class Milliseconds:
    """Median and quartiles of the calls of one variant; of the whole batch."""

    median: float
    lower: float
    upper: float
    calls: int

    @classmethod
    def of(cls, times: Sequence[float]) -> "Milliseconds":
        lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
        return cls(round(median, 3), round(lower, 3), round(upper, 3), len(times))

    def __str__(self) -> str:
        return f"{self.median:.2f} ms ({self.lower:.2f} to {self.upper:.2f})"


# --- Rows that survive an interrupted run


class Journal:
    """Rows of measurements in a file of JSON lines, which is written atomically with each of them.

    A row is a dictionary of plain values; its ``key`` says what was measured and under which settings, and a ``note``
    why it could not be. Without a path, rows are kept in memory.

    Raises:
        InputError: the file exists and is not a journal.
    """

    def __init__(self, path: Optional[str] = None):
        self.path = path
        self._rows: Dict[str, Dict[str, Any]] = {}
        if path is not None and os.path.exists(path):
            self._rows = {_plain(row["key"]): row for row in _read_rows(path)}

    def get(self, key: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The row with this key."""
        return self._rows.get(_plain(key))

    def find(self, key: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The row with this key, unless it only says why there are no times."""
        row = self.get(key)
        return None if row is None or "note" in row else row

    def put(self, key: Mapping[str, Any], **values: Any) -> Dict[str, Any]:
        """Add a row, in place of an earlier one with the same key, and save the file."""
        row: Dict[str, Any] = {"key": dict(key), **values}
        self._rows[_plain(key)] = row
        if self.path is not None:
            with atomic_path(self.path) as path, open(path, "w", encoding="utf-8") as f:
                f.writelines(json.dumps(row) + "\n" for row in self._rows.values())
        return row


def _plain(key: Mapping[str, Any]) -> str:
    return json.dumps(dict(key), sort_keys=True)


def _read_rows(path: str) -> Iterator[Dict[str, Any]]:
    with open(path, encoding="utf-8", errors="replace") as f:
        for number, line in enumerate(f, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("key"), dict):
                raise InputError(
                    f"expected rows of measurements in {path!r}, got something else in line {number}; give another file"
                )
            yield row


# --- Exported models


@dataclass(frozen=True)
class Variant:
    """One model in one configuration."""

    model: str  #: folder
    configuration: Configuration

    @property
    def name(self) -> str:
        return f"{os.path.basename(os.path.normpath(self.model))}, {self.configuration}"

    def load(self) -> Predictor:
        c = self.configuration
        return Predictor(self.model, c.device, c.backend, c.precision, c.threads, c.provider)


@dataclass
class Loaded:
    """A model that is ready to be timed."""

    variant: Variant
    predictor: Predictor
    build_seconds: float
    golden: Dict[str, Any]
    megabytes: Optional[int]  #: that the card holds more than before, after the first run


class Clock:
    """What is left of a time limit; without a limit, time never ends."""

    def __init__(self, seconds: Optional[float] = None):
        self.end = None if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return self.end is not None and time.monotonic() > self.end

    def within(self, seconds: Optional[float]) -> Optional[float]:
        """The end of this limit or of ``seconds`` from now, whichever comes first."""
        ends = [self.end, None if seconds is None else time.monotonic() + seconds]
        return min((end for end in ends if end is not None), default=None)


@dataclass(frozen=True)
class Plan:
    """How a group of variants is timed."""

    turns: int = 21
    calls: int = 1
    group_seconds: Optional[float] = None  #: for the turns of one group
    clock: Clock = field(default_factory=Clock)


def time_models(
    variants: Sequence[Variant],
    batch_sizes: Sequence[int],
    plan: Plan,
    journal: Journal,
    report: Callable[[str], None] = print,
) -> List[str]:
    """Time every variant at every batch size, and add a row for each to ``journal``.

    Variants of one configuration form a group, which stays loaded while its batch sizes are timed.

    Returns:
        What was skipped, by name, and why. A variant that cannot run is a row with a note instead.
    """
    groups: Dict[Configuration, List[Variant]] = {}
    for variant in variants:
        groups.setdefault(variant.configuration, []).append(variant)
    skipped: List[str] = []
    for group in groups.values():
        skipped += _time_group(group, batch_sizes, plan, journal, report)
        gc.collect()  # sessions of the group, and what they hold on the device
    return skipped


def _time_group(
    group: Sequence[Variant], batch_sizes: Sequence[int], plan: Plan, journal: Journal, report: Callable[[str], None]
) -> List[str]:
    settings = machine(group[0].configuration.device)
    keys = {(variant, n): row_key(variant, n, settings) for variant in group for n in batch_sizes}
    missing = [name for name, key in keys.items() if journal.find(key) is None]
    for variant, n in keys:
        if (variant, n) not in missing:
            report(f"{variant.name}, batch {n}: measured before")
    skipped: List[str] = []
    loaded: List[Loaded] = []
    for variant in dict.fromkeys(variant for variant, _ in missing):
        if plan.clock.over:
            skipped.append(f"{variant.name}: no time left")
            continue
        try:
            loaded.append(load(variant))
        except Exception as e:  # however a backend fails, the others may work
            note = reason(e)
            for n in (n for v, n in missing if v is variant):
                journal.put(keys[variant, n], note=note)
            report(f"{variant.name}: did not run: {note}")
    for n in batch_sizes:
        if plan.clock.over:
            skipped += [f"{model.variant.name}, batch {n}: no time left" for model in loaded]
            continue
        wanted = [model for model in loaded if (model.variant, n) in missing]
        for model, values in _time_batch(wanted, n, plan):
            row = journal.put(keys[model.variant, n], **values)
            report(f"{model.variant.name}, batch {n}: {described(row)}")
    return skipped


def load(variant: Variant) -> Loaded:
    """Build the network's session, run it once on the golden pair and compare.

    Raises:
        InputError: see :class:`.predictor.Predictor`.
    """
    before = device_megabytes(variant.configuration.device)
    start = time.perf_counter()
    predictor = variant.load()
    seconds = time.perf_counter() - start
    golden = asdict(predictor.verify())
    after = device_megabytes(variant.configuration.device)
    return Loaded(
        variant, predictor, round(seconds, 2), golden, None if after is None or before is None else after - before
    )


def _time_batch(group: Sequence[Loaded], batch_size: int, plan: Plan) -> Iterator[Tuple[Loaded, Dict[str, Any]]]:
    """The values of the row of each model of ``group`` at this batch size."""
    networks: Dict[int, Call] = {}
    wholes: Dict[int, Call] = {}
    batches: Dict[int, Dict[str, Any]] = {}
    notes: Dict[int, str] = {}
    for i, model in enumerate(group):
        try:
            images = images_of(model.predictor, batch_size)
            batches[i] = {"batch": asdict(model.predictor.verify_batch(images))} if batch_size > 1 else {}
            networks[i], wholes[i] = calls_of(model.predictor, images)
            for _ in range(WARM_UP_CALLS):
                networks[i]()
        except Exception as e:
            networks.pop(i, None)
            notes[i] = reason(e)
    on_cpu = not group or group[0].variant.configuration.device == "cpu"
    rest = REST if on_cpu else 0.0
    share = None if plan.group_seconds is None else plan.group_seconds / 2  # for the network, and for the whole
    alone = measure(networks, plan.turns, rest, plan.calls, plan.clock.within(share))
    whole = measure({i: wholes[i] for i in networks}, plan.turns, rest, 1, plan.clock.within(share))
    for i, model in enumerate(group):
        values: Dict[str, Any] = {
            "network_class": model.predictor.contract.network,
            "input": "x".join(map(str, model.predictor.contract.input.shape.opt[1:])),
            "build_seconds": model.build_seconds,
            "golden": model.golden,
            "megabytes": model.megabytes,
            **placement(model.predictor.runtime),
        }
        if i in notes:
            yield model, {"note": notes[i], **values}
        else:
            times = {"network": asdict(Milliseconds.of(alone[i])), "whole": asdict(Milliseconds.of(whole[i]))}
            yield model, {**times, **values, **batches[i]}


def images_of(predictor: Predictor, batch_size: int) -> List[Array]:
    """The golden image and copies of it that differ, so that nothing can be computed once for all."""
    contract = predictor.contract
    image = read_image(contract.path(contract.golden.image))
    return [np.roll(image, 7 * i, axis=1) for i in range(batch_size)]


def calls_of(predictor: Predictor, images: Sequence[Array]) -> Tuple[Call, Call]:
    """The network alone on a batch that is already on the device, and all steps from images in memory to masks.

    Raises:
        InputError: the model does not take batches of this size.
    """
    batch = predictor.preprocess(images)
    predictor.runtime.run(batch)  # copies it to the device
    network = getattr(predictor.runtime, "repeat", lambda: predictor.runtime.run(batch))
    return network, lambda: predictor.predict(images)


def placement(runtime: Any) -> Dict[str, Any]:
    """Whether the network runs as a CUDA graph, and what of it on the processor, where the runtime knows."""
    names = ("captured", "on_processor")
    return {name: getattr(runtime, name) for name in names if hasattr(runtime, name)}


def reason(error: Exception) -> str:
    """An error in one line."""
    return str(error) if isinstance(error, InputError) else first_line(error)


def is_correct(row: Mapping[str, Any]) -> bool:
    """Whether the golden output was reproduced and, in a larger batch, each image's mask."""
    return bool(row["golden"]["passed"] and ("batch" not in row or row["batch"]["passed"]))


def described(row: Mapping[str, Any]) -> str:
    """A row in one line, without its key."""
    if "note" in row:
        return f"did not run: {row['note']}"
    golden, batch = row["golden"], row.get("batch")
    correct = "correct" if is_correct(row) else "NOT CORRECT"
    error = "" if golden["rms_error"] is None else f", relative error {golden['rms_error']:.1e}"
    together = "" if batch is None else f", {100 * batch['agreement']:.2f}% in the batch as alone"
    memory = "" if row["megabytes"] is None else f", {row['megabytes']} MiB on the card"
    graph = ", CUDA graph" if row.get("captured") else ""
    processor = f", {len(row['on_processor'])} operators on the processor" if row.get("on_processor") else ""
    return (
        f"network {Milliseconds(**row['network'])}, image to mask {Milliseconds(**row['whole'])}, {correct} "
        f"({100 * golden['agreement']:.2f}% of the pixels agree{error}{together}), built in {row['build_seconds']} s"
        f"{memory}{graph}{processor}"
    )


# --- What was measured, where


def row_key(variant: Variant, batch_size: int, settings: Mapping[str, str]) -> Dict[str, Any]:
    """What a time depends on: the model's files, the configuration and the machine."""
    c = variant.configuration
    description = os.path.join(variant.model, FILE_NAME)  # holds the SHA-256 of all other files
    return {
        "model": os.path.basename(os.path.normpath(variant.model)),
        "sha256": sha256(description) if os.path.isfile(description) else "",
        "device": c.device,
        "backend": c.backend,
        "precision": c.precision,
        "provider": c.provider,
        "threads": c.threads or environment.thread_count(),
        "batch_size": batch_size,
        **settings,
    }


def machine(device: str) -> Dict[str, str]:
    """The processor or the card, and the versions of what runs on it."""
    card = next(iter(gpu.cards()), None) if device == "gpu" else None
    return {
        "machine": f"{card.name}, driver {card.driver}" if card else processor_name(),
        "Python": platform.python_version(),
        **{name: version for name in ("onnxruntime", "openvino", "paddle") if (version := _version(name))},
    }


def processor_name() -> str:
    """The processor as Linux calls it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.partition(":")[2].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(name: str) -> Optional[str]:
    """Version of the distribution that lies beside the package ``name`` where Python finds it; None without a package.

    The package is not imported: Paddle needs its settings first.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    folder = os.path.dirname(os.path.dirname(spec.origin))
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions(path=[folder])}
    names = {"paddle": "paddlepaddle"}.get(name, name)
    return found.get(f"{names}-gpu") or found.get(names) or "unknown"


def device_megabytes(device: str) -> Optional[int]:
    """MiB in use on the first card, by all programs; None on a CPU, or where nvidia-smi does not say."""
    if device != "gpu":
        return None
    lines = gpu.answer(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]).split()
    return int(lines[0]) if lines and lines[0].isdecimal() else None


# --- The command


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m rtseg_inference.timing",
        description="Time exported models in turns, and check each against its golden output.",
    )
    p.add_argument("--model", nargs="+", required=True, metavar="DIR", help="exported models, folders with deploy.yaml")
    p.add_argument("--device", choices=list(BACKENDS), default="cpu", help="cpu or gpu (default cpu)")
    p.add_argument("--backend", nargs="+", metavar="BACKEND", help="(default: the device's default backend)")
    p.add_argument("--provider", choices=PROVIDERS, help="of ONNX Runtime, on a GPU (default cuda)")
    p.add_argument(
        "--precision",
        nargs="+",
        choices=list(PRECISIONS),
        default=["fp32"],
        metavar="PRECISION",
        help=f"any of {', '.join(PRECISIONS)} (default fp32)",
    )
    p.add_argument("--batch_size", nargs="+", type=int, default=[1], metavar="N", help="images per batch (default 1)")
    p.add_argument("--turns", type=int, default=21, metavar="N", help="turns at most (default 21)")
    p.add_argument("--calls", type=int, default=1, metavar="N", help="consecutive calls in a turn (default 1)")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="processor threads (default: all cores)")
    p.add_argument(
        "--seconds", type=float, metavar="S", help="stop after this time and name what was skipped (default: never)"
    )
    p.add_argument(
        "--group_seconds",
        type=float,
        metavar="S",
        help="end the turns of the models of one backend, precision and batch size after this time, if each has had "
        f"{LEAST_TURNS} (default: never)",
    )
    p.add_argument(
        "--save",
        metavar="FILE.jsonl",
        help="save each row when it is measured; skip rows that it holds (default: none)",
    )
    return p


def main(args: argparse.Namespace) -> int:
    """Run the command and return its exit status: 0 if every time is that of a correct result, 1 otherwise.

    Raises:
        InputError: nothing can be timed as asked.
    """
    for name, least in (("turns", 2), ("calls", 1), ("threads", 0)):
        if getattr(args, name) < least:
            raise InputError(f"expected --{name} of {least} or more, got {getattr(args, name)}; raise it")
    for name in ("seconds", "group_seconds"):
        if getattr(args, name) is not None and not getattr(args, name) > 0:
            raise InputError(f"expected --{name} above 0, got {getattr(args, name)}; raise it")
    if min(args.batch_size) < 1:
        raise InputError(f"expected --batch_size of 1 or more, got {min(args.batch_size)}; raise it")
    for folder in args.model:
        read_contract(folder)
    variants = variants_of(args)
    journal = Journal(args.save)
    plan = Plan(args.turns, args.calls, args.group_seconds, Clock(args.seconds))
    skipped = time_models(variants, args.batch_size, plan, journal, lambda line: print(line, flush=True))
    for line in skipped:
        print(f"skipped {line}")
    settings = machine(args.device)
    keys = [row_key(variant, n, settings) for variant in variants for n in args.batch_size]
    rows = [row for row in map(journal.find, keys) if row is not None]
    return 0 if len(rows) == len(keys) and all(map(is_correct, rows)) else 1


def variants_of(args: argparse.Namespace) -> List[Variant]:
    """All models in each backend and precision, those of one configuration one after the other."""
    return [
        Variant(model, Configuration(args.device, backend, precision, args.threads, args.provider))
        for backend in args.backend or [DEFAULT_BACKEND[args.device]]
        for precision in args.precision
        for model in dict.fromkeys(args.model)
    ]


def run(arguments: Optional[Sequence[str]] = None) -> int:
    """Parse the arguments and run; print errors that the user can fix in one line."""
    args = parser().parse_args(arguments)
    return program.run(lambda: main(args))


if __name__ == "__main__":
    program.leave(run())
