"""The model zoo page, generated from the configs' headers, the released weights and a file of measurements.

Of each config the page lists what its header states (``# Published mIoU: 76.31 on val (PaddleSeg); ...`` and, where the
network was trained here, ``# Our mIoU: 60.4 on test``), the released weights trained with it, and what
``docs/model_zoo.csv`` holds on its network: parameters and multiply-accumulates, which are computed, and milliseconds,
which are measured (:func:`measure`). Writing the page times nothing.
"""

import csv
import datetime
import glob
import os
import re
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..config import load_config
from ..errors import InputError
from ..files import atomic_path
from ..weights import released

PAGE = "docs/model_zoo.md"
DATA = "docs/model_zoo.csv"
README = "README.md"
COMMAND = "python -m paddle_rtseg.model_zoo"
BACKEND = "onednn"
#: The README shows these configs.
EXCERPT = (
    "rtformer_slim_camvid_720x540",
    "rtformer_slim_cityscapes_1024x512_120k",
    "rtformer_base_cityscapes_1024x512_120k",
    "segformerpp_b0_camvid_720x540_distilled",
    "segformerpp_b0_cityscapes_1024x1024_160k",
    "segformerpp_b5_cityscapes_1024x1024_160k",
    "lrformer_t_camvid_720x540_distilled",
    "lrformer_t_cityscapes_1024x1024_160k",
    "lrformer_b_cityscapes_1024x1024_160k",
)
EXCERPT_START, EXCERPT_END = "<!-- model zoo: generated -->\n", "<!-- end of model zoo -->"

#: Titles of the folders of configs/, in the order of the page; further folders follow under their own names.
FAMILIES = {"rtformer": "RTFormer", "segformerpp": "SegFormer++", "lrformer": "LRFormer"}
DATASETS = {"CocoStuff": "COCO-Stuff"}
HEADER = (
    "| network | data, size | mIoU published | ours | M params | GMACs | ms | weights | config |\n" + "|---" * 9 + "|"
)

FIGURE = r"(\d+(?:\.\d+)?)"
PUBLISHED = re.compile(rf"Published mIoU: (?:none|{FIGURE}[^(]*\((.+?)\))(.*)")
OURS = re.compile(rf"Our mIoU: {FIGURE}")
MERGING = re.compile(rf"\b(hq|fast|2x2) {FIGURE}")
TRAINED_WEIGHTS = re.compile(r"These weights: (https://\S+)")
IMAGENET_WEIGHTS = re.compile(r"^\s+# (https://\S+)$", re.MULTILINE)


class Key(NamedTuple):
    """What parameters, multiply-accumulates and milliseconds depend on."""

    model: str  #: as ``python -m paddle_rtseg.benchmark --models`` takes it
    num_classes: int
    height: int
    width: int


@dataclass(frozen=True)
class Measurement:
    """One line of the data file."""

    model: str
    num_classes: int
    height: int
    width: int
    parameters: int
    macs: int  #: of one image; see :func:`..models.macs.count_macs`
    milliseconds: Optional[float] = None  #: median, from an 8-bit image to the mask, exported, fp32
    machine: str = ""
    paddle: str = ""
    date: str = ""
    note: str = ""

    @property
    def key(self) -> Key:
        return Key(self.model, self.num_classes, self.height, self.width)


class Source(NamedTuple):
    """A machine and state of it that milliseconds are from."""

    letter: str
    first_day: str
    last_day: str


@dataclass(frozen=True)
class Entry:
    """One line of the page: a config, or a config with token merging switched on."""

    config: str  #: path from the root of the checkout, with "/"
    network: str
    dataset: str
    key: Key
    published: str
    ours: str
    weights: str

    @property
    def family(self) -> str:
        return self.config.split("/")[1]

    @property
    def name(self) -> str:
        return os.path.splitext(os.path.basename(self.config))[0]


def read_entries(root: str) -> List[Entry]:
    """The lines of the page, family by family.

    Raises:
        InputError: ``root`` is not a checkout of the project.
    """
    paths = sorted(glob.glob(os.path.join(root, "configs", "[!_]*", "*.yml")))
    if not paths:
        raise InputError(f"expected a checkout of the project with configs/, got {root!r}; run the command in one")
    entries = [entry for path in paths for entry in _entries_of(path, root)]
    order = [*FAMILIES, *sorted({entry.family for entry in entries} - FAMILIES.keys())]
    return sorted(entries, key=lambda entry: order.index(entry.family))


