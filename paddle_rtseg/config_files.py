"""Config files as plain values: found by name, read with the files they are based on, and overridden by ``--opts``.

PaddleSeg reads them with a YAML loader that makes Python objects and has no bounds. Here a config is mappings, lists,
text, numbers, true, false and null, of a bounded size.
"""

import collections
import difflib
import glob
import itertools
import math
import os
import stat
import sys
from ast import literal_eval
from typing import Any, Dict, Iterator, Sequence, Set, Tuple

import yaml

from .errors import InputError
from .files import path_text
from .weights.limits import quote

#: Top-level keys of PaddleSeg's config language, 2.8 to develop.
KEYS = (
    *("batch_size", "iters", "train_dataset", "val_dataset", "model", "loss", "distill_loss", "optimizer"),
    *("lr_scheduler", "test_config", "to_static_training", "print_mem_info", "log_ranks"),
    *("uniform_output_enabled", "pdx_model_name", "hpi_config_path"),
    "data",  # ours: see data/dataset_file.py
    "teacher",  # ours: see training/distillation.py
)
#: Keys of older releases, and what replaces them.
OLD_KEYS = {"learning_rate": "lr_scheduler"}
#: Keys that only PaddleSeg's own tools read, to write folders for PaddleX.
PADDLEX_KEYS = ("uniform_output_enabled", "pdx_model_name", "hpi_config_path")

MAX_BYTES = 1 << 18  # of one file
MAX_FILES = 100
MAX_EXPANDED = 1 << 20  # values and characters of one file with its aliases expanded
MAX_DEPTH = 32

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__))
#: Where the configs lie in an installed package, and in the source tree.
_CONFIG_FOLDERS = (os.path.join(_PACKAGE_FOLDER, "configs"), os.path.join(os.path.dirname(_PACKAGE_FOLDER), "configs"))


def named_configs() -> Dict[str, str]:
    """The configs that come with this package: their paths by name, such as ``rtformer_slim_camvid_480x360``."""
    folder = next(folder for folder in _CONFIG_FOLDERS if os.path.isdir(folder))
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), "[!_]*", "*.yml")))
    return {os.path.splitext(os.path.basename(path))[0]: path for path in paths}


