"""Reads tensors from Paddle's and PyTorch's pickle files without executing them.

A pickle is a program. Here every global that it may name is replaced by a small stand-in that only records shapes
and bytes, and any other global is refused: nothing in the file is executed, and neither framework is needed.

Layouts (taken from files that the frameworks wrote):

* Paddle ``.pdparams``: one pickled dict of arrays, or of ``(parameter name, array)`` pairs, and a table
  ``StructuredToParameterName@@``; protocols 2 and 3 cut arrays above 1 GiB into slices that
  ``UnpackBigParamInfor@@`` lists.
* PyTorch's zip: ``*/data.pkl`` names storages, whose raw bytes are in ``*/data/<key>``.
* PyTorch before 1.6: magic number, version and system information, the object, the storage keys and then each
  storage's length and bytes, all in one file.
"""

import collections
import pickle
import struct
import zipfile
from typing import IO, Any, Dict, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PADDLE_NAMES = "StructuredToParameterName@@"
_PADDLE_SLICES = "UnpackBigParamInfor@@"
# Keys under which training programs put the state when they save more than that.
_STATE_KEYS = ("state_dict", "model", "model_state_dict")


class _Storage:
    """Flat data shared by PyTorch tensors; filled when its bytes have been read."""

    def __init__(self, dtype: str, length: int):
        self.dtype = dtype
        self.length = length
        self.data: Optional[NDArray[Any]] = None

    def fill(self, raw: bytes) -> None:
        if self.dtype == "bfloat16":
            self.data = widen_bfloat16(np.frombuffer(raw, "<u2"))
        else:
            self.data = np.frombuffer(raw, self.dtype)
        if len(self.data) != self.length:
            raise ValueError(f"a storage of {self.length} elements holds {len(self.data)}")

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.length * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


class _Tensor:
    """Stand-in for ``torch._utils._rebuild_tensor_v2``: a strided view of a storage."""

    def __init__(self, storage: _Storage, offset: int, size: Tuple[int, ...], stride: Tuple[int, ...], *unused: Any):
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)

    def array(self) -> NDArray[Any]:
        count = int(np.prod(self.size, dtype=object))
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        # Strides come from the file: one that reaches outside its storage would read foreign memory.
        inside = min((self.offset, *self.size, *self.stride)) >= 0 and (count == 0 or last < self.storage.length)
        if len(self.size) != len(self.stride) or not inside or count > self.storage.length:
            raise ValueError(f"a tensor of shape {self.size} reaches outside its storage")
        whole = self.storage.data
        if whole is None:
            raise ValueError("a storage without data")
        if count == 0:
            return np.zeros(self.size, whole.dtype)
        data = whole[self.offset :]
        strides = [step * data.itemsize for step in self.stride]
        return np.asarray(np.lib.stride_tricks.as_strided(data, self.size, strides), order="C")


class _NumpyDtype:
    """Stand-in for ``numpy.dtype``: numbers and booleans only."""

    def __init__(self, code: str, *unused: Any):
        if code not in ("b1", "u1", "u2", "i1", "i2", "i4", "i8", "f2", "f4", "f8"):
            raise ValueError(f"arrays of type {code!r} are not weights")
        self.code = code

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        self.code = {"<": "<", ">": ">", "|": "|", "=": "="}[state[1]] + self.code


class _NumpyArray:
    """Stand-in for ``numpy.ndarray``, whose state is (version, shape, dtype, is_fortran, bytes)."""

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        self.value = np.frombuffer(raw, dtype.code).reshape(shape, order="F" if fortran else "C")

    def array(self) -> NDArray[Any]:
        # Paddle has no uint16: it keeps bfloat16 in NumPy's.
        return widen_bfloat16(self.value) if self.value.dtype == np.uint16 else np.asarray(self.value, order="C")


def _numpy_reconstruct(*unused: Any) -> _NumpyArray:
    return _NumpyArray()


def _parameter(tensor: _Tensor, *unused: Any) -> _Tensor:
    return tensor


def _encode(text: str, encoding: str) -> bytes:
    return text.encode({"latin1": "latin1", "latin-1": "latin1"}[encoding])  # how protocol 2 spells bytes