def read_measurements(root: str) -> Dict[Key, Measurement]:
    """The data file, by key; empty if the file does not exist yet.

    Raises:
        InputError: its columns are not those of :class:`Measurement`.
    """
    path = os.path.join(root, DATA)
    if not os.path.exists(path):
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(line for line in file if not line.startswith("#"))
        expected = [field.name for field in fields(Measurement)]
        if reader.fieldnames != expected:
            raise InputError(f"expected the columns {', '.join(expected)} in {path!r}, got {reader.fieldnames}")
        rows = [_parse_row(row) for row in reader]
    return {row.key: row for row in rows}


def complete(
    entries: List[Entry],
    measurements: Dict[Key, Measurement],
    recount: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Dict[Key, Measurement]:
    """One measurement for each entry: those that are there, and counts for those that are missing.

    Args:
        recount: count parameters and multiply-accumulates of all networks again, and keep the milliseconds.
    """
    result: Dict[Key, Measurement] = {}
    for entry in entries:
        key = entry.key
        if key in result:
            continue
        old = measurements.get(key)
        if old is None or recount:
            report(f"counting {key.model}, {key.height}x{key.width}")
            parameters, macs = count(key)
            old = replace(old, parameters=parameters, macs=macs) if old else Measurement(*key, parameters, macs)
        result[key] = old
    return result


def count(key: Key) -> Tuple[int, int]:
    """Parameters and multiply-accumulates of a network."""
    from ..models.macs import count_macs
    from ..zoo import create_model
    from .timing import parse_model

    name, arguments = parse_model(key.model)
    network = create_model(name, num_classes=key.num_classes, **arguments)
    return sum(parameter.size for parameter in network.parameters()), count_macs(network, (key.height, key.width))


def keys_of(entries: List[Entry], names: Sequence[str]) -> List[Key]:
    """The networks of the configs whose name contains one of ``names``.

    Raises:
        InputError: one of them is part of no config's name.
    """
    for name in names:
        if not any(name in entry.name for entry in entries):
            raise InputError(f"expected part of a config's name, got {name!r}; {PAGE} lists the configs")
    return list(dict.fromkeys(entry.key for entry in entries if any(name in entry.name for name in names)))


def measure(
    measurements: Dict[Key, Measurement],
    keys: List[Key],
    machine: Optional[str] = None,
    turns: int = 7,
    note: str = "",
    report: Callable[[str], None] = lambda line: None,
    save: Callable[[Dict[Key, Measurement]], None] = lambda measurements: None,
) -> Dict[Key, Measurement]:
    """Time the networks of ``keys`` on this machine, those of one size and number of classes in turns.

    Args:
        machine: its name on the page; None for what Linux calls the processor, and the number of cores.
        save: called with all measurements after the networks of each size, so that a run that is stopped keeps them.

    Returns:
        ``measurements`` with the milliseconds of these keys replaced.
    """
    import paddle
    from rtseg_inference import environment

    from .machine import processor
    from .timing import benchmark

    machine = machine or f"{processor()}, {environment.usable_cores()} cores"
    groups: Dict[Tuple[int, int, int], List[str]] = {}
    for key in keys:
        groups.setdefault((key.num_classes, key.height, key.width), []).append(key.model)
    result = dict(measurements)
    for (num_classes, height, width), models in groups.items():
        rows = benchmark(models, [(height, width)], [BACKEND], num_classes=num_classes, turns=turns, report=report)
        for row in rows:
            if row.milliseconds is None:
                raise InputError(f"{row.model} could not be timed: {row.note}")
            key = Key(row.model, num_classes, height, width)
            result[key] = replace(
                result[key],
                milliseconds=round(row.milliseconds, 1),
                machine=machine,
                paddle=paddle.__version__,
                date=datetime.date.today().isoformat(),
                note=note,
            )
        save(result)
    return result


def page(entries: List[Entry], measurements: Dict[Key, Measurement]) -> str:
    """The whole page as Markdown."""
    sources = _sources(entries, measurements)
    parts = [INTRODUCTION]
    for family in dict.fromkeys(entry.family for entry in entries):
        rows = [entry for entry in entries if entry.family == family]
        rows.sort(key=lambda entry: (entry.dataset, measurements[entry.key].parameters, entry.config, entry.key.width))
        parts.append(f"## {FAMILIES.get(family, family)}\n\n" + _table(rows, measurements, sources, "../"))
    parts.append("## Where the milliseconds are from\n\n" + _legend(sources))
    return "\n\n".join(parts) + "\n"


def excerpt(entries: List[Entry], measurements: Dict[Key, Measurement]) -> str:
    """The lines that the README shows."""
    rows = sorted((e for e in entries if e.name in EXCERPT), key=lambda entry: EXCERPT.index(entry.name))
    sources = _sources(rows, measurements)
    rows = [replace(entry, weights="bundled" if entry.weights.startswith("`") else entry.weights) for entry in rows]
    return _table(rows, measurements, sources, "") + "\n\n" + _legend(sources) + "\n"


def generate(root: str, entries: List[Entry], measurements: Dict[Key, Measurement]) -> Dict[str, str]:
    """The text of every file that the command writes, by path from the root.

    Raises:
        InputError: the README has no place for the excerpt.
    """
    with open(os.path.join(root, README), encoding="utf-8") as file:
        before, start, rest = file.read().partition(EXCERPT_START)
    _, end, after = rest.partition(EXCERPT_END)
    if not end:
        raise InputError(f"expected the lines {EXCERPT_START.strip()} and {EXCERPT_END} in {README}; add them")
    readme = before + start + excerpt(entries, measurements) + end + after
    return {DATA: _as_csv(measurements), PAGE: page(entries, measurements), README: readme}


def write(root: str, files: Dict[str, str]) -> None:
    for name, text in files.items():
        with atomic_path(os.path.join(root, name)) as path, open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)


