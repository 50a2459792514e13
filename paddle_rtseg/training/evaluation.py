"""What an evaluation shows besides its mean IoU: a table of the classes, and in training, files in ``evaluation/``.

=================  ==================================================================================
``results.csv``    a row for each evaluation: step, network, mean IoU, accuracy, and the IoU of each class
``curves.png``     the mean IoU and the loss over the steps
``confusion.png``  which class was taken for which, in percent of the labelled pixels of a class
``examples.jpg``   validation pictures: image, label, prediction, error
=================  ==================================================================================
"""

import csv
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np
import paddle
from rtseg_inference import drawing
from rtseg_inference.images import read_image
from rtseg_inference.progress import Line

from ..data.scores import confusion_matrix, mean_in_words
from ..errors import InputError
from ..files import atomic_path, make_folder

FOLDER = "evaluation"
EXAMPLES = 6
EXAMPLE_WIDTH = 320
MAX_NAMED = 40  # classes in the picture of the confusion matrix


@dataclass
class Display:
    """How the evaluations of a dataset are shown; a dataset has it as its attribute ``display``."""

    names: Sequence[str]  #: of the classes, or the keypoints
    palette: np.ndarray  #: (num_classes, 3) uint8, RGB; of no use for keypoints
    folder: Optional[str] = None  #: where the files go; None for none
    steps: Iterator[Tuple[int, str]] = field(default_factory=lambda: iter(()))  #: step and network, in turn


#: (step, loss) as the training loop logs them.
losses: List[Tuple[int, float]] = []


def record_loss(step: int, loss: float) -> None:
    """Called by PaddleSeg's ``train`` with each loss that it logs."""
    losses.append((step, float(loss)))


class ProgressBar:
    """In place of PaddleSeg's class of that name.

    Args:
        target: number of batches that this process evaluates, of one image each.
        verbose: has no effect.
    """

    def __init__(self, target: int, verbose: int = 1):
        self._processes = paddle.distributed.get_world_size()
        self._line = Line(target * self._processes, "evaluation")

    def update(self, current: int, values: Any = None) -> None:
        """Count a batch; ``values`` are not shown."""
        self._line.step(self._processes)
        if self._line.done == self._line.total:
            self._line.clear()


class Watch:
    """Collects what one run of PaddleSeg's ``evaluate`` predicts.

    Args:
        dataset: the evaluated dataset; its :class:`Display` is its attribute ``display``.
    """

    def __init__(self, dataset: Any):
        self._dataset = dataset
        self._display: Optional[Display] = getattr(dataset, "display", None)
        # Each process sees a part only, so files are written by one that evaluates alone.
        alone = paddle.distributed.get_world_size() == 1
        self._folder = self._display.folder if self._display and alone else None
        self._confusion = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
        count = min(EXAMPLES, len(dataset)) if self._folder else 0
        self._wanted = {int(i) for i in np.linspace(0, len(dataset) - 1, count)}
        self._examples: List[Tuple[int, np.ndarray, np.ndarray]] = []
        self._seen = 0

    def add(self, predictions: paddle.Tensor, labels: paddle.Tensor) -> None:
        """(B, 1, H, W) class ids of the next images of the dataset, and their labels."""
        if predictions.shape[1] != 1:  # several labels for a pixel, which no class id can stand for
            self._folder = None
        if self._folder is None:
            return
        for mask, label in zip(predictions.numpy()[:, 0], labels.numpy()[:, 0]):
            self._confusion += confusion_matrix(label, mask, len(self._confusion), self._dataset.ignore_index)
            if self._seen in self._wanted:
                self._examples.append((self._seen, label, mask))
            self._seen += 1

    def finish(
        self,
        mean: float,
        accuracy: float,
        scores: Dict[str, np.ndarray],
        correct: paddle.Tensor,
        predicted: paddle.Tensor,
        labelled: paddle.Tensor,
    ) -> str:
        """A table of the classes; in training, the files are written too.

        Args:
            mean, accuracy: as PaddleSeg computes them.
            scores: (num_classes,) each: the IoU, the precision and the recall, as PaddleSeg computes them.
            correct, predicted, labelled: (num_classes,) pixels of each class.
        """
        count = len(self._confusion)
        names = self._display.names if self._display else [str(i) for i in range(count)]
        absent_as = float(scores["IoU"][(predicted + labelled).numpy() == 0].max(initial=0.0))
        scores = defined(scores, *(pixels.numpy() for pixels in (correct, predicted, labelled)))
        if self._folder is not None and self._display is not None:
            self._write(names, mean, accuracy, scores["IoU"])
        return table(names, scores, labelled.numpy(), absent_as)

    def _write(self, names: Sequence[str], mean: float, accuracy: float, iou: np.ndarray) -> None:
        step, network, folder, prefix = begin(self._display)
        rows = add_row(os.path.join(folder, "results.csv"), names, (step, network, mean, accuracy, *iou))
        save_curves(os.path.join(folder, "curves.png"), rows)
        save_confusion(os.path.join(folder, f"{prefix}confusion.png"), self._confusion, names)
        self._save_examples(os.path.join(folder, f"{prefix}examples.jpg"))

    def _save_examples(self, path: str) -> None:
        colours = np.zeros((256, 3), np.uint8)  # ignored pixels stay black
        colours[: len(self._display.palette)] = self._display.palette[:256, ::-1]
        rows = []
        for index, label, mask in self._examples:
            image = read_image(self._dataset.file_list[index][0])
            wrong = (label != mask) & (label != self._dataset.ignore_index)
            error = np.where(wrong[..., None], np.uint8((60, 60, 230)), np.uint8((235, 235, 235)))
            pictures = [image, *(colours[np.clip(ids, 0, 255)] for ids in (label, mask)), error]
            size = (EXAMPLE_WIDTH, max(1, round(label.shape[0] * EXAMPLE_WIDTH / label.shape[1])))
            rows.append(np.hstack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]))
        if rows:
            titles = title_strip(("image", "label", "prediction", "error"), EXAMPLE_WIDTH)
            save_image(path, np.vstack([titles, *rows]))