_GLOBALS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _NumpyArray,
    ("numpy", "dtype"): _NumpyDtype,
    ("numpy.core.multiarray", "_reconstruct"): _numpy_reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _numpy_reconstruct,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "BFloat16Storage"): "bfloat16",
    ("torch", "HalfStorage"): "<f2",
    ("torch", "FloatStorage"): "<f4",
    ("torch", "DoubleStorage"): "<f8",
    ("torch", "CharStorage"): "<i1",
    ("torch", "ShortStorage"): "<i2",
    ("torch", "IntStorage"): "<i4",
    ("torch", "LongStorage"): "<i8",
    ("torch", "ByteStorage"): "<u1",
    ("torch", "BoolStorage"): "|b1",
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows the stand-ins of ``_GLOBALS`` and nothing else."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file, encoding="latin1")
        self.storages: Dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise InputError(
                f"it asks for {module}.{name}, which no tensor needs, and was not executed; save the weights alone "
                "where it was made: torch.save(model.state_dict(), path)"
            )
        return _GLOBALS[module, name]

    def persistent_load(self, pid: Tuple[Any, ...]) -> _Storage:
        kind, dtype, key, _, length, *view = pid
        if kind != "storage" or any(view):
            raise ValueError(f"an unknown reference {pid!r}")
        return self.storages.setdefault(key, _Storage(dtype, length))


def read_pickle(file: IO[bytes]) -> Dict[str, NDArray[Any]]:
    """Names and arrays from a ``.pdparams`` file or a PyTorch file of either layout, opened for reading.

    bfloat16 is returned as float32, exactly. A state nested under ``state_dict``, ``model`` or ``model_state_dict``
    is found there.

    Raises:
        InputError: the file asks for a global that no tensor needs, or holds anything other than one state.
        Exception: anything that a damaged file provokes; the caller adds the file's name.
    """
    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        return _state(_read_zip(file))
    content = _Unpickler(file).load()
    return _state(_read_legacy(file) if content == LEGACY_MAGIC else content)


def widen_bfloat16(bits: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 bit patterns (uint16) -> float32; bfloat16 is float32's upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        root = next(n for n in archive.namelist() if n.endswith("data.pkl"))[: -len("data.pkl")]
        if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") != b"little":
            raise InputError("it was written on a big-endian machine; save it again on a little-endian one")
        with archive.open(root + "data.pkl") as pickled:
            unpickler = _Unpickler(pickled)
            content = unpickler.load()
        for key, storage in unpickler.storages.items():
            name = f"{root}data/{key}"
            if archive.getinfo(name).file_size != storage.size:  # checked before it is read: it may be compressed
                raise ValueError(f"{name} does not have the {storage.size} bytes that its tensors need")
            storage.fill(archive.read(name))
    return content


def _read_legacy(file: IO[bytes]) -> Any:
    """What follows the magic number in a file of PyTorch before 1.6."""
    for _ in ("version", "system information"):
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    content = unpickler.load()
    for key in _Unpickler(file).load():
        (length,) = struct.unpack("<q", file.read(8))
        storage = unpickler.storages[key]
        if length != storage.length:
            raise ValueError(f"a storage of {storage.length} elements announces {length}")
        storage.fill(file.read(storage.size))
    return content


def _state(content: Any) -> Dict[str, NDArray[Any]]:
    """The state inside what a file held, as plain arrays."""
    if not isinstance(content, dict):
        raise InputError(f"it holds a {type(content).__name__} where a dict of tensors was expected")
    for key in _STATE_KEYS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    slices = content.get(_PADDLE_SLICES, {})
    arrays = {k: _array(k, v) for k, v in content.items() if k not in (_PADDLE_NAMES, _PADDLE_SLICES)}
    for name, info in slices.items():
        parts = [arrays.pop(part) for part in info["slices"]]
        arrays[name] = np.concatenate(parts).reshape(info["OriginShape"])
    return arrays


def _array(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]  # Paddle's (parameter name, array)
    if not isinstance(name, str) or not isinstance(value, (_Tensor, _NumpyArray)):
        raise InputError(f"its entry {name!r} is a {type(value).__name__} where a tensor was expected")
    return value.array()
