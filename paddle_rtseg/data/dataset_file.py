"""One YAML file that describes a dataset of one's own: where its lists are, and what its classes are called.

::

    path: leaves                        # folder of the dataset, relative to this file
    train: train.txt                    # lists in it: a line "image label" for each pair, relative to `path`
    val: val.txt
    names: [background, leaf, rust]     # by class id
    colors: [[0, 0, 0], [0, 158, 115], [230, 159, 0]]   # optional: RGB of each class
    ignore: 255                         # optional: the label of pixels that do not count
    separator: " "                      # optional: what stands between image and label

A config's key ``data`` names such a file, and replaces the datasets of the config; see :func:`use_dataset_file`.
"""

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..config_files import nearest, read_yaml
from ..errors import InputError
from ..weights.limits import quote

KEYS = ("path", "train", "val", "names", "colors", "ignore", "separator")


@dataclass(frozen=True)
class DatasetFile:
    """A dataset as its file describes it."""

    file: str
    root: str  #: folder of the images and labels
    train: str  #: path of the list
    val: str
    names: Tuple[str, ...]
    colors: Optional[np.ndarray]  #: (num_classes, 3) uint8, RGB; None where the file names none
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
    values = _values(path, ("train", "val", "names"))
    names, colors = _names(path, values["names"]), _colors(path, values)
    root = os.path.join(os.path.dirname(path) or ".", _text(path, values, "path", ""))
    ignore = values.get("ignore", 255)
    if type(ignore) is not int or not 0 <= ignore <= 255 or ignore < len(names):
        raise InputError(
            f"expected 'ignore' in {path!r} to be a label from {len(names)} to 255 that no class has, got "
            f"{quote(ignore)}; correct it"
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
    return DatasetFile(path, root, lists["train"], lists["val"], names, colors, ignore, separator)


def read_classes(path: str) -> Tuple[Tuple[str, ...], Optional[np.ndarray]]:
    """Names and colours of a dataset file, which needs no lists for this.

    Returns:
        The names, and (num_classes, 3) uint8 RGB, or None where the file has no colours.

    Raises:
        InputError: no such file, not YAML, an unknown key, no names, or a value of another form.
    """
    values = _values(path, ("names",))
    return _names(path, values["names"]), _colors(path, values)


def use_dataset_file(config: Dict[str, Any]) -> None:
    """Replace a config's datasets by those of the file that its key ``data`` names; their transforms stay.

    The model gets the number of classes, and losses get the ignored label. A config without the key stays as it is.

    Raises:
        InputError: see :func:`read_dataset_file`.
    """
    if config.get("data") is None:
        return
    if not isinstance(config["data"], str):
        raise InputError(f"expected 'data' to be the path of a dataset file, got {quote(config['data'])!r}; correct it")
    found = read_dataset_file(config["data"])
    for mode in ("train", "val"):
        transforms = (config.get(f"{mode}_dataset") or {}).get("transforms", [])
        config[f"{mode}_dataset"] = {**found.as_config(mode), "transforms": transforms}
    config.setdefault("model", {})["num_classes"] = len(found.names)
    losses = config.get("loss", {}).get("types")
    for loss in losses if isinstance(losses, list) else []:
        if found.ignore != 255 and isinstance(loss, dict):
            loss["ignore_index"] = found.ignore


def _values(path: str, needed: Sequence[str]) -> Dict[Any, Any]:
    values = read_yaml(path)
    for key in values:
        if key not in KEYS:
            raise InputError(f"{path!r} has an unknown key {quote(key)!r}; {nearest(key, KEYS)}")
    for key in needed:
        if key not in values:
            raise InputError(f"expected a key '{key}' in {path!r}, got none; add it")
    return values


def _text(path: str, values: Dict[Any, Any], key: str, default: str = "") -> str:
    value = values.get(key, default)
    if not isinstance(value, str) or (not value and value != default):
        raise InputError(f"expected '{key}' in {path!r} to be text, got {quote(value)!r}; correct it")
    return value


def _names(path: str, value: Any) -> Tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name.strip() for name in value):
        raise InputError(
            f"expected 'names' in {path!r} to be a list of texts, one for each class, got {quote(value)!r}; put quotes "
            "around names such as 'no' and '1'"
        )
    if len(value) > 255:
        raise InputError(f"expected at most 255 classes in {path!r}, got {len(value)}; labels have 8 bits")
    twice = [name for name in value if value.count(name) > 1]
    if twice:
        raise InputError(f"expected 'names' in {path!r} to differ, got {quote(twice[0])!r} twice; rename one")
    return tuple(value)


def _colors(path: str, values: Dict[Any, Any]) -> Optional[np.ndarray]:
    value, names = values.get("colors"), values["names"]
    if value is None:
        return None

    def is_color(color: Any) -> bool:
        return isinstance(color, list) and len(color) == 3 and all(type(n) is int and 0 <= n <= 255 for n in color)

    colors: List[Any] = value if isinstance(value, list) else []
    if len(colors) != len(names) or not all(map(is_color, colors)):
        raise InputError(
            f"expected 'colors' in {path!r} to be {len(names)} lists of red, green and blue from 0 to 255, one per "
            "class, got other values; correct or remove it"
        )
    return np.array(colors, np.uint8)
