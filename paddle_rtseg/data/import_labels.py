"""Labels of other forms as PaddleSeg's: PNG files of class ids, lists of pairs, and a dataset file that names both."""

import os
import random
from collections import Counter
from typing import Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union
from typing import Counter as CounterOf

import numpy as np
import yaml
from rtseg_inference.files import write_image

from ..errors import InputError
from ..files import atomic_path, new_folder, partial_folder
from ..weights.limits import quote
from .annotations import Coco, ColourMasks, Drawn, Labelme
from .dataset_file import read_classes

DATASET_FILE = "dataset.yml"

Source = Union[Labelme, Coco, ColourMasks]


class Outcome(NamedTuple):
    """What was imported."""

    dataset_file: str
    names: List[str]
    train: int  #: number of pairs
    val: int
    pixels: np.ndarray  #: of each class
    defects: List[str]  #: a sentence for each image that was left out
    remarks: CounterOf[str]

    def __str__(self) -> str:
        total = max(1, self.pixels.sum())
        lines = [f"{self.train} pairs to train with and {self.val} to validate with, described by {self.dataset_file}"]
        lines += [
            f"  {i:3} {name:<24} " + (f"{self.pixels[i] / total:8.3%}" if self.pixels[i] else "never occurs")
            for i, name in enumerate(self.names)
        ]
        lines += [f"  {remark}: {count} times" for remark, count in self.remarks.items()]
        lines += [f"left out {defect}" for defect in self.defects]
        return "\n".join(lines)


def open_source(
    form: str,
    path: str,
    images: Optional[str] = None,
    names: Optional[Sequence[str]] = None,
    data: Optional[str] = None,
    suffix: str = "",
    nearest: bool = False,
) -> Tuple[Source, Optional[np.ndarray]]:
    """The labels at ``path``, and the colours of their classes if those are known.

    Args:
        form: "labelme", "coco", "colours" or "binary".
        path: folder of JSON files or masks, or COCO's JSON file.
        images: folder of the images, which all forms except Labelme need.
        suffix, nearest: see :class:`.annotations.ColourMasks`, for the forms "colours" and "binary".
        names: the classes by id.
        data: dataset file with names and colours, for masks in colours.

    Raises:
        InputError: a setting that the form needs is missing, or that it cannot use is given, or there are no labels.
    """
    if names is not None and len(set(names)) < len(names):
        raise InputError("expected --names that differ, got one of them twice; correct them")
    if form != "colours" and data is not None:
        raise InputError(f"expected --data with --format colours only, got it with {form}; leave it out")
    if form not in ("colours", "binary") and (suffix or nearest):
        raise InputError(f"expected --suffix and --nearest with masks only, got one with --format {form}; leave it out")
    if form == "labelme":
        return Labelme(path, names, images), None
    if images is None:
        raise InputError(f"expected --images FOLDER with --format {form}, got none; name the folder of the images")
    if form == "coco":
        return Coco(path, images, names), None
    if form == "binary":
        if names is not None and len(names) != 2:
            raise InputError(f"expected two --names for black and white, got {len(names)}; correct them")
        return ColourMasks(images, path, None, names or ("background", "object"), suffix, nearest), None
    if data is None:
        raise InputError(
            "expected --data FILE with the names and colours of the masks, got none; see the documentation"
        )
    names, colours = read_classes(data)
    if colours is None or len({tuple(colour) for colour in colours.tolist()}) < len(names):
        got = "none" if colours is None else "one that occurs twice"
        raise InputError(f"expected a key 'colors' in {data!r} with a colour for each class, got {got}; correct it")
    return ColourMasks(images, path, colours, names, suffix, nearest), colours


def import_labels(
    source: Source,
    save_dir: str,
    val: float = 0.2,
    seed: int = 0,
    colours: Optional[np.ndarray] = None,
    progress: Callable[[Iterable[Drawn]], Iterable[Drawn]] = iter,
) -> Outcome:
    """Write ``labels/NAME.png``, ``train.txt``, ``val.txt`` and ``dataset.yml``; the images stay where they are.

    Args:
        source: the images and their labels.
        save_dir: created if missing; it must not hold a dataset file yet.
        val: share of the pairs to validate with, at least one.
        seed: decides which those are.
        colours: (num_classes, 3) uint8 RGB, written to the dataset file.
        progress: wraps the iteration over the images.

    Raises:
        InputError: there are fewer than two usable pairs, or the folder cannot be written.
    """
    for name in (DATASET_FILE, "labels"):
        if os.path.exists(os.path.join(save_dir, name)):
            raise InputError(f"expected a folder without {name}, got {save_dir!r}; choose another --save_dir")
    if not 0 < val < 1:
        raise InputError(f"expected --val between 0 and 1, got {val}; it is the share of the images to validate with")
    with new_folder(save_dir), partial_folder(save_dir) as partial:
        pairs, pixels, defects, remarks = _write_labels(source, progress(source), save_dir, partial)
        if len(pairs) < 2:
            raise InputError(
                f"expected at least two images with labels, got {len(pairs)}"
                + (f"; the first that was left out: {defects[0]}" if defects else "; check --input")
            )
        if (pixels > 0).sum() < 2:
            only = source.names[int(pixels.argmax())]
            left_out = f" ({', '.join(remarks)})" if remarks else ""
            raise InputError(
                f"expected labels of two classes or more, got only {only!r} in {len(pairs)} images{left_out}; label "
                "more, or check --names and --data"
            )
        os.rename(os.path.join(partial, "labels"), os.path.join(save_dir, "labels"))
    random.Random(seed).shuffle(pairs)
    count = min(len(pairs) - 1, max(1, round(val * len(pairs))))
    separator = " " if not any(" " in name for pair in pairs for name in pair) else "\t"
    for name, part in (("val", pairs[:count]), ("train", pairs[count:])):
        _write_text(os.path.join(save_dir, f"{name}.txt"), "".join(f"{separator.join(p)}\n" for p in sorted(part)))
    content = {"path": ".", "train": "train.txt", "val": "val.txt", "names": source.names}
    if colours is not None:
        content["colors"] = colours.tolist()
    if separator != " ":
        content["separator"] = separator
    path = os.path.join(save_dir, DATASET_FILE)
    _write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None))
    return Outcome(path, source.names, len(pairs) - count, count, pixels, defects, remarks)


def _write_labels(
    source: Source, images: Iterable[Drawn], save_dir: str, partial: str
) -> Tuple[List[Tuple[str, str]], np.ndarray, List[str], CounterOf[str]]:
    pairs: List[Tuple[str, str]] = []
    pixels = np.zeros(256, np.int64)
    defects: List[str] = []
    remarks: CounterOf[str] = Counter()
    for drawn in images:
        if drawn.label is None:
            defects.append(f"{quote(drawn.image)}: {drawn.defect}")
            continue
        label = os.path.join("labels", source.images[drawn.image] + ".png")
        write_image(os.path.join(partial, label), drawn.label)
        pixels += np.bincount(drawn.label.ravel(), minlength=256)
        remarks.update(drawn.remarks)
        pairs.append((os.path.relpath(drawn.image, save_dir), label))
    return pairs, pixels[: len(source.names)], defects, remarks


def _write_text(path: str, text: str) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
