"""One YAML file that describes a dataset of one's own: where its lists are, and what its classes are called.

::

    path: leaves                        # folder of the dataset, relative to this file
    train: train.txt                    # lists in it: a line "image label" for each pair, relative to `path`
    val: val.txt
    names: [background, leaf, rust]     # by class id; or a mapping {0: background, 1: leaf, 2: rust}
    colors: [[0, 0, 0], [0, 158, 115], [230, 159, 0]]   # optional: RGB of each class
    ignore: 255                         # optional: the label of pixels that do not count
    separator: " "                      # optional: what stands between image and label

A config's key ``data`` names such a file, and replaces the datasets of the config; see :func:`use_dataset_file`.
"""

import difflib
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import numpy as np
import yaml

from ..errors import InputError
from .palettes import distinct_colours

KEYS = ("path", "train", "val", "names", "colors", "ignore", "separator")
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class DatasetFile:
    """A dataset as its file describes it."""

    file: str
    root: str  #: folder of the images and labels
    train: str  #: path of the list
    val: str
    names: Tuple[str, ...]
    colors: np.ndarray  #: (num_classes, 3) uint8, RGB
    ignore: int = 255
    separator: str = " "

    def as_config(self, mode: str) -> Dict[str, Any]:
        """The arguments of PaddleSeg's ``Dataset`` for mode 'train' or 'val'."""
        return {
            "type": "Dataset",
            "mode": mode,
            "dataset_root": self.root,
            f"{mode}_path": self.train if mode == "train" else self.val,
            "num_classes": len(self.names),
            "ignore_index": self.ignore,
            "separator": self.separator,
        }


def read_dataset_file(path: str) -> DatasetFile:
    """Read and check a dataset file.

    Raises:
        InputError: no such file, not YAML, an unknown or missing key, a value of another form, or a list that is not
            there.
    """
    values = _read_mapping(path)
    for key in values:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its keys are {', '.join(KEYS)}"
            raise InputError(f"{path!r} has an unknown key {str(key)[:40]!r}; {hint}")
    for key in ("train", "val", "names"):
        if key not in values:
            raise InputError(f"expected a key '{key}' in {path!r}, got none; add it")
    names = _names(path, values["names"])
    root = os.path.join(os.path.dirname(path), _text(path, values, "path", ""))
    ignore = values.get("ignore", 255)
    if type(ignore) is not int or not 0 <= ignore <= 255 or ignore < len(names):
        raise InputError(
            f"expected 'ignore' in {path!r} to be a label from {len(names)} to 255 that no class has, got "
            f"{str(ignore)[:40]}; correct it"
        )
    lists = {mode: os.path.join(root, _text(path, values, mode)) for mode in ("train", "val")}
    for mode, file in lists.items():
        if not os.path.isfile(file):
            what = "a folder" if os.path.isdir(file) else "nothing"
            raise InputError(
                f"expected '{mode}' in {path!r} to name a list of lines 'image label', got {file!r}, which is {what}; "
                "python -m paddle_rtseg.import_labels writes such lists"
            )
    separator = _text(path, values, "separator", " ")
    colors = _colors(path, values.get("colors"), names)
    return DatasetFile(path, root, lists["train"], lists["val"], names, colors, ignore, separator)


def use_dataset_file(config: Dict[str, Any]) -> None:
    """Replace a config's datasets by those of the file that its key ``data`` names; their transforms stay.

    The model gets the number of classes, and losses get the ignored label. A config without the key stays as it is.

    Raises:
        InputError: see :func:`read_dataset_file`.
    """
    if config.get("data") is None:
        return
    if not isinstance(config["data"], str):
        raise InputError(
            f"expected 'data' to be the path of a dataset file, got {str(config['data'])[:40]!r}; correct it"
        )
    found = read_dataset_file(config["data"])
    for mode in ("train", "val"):
        transforms = (config.get(f"{mode}_dataset") or {}).get("transforms", [])
        config[f"{mode}_dataset"] = {**found.as_config(mode), "transforms": transforms}
    config.setdefault("model", {})["num_classes"] = len(found.names)
    for loss in (config.get("loss") or {}).get("types", []):
        if found.ignore != 255 and isinstance(loss, dict):
            loss["ignore_index"] = found.ignore


def _read_mapping(path: str) -> Dict[Any, Any]:
    if not os.path.isfile(path):
        raise InputError(f"expected a dataset file, got {path!r}, which is not a file; check the path")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
        bounded = len(text) <= MAX_BYTES
        aliases = bounded and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader))
        values = yaml.safe_load(text) if bounded and not aliases else None
    except OSError as e:
        raise InputError(f"cannot read the dataset file {path!r} ({e.strerror}); check the path") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:  # ValueError: no UTF-8, or a date such as 2026-13-01
        reason = " ".join(str(e).split())[:100]
        raise InputError(f"expected a YAML file, got {path!r} ({reason}); correct it") from e
    if not bounded:
        raise InputError(f"expected a dataset file of at most {MAX_BYTES} characters, got {path!r}; check the path")
    if aliases:
        raise InputError(f"expected a dataset file without YAML aliases, got some in {path!r}; write the values out")
    if not isinstance(values, dict):
        raise InputError(f"expected the keys {', '.join(KEYS)} in {path!r}, got no mapping; see the documentation")
    return values


def _text(path: str, values: Dict[Any, Any], key: str, default: str = "") -> str:
    value = values.get(key, default)
    if not isinstance(value, str) or (not value and value != default):
        raise InputError(f"expected '{key}' in {path!r} to be text, got {str(value)[:40]!r}; correct it")
    return value


def _names(path: str, value: Any) -> Tuple[str, ...]:
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise InputError(
                f"expected 'names' in {path!r} to number the classes from 0 without a gap, got "
                f"{', '.join(map(str, list(value)[:5]))[:60]}; correct it"
            )
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name.strip() for name in value):
        raise InputError(
            f"expected 'names' in {path!r} to be a list of texts, one for each class, got other values; "
            "put quotes around names such as 'no' and '1'"
        )
    if len(value) > 255:
        raise InputError(f"expected at most 255 classes in {path!r}, got {len(value)}; labels have 8 bits")
    twice = sorted({name for name in value if value.count(name) > 1})
    if twice:
        raise InputError(f"expected 'names' in {path!r} to differ, got {twice[0][:40]!r} twice; rename one")
    return tuple(value)


def _colors(path: str, value: Any, names: Tuple[str, ...]) -> np.ndarray:
    if value is None:
        return distinct_colours(names)

    def is_color(color: Any) -> bool:
        return isinstance(color, list) and len(color) == 3 and all(type(n) is int and 0 <= n <= 255 for n in color)

    colors: List[Any] = value if isinstance(value, list) else []
    if len(colors) != len(names) or not all(map(is_color, colors)):
        raise InputError(
            f"expected 'colors' in {path!r} to be {len(names)} lists of red, green and blue from 0 to 255, one per "
            "class, got other values; correct or remove it"
        )
    return np.array(colors, np.uint8)