def stale(root: str) -> List[str]:
    """The files, by path from the root, that are not what the command would write now. Nothing is computed for it."""
    entries, measurements = read_entries(root), read_measurements(root)
    if {entry.key for entry in entries} - measurements.keys():
        return [DATA]
    files = generate(root, entries, complete(entries, measurements))
    return [name for name, text in files.items() if _read(os.path.join(root, name)) != text]


INTRODUCTION = f"""\
<!-- Written by `{COMMAND}`. Change the configs or model_zoo.csv and run it again. -->

# Model zoo

One line for each config. Size is width x height, as in the config's name; parameters, multiply-accumulates and
milliseconds are those of the network at that size and with the classes of that data set.

- **mIoU published**: in percent, with its source; on val, at one scale and at the size of the paper's evaluation
  (Cityscapes: 2048 x 1024), unless the header of the config states otherwise. PaddleSeg's SegFormer has linear layers
  in its head where SegFormer++ has convolutions with batch norm.
- **mIoU ours**: trained with this package, as the header of the config says. A dash means that it has not been trained
  here.
- **GMACs**: multiply-accumulates, counted as in the papers, whose "FLOPs" they are.
- **ms**: one image, exported, oneDNN inside Paddle, fp32, from an 8-bit image in memory to the mask: the median. The
  letter names the machine, below. Ratios carry over to other machines, milliseconds do not.
- **weights**: ours are bundled, and their name works wherever a file of weights does; the links are weights that others
  published. The terms of all of them are in [Weights and licences](licences.md).

hq, fast and 2x2 are SegFormer++'s token merging, switched on with `--opts model.backbone.token_merging=hq`; their mIoU
is for networks trained with merging. Milliseconds are missing where nobody has measured them yet; `{COMMAND} --measure
NAME` measures the networks of the configs whose name contains NAME on your machine."""


def _entries_of(path: str, root: str) -> Iterator[Entry]:
    """The lines of one config; none if its header has no line on what is published."""
    text = _read(path)
    head = re.sub(r"\n# ?", " ", text.split("\n\n")[0])
    found = PUBLISHED.search(head)
    if not found:
        return
    figure, source, rest = found.groups()
    config = load_config(path)
    model = config.dic["model"]
    dataset = config.dic["train_dataset"]["type"]
    width, height = map(int, re.search(r"_(\d+)x(\d+)", os.path.basename(path)).groups())
    name = os.path.relpath(path, root).replace(os.sep, "/")

    ours = OURS.search(head)
    weights = [f"`{release.name}`" for release in map(released.find, released.SHA256) if _is_of(release, path)]
    trained, backbone = TRAINED_WEIGHTS.search(head), IMAGENET_WEIGHTS.search(text)
    if trained:
        weights.append(f"[PaddleSeg]({trained.group(1)})")
    elif backbone:
        weights.append(f"[ImageNet]({backbone.group(1)})")

    def entry(published: str, ours: str, weights: str, merging: Optional[str] = None) -> Entry:
        arguments = {**model, "backbone": {**model["backbone"], "token_merging": merging}} if merging else model
        key = Key(_as_benchmark_model(arguments), _num_classes(config), height, width)
        network = _display_name(model) + (f", {merging}" if merging else "")
        return Entry(name, network, DATASETS.get(dataset, dataset), key, published, ours, weights)

    yield entry(f"{figure} ({source})" if figure else "", ours.group(1) if ours else "", ", ".join(weights))
    for merging, value in MERGING.findall(rest):
        yield entry(f"{value} ({source})", "", ", ".join(weights), merging)