def begin(display: Display) -> Tuple[int, str, str, str]:
    """Step and network of the next evaluation, the folder of its files, and what their names begin with."""
    step, network = next(display.steps, (0, "model"))
    return (
        step,
        network,
        make_folder(os.path.join(display.folder or ".", FOLDER)),
        "" if network == "model" else f"{network}_",
    )


def steps_of_evaluations(start: int, interval: int, total: int, networks: Sequence[str]) -> Iterator[Tuple[int, str]]:
    """Step and network of each evaluation of a training that goes on after step ``start``."""
    for step in range((start // interval + 1) * interval, total + interval, interval):
        for network in networks:
            yield min(step, total), network


def defined(
    scores: Dict[str, np.ndarray], correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray
) -> Dict[str, np.ndarray]:
    """The scores, NaN where they are a ratio to no pixels, which PaddleSeg takes for 0 or 1."""
    pixels = {"IoU": predicted + labelled - correct, "precision": predicted, "recall": labelled}
    return {name: np.where(pixels[name] > 0, values, np.nan) for name, values in scores.items()}


def table(names: Sequence[str], scores: Dict[str, np.ndarray], pixels: np.ndarray, absent_as: float) -> str:
    """A line for each class: its scores in percent, and its share of the labelled pixels.

    Args:
        scores: (num_classes,) each; NaN for one that is not defined.
        pixels: (num_classes,) labelled pixels.
        absent_as: what a class without an IoU counts as in the mean.
    """
    width = max(5, *map(len, names))
    lines = [f"{'class':{width}}" + "".join(f"{title:>11}" for title in (*scores, "pixels"))]
    for i, name in enumerate(names):
        columns = [f"{'-':>11}" if np.isnan(values[i]) else f"{100 * values[i]:11.2f}" for values in scores.values()]
        lines.append(f"{name:{width}}" + "".join(columns) + f"{pixels[i] / max(1, pixels.sum()):11.3%}")
    if any(np.isnan(values).any() for values in scores.values()):
        lines.append(f"-: not defined; {mean_in_words(scores['IoU'], absent_as)}")
    return "\n".join(lines)


def add_row(
    path: str, names: Sequence[str], row: Sequence[Any], figures: Sequence[str] = ("mean_iou", "accuracy")
) -> List[List[str]]:
    """Add an evaluation to ``results.csv``, and return its rows; a later one of the same step and network replaces it.

    Args:
        names: of the classes, or the keypoints.
        row: step, network, ``figures``, and a figure for each of ``names``.
        figures: titles of the columns before ``names``.

    Raises:
        InputError: the file is of a training with other classes or figures.
    """
    head = ["step", "network", *figures, *names]
    rows: List[List[str]] = []
    if os.path.exists(path):
        with open(path, newline="", encoding="utf-8") as file:
            found, *rows = list(csv.reader(file)) or [[]]
        if found != head:
            raise InputError(
                f"expected results of {', '.join(names)[:60]} in {path!r}, got others; use another --save_dir"
            )
    new = [f"{value:.6f}" if isinstance(value, (float, np.floating)) else str(value) for value in row]
    rows = [old for old in rows if old[:2] != new[:2]] + [new]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return rows


def save_curves(path: str, rows: Sequence[Sequence[str]], score: str = "mean IoU") -> None:
    """The first figure of each network, and the loss, over the steps."""
    figure = _figure(8, 4.5)
    axes = figure.add_subplot()
    for network in sorted({row[1] for row in rows}):
        points = [(int(row[0]), 100 * float(row[2])) for row in rows if row[1] == network]
        axes.plot(*zip(*points), marker="o", label=f"{score}, {network}")
    axes.set(xlabel="step", ylabel=f"{score}, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    lines, titles = axes.get_legend_handles_labels()
    if losses:
        right = axes.twinx()
        right.plot(*zip(*losses), color="0.6", linewidth=1, label="training loss")
        right.set(ylabel="training loss", ylim=(0, None))
        lines, titles = lines + right.lines, [*titles, "training loss"]
    axes.legend(lines, titles, loc="lower right")
    _save_figure(path, figure)


def save_confusion(path: str, confusion: np.ndarray, names: Sequence[str]) -> None:
    """The confusion matrix in percent of each class's labelled pixels, for up to ``MAX_NAMED`` classes."""
    confusion, names = confusion[:MAX_NAMED, :MAX_NAMED], names[:MAX_NAMED]
    share = 100 * confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    side = 2.5 + 0.45 * len(names)
    figure = _figure(side + 1, side)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="prediction", ylabel="label")
    axes.set_xticklabels(names, rotation=90)
    axes.set_yticklabels(names)
    for row, values in enumerate(share):
        for column, value in enumerate(values):
            if value >= 0.5:
                shade = "white" if value > 50 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=shade, fontsize=8)
    _save_figure(path, figure)


def title_strip(words: Sequence[str], width: int) -> np.ndarray:
    """(24, width * N, 3) uint8: words in columns of ``width`` pixels."""
    texts = [(word, i * width) for i, word in enumerate(words)]
    return drawing.text_strip(texts, width * len(words), unit=14, height=24)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # without pyplot, which would choose a window system

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _save_figure(path: str, figure: Any) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def save_image(path: str, image: np.ndarray) -> None:
    """Write an image atomically.

    Raises:
        InputError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        if not cv2.imwrite(temporary, image):
            raise InputError(f"expected to write {path!r}, which failed; check the disk")
