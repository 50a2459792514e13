"""How fast networks are here, against each other: all in one process, in turns, medians.

Machines are noisy and differ; so every turn times each variant once, one after the other, and what is worth keeping
is the ratio of two medians of one run.
"""

import os
import re
import statistics
import tempfile
import time
from ast import literal_eval
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import paddle
from rtseg_inference import Predictor
from rtseg_inference.runtime import BACKENDS
from rtseg_inference.selection import first_line

from .deploy.exporter import export_model
from .deploy.golden import street_scene
from .deploy.preprocessing import Preprocessing
from .errors import InputError
from .models.macs import count_macs
from .zoo import create_model

#: What a network can be timed in: layer by layer, a step of training, or exported on one of the CPU's backends.
MODES = ("dygraph", "training", *BACKENDS["cpu"])


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    size: Tuple[int, int]  #: height, width
    mode: str
    million_parameters: float
    giga_macs: float  #: of one image; see :func:`.models.macs.count_macs`
    milliseconds: Optional[float]  #: median for one image; None if it could not run
    spread: Optional[float]  #: distance of the quartiles, milliseconds
    note: str = ""  #: why it could not run


def parse_model(text: str) -> Tuple[str, Dict[str, Any]]:
    """``NAME:key=value,part.key=value`` -> name and keyword arguments.

    Raises:
        InputError: an argument without a value.
    """
    name, _, rest = text.partition(":")
    arguments: Dict[str, Any] = {}
    for item in filter(None, re.split(r",(?![^\[]*\])", rest)):  # a comma inside brackets parts the items of a list
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"expected MODEL:KEY=VALUE,..., got {item!r} in {text!r}; give the key a value")
        *parents, last = key.split(".")
        place = arguments
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _literal(value)
    return name, arguments


def benchmark(
    models: Sequence[str],
    sizes: Sequence[Tuple[int, int]],
    modes: Sequence[str] = ("onednn",),
    precision: str = "fp32",
    num_classes: int = 19,
    turns: int = 11,
    threads: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> List[Row]:
    """Time each model at each size in each mode, with random weights.

    The exported forms are timed from an 8-bit image to the mask at its size; where a model offers its logits before the
    last upsampling, as all of this package do, these are exported and finished on the host. ``dygraph`` times the
    forward pass, ``training`` forward, backward and the gradients' clearing, with cross entropy on every output.

    Args:
        models: see :func:`parse_model`; whatever PaddleSeg's manager knows, PaddleSeg's own included.
        sizes: height and width of the images.
        modes: of :data:`MODES`.
        precision: of the exported forms: "fp32" or "bf16".
        turns: measurements of each; one more, the first, is thrown away.
        threads: of the exported forms; 0 for all cores.
        report: called with a line now and then.

    Raises:
        InputError: an unknown model or mode.
    """
    for mode in modes:
        if mode not in MODES:
            raise InputError(f"expected a mode among {', '.join(MODES)}, got {mode!r}; choose one of these")
    parsed = [parse_model(text) for text in models]
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            runs: Dict[Tuple[str, str], Callable[[], Any]] = {}
            facts: Dict[str, Tuple[float, float]] = {}
            notes: Dict[Tuple[str, str], str] = {}
            for i, (text, (name, arguments)) in enumerate(zip(models, parsed)):
                network = create_model(name, num_classes=num_classes, **arguments)
                network.eval()
                parameters = sum(p.size for p in network.parameters()) / 1e6
                facts[text] = parameters, count_macs(network, size) / 1e9
                for mode in modes:
                    report(f"preparing {text} at {size[0]}x{size[1]}, {mode}")
                    try:
                        target = os.path.join(folder, str(i))
                        runs[text, mode] = _runner(network, size, mode, precision, threads, target, num_classes)
                    except (InputError, RuntimeError, TypeError) as e:  # not every network can be exported
                        notes[text, mode] = first_line(e)
            times = measure(runs, turns)
        for text in models:
            for mode in modes:
                taken = times.get((text, mode))
                median = statistics.median(taken) if taken else None
                quartiles = statistics.quantiles(taken, n=4) if taken else None
                spread = quartiles[2] - quartiles[0] if quartiles else None
                rows.append(Row(text, size, mode, *facts[text], median, spread, notes.get((text, mode), "")))
    return rows


def measure(runs: Dict[Any, Callable[[], Any]], turns: int) -> Dict[Any, List[float]]:
    """Milliseconds of each call, ``turns`` times in turns; a first turn is thrown away."""
    times: Dict[Any, List[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn > 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; the ratio is the first model's time over the row's, at that size and mode."""
    first = {}
    for row in rows:
        first.setdefault((row.size, row.mode), row.milliseconds)
    lines = [
        "| model | size | mode | M parameters | GMACs | ms | ± | ms / GMAC | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        facts = f"| {row.model} | {row.size[0]}x{row.size[1]} | {row.mode} "
        facts += f"| {row.million_parameters:.2f} | {row.giga_macs:.1f} "
        if row.milliseconds is None:
            lines.append(f"{facts}| did not run: {row.note} | | | |")
            continue
        base = first[row.size, row.mode]
        ratio = f"{base / row.milliseconds:.2f}" if base else ""
        lines.append(
            f"{facts}| {row.milliseconds:.1f} | {row.spread:.1f} | {row.milliseconds / row.giga_macs:.2f} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], path: str) -> None:
    """Write a picture of milliseconds against MACs, a line for each model and mode through its sizes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    for model, mode in dict.fromkeys((row.model, row.mode) for row in rows):
        points = [r for r in rows if (r.model, r.mode) == (model, mode) and r.milliseconds is not None]
        if points:
            axes.plot(
                *([r.giga_macs for r in points], [r.milliseconds for r in points]), "o-", label=f"{model}, {mode}"
            )
    axes.set(xscale="log", yscale="log", xlabel="GMACs of one image", ylabel="milliseconds, median")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def _runner(network, size, mode, precision, threads, folder, num_classes) -> Callable[[], Any]:
    """A function without arguments that does once what is to be timed."""
    image = street_scene(*size)
    if mode in ("dygraph", "training"):
        x = paddle.to_tensor((image.astype("float32") / 127.5 - 1).transpose(2, 0, 1)[None])  # (1, 3, H, W)
        return (lambda: _forward(network, x)) if mode == "dygraph" else (lambda: _step(network, x, num_classes))
    if not os.path.exists(folder):
        op = "logits" if hasattr(network, "low_resolution_logits") else "argmax"
        network.eval()
        export_model(network, folder, Preprocessing(), input_shape=[1, 3, *size], output_op=op)
    predictor = Predictor(folder, "cpu", mode, precision, threads)
    verification = predictor.verify()
    if not verification.passed:
        raise InputError(f"its output is not the golden one: {verification}")
    return lambda: predictor.predict(image)


def _forward(network: paddle.nn.Layer, x: paddle.Tensor) -> None:
    network.eval()
    with paddle.no_grad():
        network(x)[0].numpy()


def _step(network: paddle.nn.Layer, x: paddle.Tensor, num_classes: int) -> None:
    network.train()
    label = (x.mean(axis=1) * 1e3).astype("int64") % num_classes  # (1, H, W), as varied as the image
    losses = [paddle.nn.functional.cross_entropy(logits, label, axis=1) for logits in network(x)]
    sum(losses).backward()
    network.clear_gradients()


def _literal(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text