def _is_of(release: released.Release, config_path: str) -> bool:
    return release.metadata["config"] == os.path.basename(config_path)


def _num_classes(config: Any) -> int:
    from paddleseg.cvlibs import manager

    dataset = config.dic["train_dataset"]["type"]
    return config.dic["model"].get("num_classes") or manager.DATASETS[dataset].NUM_CLASSES


def _display_name(model: Dict[str, Any]) -> str:
    """{"type": "SegFormerPP", "backbone": {"type": "MiT_B0"}} -> "SegFormer++ MiT-B0"."""
    backbone = model.get("backbone", {}).get("type", "")
    names = {"SegFormerPP": f"SegFormer++ {backbone}", "LRFormerSeg": backbone}
    return names.get(model["type"], f"{model['type']} {backbone}").strip().replace("_", "-")


def _as_benchmark_model(model: Dict[str, Any]) -> str:
    """The network of a config as the benchmark names it: "SegFormerPP:backbone.type=MiT_B0"."""

    def flatten(arguments: Dict[str, Any], prefix: str = "") -> Iterator[str]:
        for key, value in sorted(arguments.items()):
            if isinstance(value, dict):
                yield from flatten(value, f"{prefix}{key}.")
            elif value is not None and key not in ("pretrained", "num_classes"):
                yield f"{prefix}{key}={value}"

    arguments = ",".join(flatten({key: value for key, value in model.items() if key != "type"}))
    return f"{model['type']}:{arguments}" if arguments else model["type"]


def _table(rows: List[Entry], measurements: Dict[Key, Measurement], sources: Dict[tuple, Source], root: str) -> str:
    lines = [HEADER]
    for entry in rows:
        row = measurements[entry.key]
        milliseconds = f"{row.milliseconds:.0f}&nbsp;{sources[_source(row)].letter}" if row.milliseconds else ""
        cells = [
            entry.network,
            f"{entry.dataset}, {entry.key.width}&nbsp;x&nbsp;{entry.key.height}",
            entry.published,
            entry.ours,
            f"{row.parameters / 1e6:.2f}",
            f"{row.macs / 1e9:.1f}",
            milliseconds,
            entry.weights,
        ]
        cells.append(f"[yml]({root}{entry.config})")
        lines.append(f"| {' | '.join(cell or '–' for cell in cells)} |")
    return "\n".join(lines)


def _source(row: Measurement) -> Tuple[str, str, str]:
    return row.machine, row.paddle, row.note


def _sources(entries: List[Entry], measurements: Dict[Key, Measurement]) -> Dict[tuple, Source]:
    """Where the milliseconds of these entries are from."""
    dates: Dict[tuple, List[str]] = {}
    for row in (measurements[entry.key] for entry in entries):
        if row.milliseconds is not None:
            dates.setdefault(_source(row), []).append(row.date)
    return {source: Source(chr(ord("a") + i), min(days), max(days)) for i, (source, days) in enumerate(dates.items())}


def _legend(sources: Dict[tuple, Source]) -> str:
    lines = []
    for (machine, version, note), (letter, first, last) in sources.items():
        days = first if first == last else f"{first} to {last}"
        lines.append(f"**{letter}**: ms on {machine}, Paddle {version}, {days}{'; ' + note if note else ''}.")
    return "  \n".join(lines)


def _parse_row(row: Dict[str, str]) -> Measurement:
    numbers = {name: int(row[name]) for name in ("num_classes", "height", "width", "parameters", "macs")}
    milliseconds = float(row["milliseconds"]) if row["milliseconds"] else None
    return Measurement(**{**row, **numbers, "milliseconds": milliseconds})


def _as_csv(measurements: Dict[Key, Measurement]) -> str:
    import io

    text = io.StringIO()
    text.write(f"# Kept by {COMMAND}: counts are computed; milliseconds are medians, {BACKEND}, fp32, batch 1.\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Measurement)])
    for row in measurements.values():
        writer.writerow(["" if value is None else value for value in astuple(row)])
    return text.getvalue()


def _read(path: str) -> str:
    """The text of a file, "" if there is none."""
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()