def find_config(config: str) -> str:
    """The path of a config: ``config`` itself if that file exists, else the bundled config of that name.

    Args:
        config: a YAML file, or the name of a bundled config, with or without ``.yml``.

    Raises:
        InputError: neither; the message suggests the nearest names.
    """
    config = path_text(config, "a config file or the name of a bundled one")
    if os.path.isfile(config):
        return config
    known = named_configs()
    name = config[: -len(".yml")] if config.endswith(".yml") else config
    if name in known:
        return known[name]
    near = difflib.get_close_matches(os.path.basename(name)[:100], known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "check --config"
    raise InputError(
        f"expected a config file or the name of a bundled one, got {quote(config)!r}, which is neither; {hint}"
    )


def read_config(path: str) -> Dict[str, Any]:
    """The values of a config file, merged with those of the files in its ``_base_`` as PaddleSeg merges them.

    Raises:
        InputError: a file is missing, is not YAML, is out of bounds, or is based on itself.
    """
    values = _with_bases(path, (), itertools.count())
    for key in OLD_KEYS.keys() & values.keys():
        note(f"{key!r} has no effect, {OLD_KEYS[key]!r} replaces it")
        del values[key]
    return values


def check_keys(values: Dict[str, Any], path: str) -> None:
    """Refuse a key that PaddleSeg's configs do not have at the top, and say which have no effect.

    Raises:
        InputError: an unknown key; the message names the nearest.
    """
    for key in values:
        if key not in KEYS:
            raise InputError(f"{path!r} has an unknown key {quote(key)!r}; {nearest(key, KEYS)}")
    for key in PADDLEX_KEYS:
        if values.get(key):
            note(f"{key!r} has no effect: only PaddleSeg's own tools write folders for PaddleX")


def override(values: Dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set the value at ``key``, such as "model.num_classes"; ``source`` names it in messages.

    Raises:
        InputError: the config has no such section, or the value is not plain.
    """
    *sections, last = key.split(".")
    for name in sections:
        values = values.get(name) if isinstance(values, dict) else None
    if not isinstance(values, dict) or not last:
        raise InputError(
            f"expected {source} to set a key in a section that the config has, got {quote(key)!r}; correct it"
        )
    values[last] = plain(value, quote(key))


def parse_option(text: str) -> Tuple[str, Any]:
    """The key and the value of "key.key=value", the value in Python's notation or YAML's.

    Raises:
        InputError: it does not have that form.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InputError(f"expected --opts KEY=VALUE, such as model.num_classes=19, got {quote(text)!r}; correct it")
    try:
        return key, literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        read = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        return key, value
    return key, read if read is None or isinstance(read, (bool, list, dict)) else value


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """A copy of ``value`` that shares nothing, with lists for tuples.

    Raises:
        InputError: something in it is not a plain value, is not finite, or is nested too deeply; ``name`` says where.
    """
    if depth > MAX_DEPTH:
        raise InputError(f"expected a config nested at most {MAX_DEPTH} deep, got more; flatten it")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"expected names as keys of {name or 'a config'}, got {quote(key)}; put it in quotes")
        return {key: plain(item, _join(name, quote(key)), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, name, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"expected a finite number for {name}, got {value}; correct it")
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise InputError(f"expected text or a number for {name}, got {type(value).__name__} {quote(value)}; correct it")
    return value


def nearest(name: Any, known: Sequence[str]) -> str:
    """A hint for somebody who wrote ``name`` where one of ``known`` is expected."""
    near = difflib.get_close_matches(quote(name), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"


def note(text: str) -> None:
    """Say in one line what in a config has no effect."""
    print(f"note: {text}", file=sys.stderr)


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _with_bases(path: str, above: Tuple[str, ...], count: Iterator[int]) -> Dict[str, Any]:
    if os.path.realpath(path) in above:
        raise InputError(f"expected a config, got {path!r}, which is based on itself; correct its _base_")
    if next(count) >= MAX_FILES:
        raise InputError(f"expected a config of at most {MAX_FILES} files, got more; merge some")
    values = read_yaml(path)
    bases = values.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"expected file names as _base_ in {path!r}, got {quote(bases)!r}; correct it")
    above = (*above, os.path.realpath(path))
    for base in bases:
        values = _merged(values, _with_bases(os.path.join(os.path.dirname(path), base), above, count))
    return values


def _merged(values: Dict[str, Any], base: Dict[str, Any]) -> Dict[str, Any]:
    """``base`` updated with ``values``, section by section, where these do not say ``_inherited_: False``."""
    values = dict(values)
    if not values.pop("_inherited_", True):
        return values
    merged = dict(base)
    for key, value in values.items():
        sections = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(value, base[key]) if sections else value
    return merged


def read_yaml(path: str) -> Dict[str, Any]:
    """The mapping in one file, without the unknown keys that only define anchors.

    Raises:
        InputError: it is missing, is not YAML, holds other values than plain ones, or is out of bounds.
    """
    try:
        loader = yaml.SafeLoader(_read_text(path))
        node = loader.get_single_node()
        aliased = _check_node(node, path)
        values = loader.construct_document(node) if node else {}
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"expected a YAML file, got {path!r} with {_one_line(e)}; correct it") from e
    if not isinstance(values, dict):
        raise InputError(f"expected keys and values in the config {path!r}, got {quote(values)!r}; correct it")
    anchors = {key.value for key, value in node.value if id(value) in aliased} - set(KEYS) if node else set()
    return plain({key: value for key, value in values.items() if key not in anchors}, "")


def _read_text(path: str) -> str:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"expected a config file, got {quote(path)!r}, which is not a regular file; correct the name"
            )
        if status.st_size > MAX_BYTES:
            raise InputError(
                f"expected a config of at most {MAX_BYTES >> 10} KiB, got {quote(path)!r} of {status.st_size} bytes; "
                "shorten it"
            )
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as e:
        raise InputError(f"expected a config in UTF-8, got {quote(path)!r}, which is not; correct it") from e
    except OSError as e:
        raise InputError(f"expected a config file that can be read, got {quote(path)!r}: {e.strerror}") from e


def _check_node(root: Any, path: str) -> Set[int]:
    """Refuse a document that is nested too deeply or large with its aliases expanded; say of keys that repeat.

    Returns:
        The ids of the nodes that occur more than once.
    """
    sizes: Dict[int, int] = {}
    aliased: Set[int] = set()

    def size(node: Any, depth: int) -> int:
        if id(node) in sizes:
            aliased.add(id(node))
            return sizes[id(node)]
        if depth > MAX_DEPTH:
            raise InputError(f"expected a config nested at most {MAX_DEPTH} deep, got more in {path!r}; flatten it")
        sizes[id(node)] = 0  # for a node that contains itself, which the depth of its values refuses
        pairs, scalar = isinstance(node, yaml.MappingNode), isinstance(node, yaml.ScalarNode)
        if pairs:
            _note_repeated(node, path)
        children = itertools.chain.from_iterable(node.value) if pairs else node.value
        total = 1 + (len(node.value) if scalar else sum(size(child, depth + 1) for child in children))
        if total > MAX_EXPANDED:
            raise InputError(
                f"expected a config of at most {MAX_EXPANDED >> 20} MiB with its aliases expanded, got more in "
                f"{path!r}; shorten it"
            )
        sizes[id(node)] = total
        return total

    if root is not None:
        size(root, 0)
    return aliased


def _note_repeated(node: Any, path: str) -> None:
    keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
    lines = {key.value: key.start_mark.line + 1 for key in keys}
    for name, count in collections.Counter(key.value for key in keys).items():
        if count > 1:
            note(f"{path}: of {count} times {quote(name)!r}, only that in line {lines[name]} counts")


def _one_line(e: BaseException) -> str:
    return quote(" ".join(str(e).split()))
