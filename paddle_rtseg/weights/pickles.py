"""Reads tensors from Paddle's and PyTorch's pickle files without executing them (see :mod:`.unpickler`).

Layouts (taken from files that the frameworks wrote):

* Paddle ``.pdparams``: one pickled dict of arrays, or of ``(parameter name, array)`` pairs, and a table
  ``StructuredToParameterName@@``; protocols 2 and 3 cut arrays above 1 GiB into slices that
  ``UnpackBigParamInfor@@`` lists.
* PyTorch's zip: ``*/data.pkl`` names storages, whose raw bytes are in ``*/data/<key>``.
* PyTorch before 1.6: magic number, version and system information, the object, the storage keys and then each
  storage's length and bytes, all in one file.
"""

import struct
from typing import IO, Any, Dict, Tuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .archives import open_zip, zip_member
from .limits import Budget, quote
from .unpickler import Source, Unpickler, widen_bfloat16

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
#: Key of Paddle's table of parameter names.
PADDLE_NAMES = "StructuredToParameterName@@"
_PADDLE_SLICES = "UnpackBigParamInfor@@"
# Keys under which training programs put the state when they save more than that.
_STATE_KEYS = ("state_dict", "model", "model_state_dict")


def read_pickle(file: IO[bytes], size: int, budget: Budget) -> Dict[str, NDArray[Any]]:
    """Names and arrays from a ``.pdparams`` file or a PyTorch file of either layout.

    bfloat16 is returned as float32, exactly. A state nested under ``state_dict``, ``model`` or ``model_state_dict``
    is found there.

    Args:
        file: opened for reading, at its start.
        size: of the file in bytes.
        budget: what reading it may cost.

    Raises:
        InputError: the file asks for a global that no tensor needs, holds anything other than one state, or exceeds
            the budget.
        Exception: anything that a damaged file provokes; the caller adds the file's name.
    """
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        unpickler, content = _read_zip(file, budget)
    else:
        source = Source(file, size)
        unpickler = Unpickler(source, budget)
        content = unpickler.load()
        if type(content) is int and content == LEGACY_MAGIC:
            unpickler, content = _read_legacy(source, budget)
    return _state(unpickler, content, budget)


def read_object(file: IO[bytes], size: int, budget: Budget) -> Any:
    """What ``paddle.save`` wrote: values, lists, tuples and dicts with NumPy arrays, as ``pickle.load`` returns them.

    bfloat16 stays in Paddle's form, uint16. Arguments and errors as for :func:`read_pickle`.
    """
    unpickler = Unpickler(Source(file, size), budget)
    return join_slices(unpickler.plain(unpickler.load()), budget)


def join_slices(content: Any, budget: Budget) -> Any:
    """``content``, with whole arrays in place of those that protocols 2 and 3 cut into slices."""
    if not isinstance(content, dict) or _PADDLE_SLICES not in content:
        return content
    for name, info in content.pop(_PADDLE_SLICES).items():
        parts = [content.pop(part) for part in info["slices"]]
        budget.memory(sum(part.nbytes for part in parts))
        content[name] = np.concatenate(parts).reshape(info["OriginShape"])
    return content


def _read_zip(file: IO[bytes], budget: Budget) -> Tuple[Unpickler, Any]:
    with open_zip(file) as archive:
        root = next(n for n in archive.namelist() if n.endswith("data.pkl"))[: -len("data.pkl")]
        order = root + "byteorder"
        if order in archive.namelist() and zip_member(archive, order, budget) != b"little":
            raise InputError("it was written on a big-endian machine; save it again on a little-endian one")
        pickled = archive.getinfo(root + "data.pkl")
        with archive.open(pickled) as member:
            unpickler = Unpickler(Source(member, pickled.file_size), budget)
            content = unpickler.load()
        for key, storage in unpickler.storages.items():
            name = f"{root}data/{key}"
            if archive.getinfo(name).file_size != storage.size:  # checked before it is read: it may be compressed
                raise ValueError(f"{quote(name)} does not have the {storage.size} bytes that its tensors need")
            storage.fill(zip_member(archive, name, budget), budget)
    return unpickler, content


def _read_legacy(source: Source, budget: Budget) -> Tuple[Unpickler, Any]:
    """What follows the magic number in a file of PyTorch before 1.6."""
    for _ in ("version", "system information"):
        Unpickler(source, budget).load()
    unpickler = Unpickler(source, budget)
    content = unpickler.load()
    keys = Unpickler(source, budget).load()
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError("a wrong list of storages")
    for key in keys:
        (length,) = struct.unpack("<q", source.take(8))
        storage = unpickler.storages[key]
        if length != storage.length:
            raise ValueError(f"a storage of {storage.length} elements announces {length}")
        storage.fill(source.take(storage.size), budget)
    return unpickler, content


def _state(unpickler: Unpickler, content: Any, budget: Budget) -> Dict[str, NDArray[Any]]:
    """The state inside what a file held, as plain arrays."""
    if not isinstance(content, dict):
        raise InputError(f"it holds a {type(content).__name__} where a dict of tensors was expected")
    for key in _STATE_KEYS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = join_slices(unpickler.plain({k: v for k, v in content.items() if k != PADDLE_NAMES}), budget)
    return {name: _array(name, value, budget) for name, value in state.items()}


def _array(name: Any, value: Any, budget: Budget) -> NDArray[Any]:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]  # Paddle's (parameter name, array)
    if not isinstance(name, str) or not isinstance(value, np.ndarray):
        kind = type(value).__name__
        raise InputError(f"its entry {quote(name)!r} is a {kind} where a tensor was expected")
    # Paddle has no uint16: it keeps bfloat16 in NumPy's.
    return widen_bfloat16(value, budget) if value.dtype == np.uint16 else value
