"""A reader of pickles that can do nothing but put plain values and arrays together.

A pickle is a program. Python's own unpickler imports whatever the program names, calls it and sets its attributes,
and a subclass of it can restrict the names alone. This one is an interpreter of the few instructions that tensors
need. A name stands for one of the functions below or is refused. Only those functions are called, no attribute is
ever set, and each function checks the types of what it is given. Keys of dicts are texts and integers, so that no
container is hashed; all work is counted (:mod:`.limits`).
"""

import struct
from typing import IO, Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .limits import NESTING, Budget, quote

_MAX_DIMENSIONS = 32  # NumPy's
_MAX_NAME = 256  # bytes of the name of a global
_MAX_INT = 16  # bytes
_HASHED_ALIKE = (1 << 61) - 1  # integers that differ by this have the same hash


class Storage:
    """Flat data shared by PyTorch tensors; filled when its bytes have been read."""

    __slots__ = ("data", "dtype", "length")

    def __init__(self, dtype: str, length: int):
        self.dtype = dtype
        self.length = length
        self.data: Optional[NDArray[Any]] = None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.length * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)

    def fill(self, raw: bytes, budget: Budget) -> None:
        if len(raw) != self.size:
            raise ValueError(f"a storage of {self.size} bytes holds {len(raw)}")
        if self.dtype == "bfloat16":
            self.data = widen_bfloat16(np.frombuffer(raw, "<u2"), budget)
        else:
            self.data = np.frombuffer(raw, self.dtype)


class Tensor:
    """A strided view of a storage, as ``torch._utils._rebuild_tensor_v2`` makes it."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: Storage, offset: int, shape: Tuple[int, ...], strides: Tuple[int, ...]):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, budget: Budget) -> NDArray[Any]:
        whole = self.storage.data
        if whole is None:
            raise ValueError("a storage without data")
        count = _product(self.shape)
        # Offset and strides come from the file: one that reaches outside its storage would read foreign memory.
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides))
        if count > len(whole) or (count and last >= len(whole)):
            raise ValueError("a tensor that reaches outside its storage")
        if count == 0:
            return np.zeros(self.shape, whole.dtype)
        strides = [step * whole.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(whole[self.offset :], self.shape, strides)
        return in_c_order(view, budget)


class _Dtype:
    """``numpy.dtype``: numbers and booleans only. Its state, which holds the byte order, is set once."""

    __slots__ = ("code", "order")

    def __init__(self, code: str):
        self.code, self.order = code, ""

    def build(self, state: Any, budget: Budget) -> None:
        if self.order or type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("a number type with a wrong state")
        self.order = state[1]


class _Array:
    """``numpy.ndarray``, whose state (version, shape, dtype, is_fortran, bytes) is set once."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Optional[NDArray[Any]] = None

    def build(self, state: Any, budget: Budget) -> None:
        if self.value is not None or type(state) is not tuple or len(state) != 5:
            raise ValueError("an array with a wrong state")
        _, shape, dtype, fortran, raw = state
        if type(dtype) is not _Dtype or type(fortran) not in (bool, int):
            raise ValueError("an array with a wrong state")
        data = np.frombuffer(_raw_bytes(raw, budget), dtype.order + dtype.code)
        if _product(_sizes(shape)) != len(data):
            raise ValueError("an array whose shape does not match its data")
        self.value = in_c_order(data.reshape(shape, order="F" if fortran else "C"), budget)

    def array(self, budget: Budget) -> NDArray[Any]:
        if self.value is None:
            raise ValueError("an array without data")
        return self.value


class _Function:
    """What the name of a function stands for."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]):
        self.call = call


class _StorageType:
    """What the name of a storage class stands for."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str):
        self.dtype = dtype


def widen_bfloat16(bits: NDArray[Any], budget: Optional[Budget] = None) -> NDArray[Any]:
    """bfloat16 bit patterns (uint16) -> float32; bfloat16 is float32's upper half."""
    if budget is not None:
        budget.memory(4 * bits.size)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def in_c_order(array: NDArray[Any], budget: Budget) -> NDArray[Any]:
    """The array itself where it is contiguous, else a copy."""
    if not array.flags.c_contiguous:
        budget.memory(array.nbytes)
    return np.asarray(array, order="C")


def _ordered_dict(budget: Budget, pairs: Any = ()) -> Dict[Any, Any]:
    budget.steps(len(_list(pairs)))
    result: Dict[Any, Any] = {}
    for pair in pairs:
        if len(_list(pair)) != 2:
            raise ValueError("a dict of something other than pairs")
        result[_key(pair[0])] = pair[1]
    return result


def _tuple(budget: Budget, values: Any = ()) -> Tuple[Any, ...]:
    budget.steps(len(_list(values)))
    return tuple(values)


def _no_bytes(budget: Budget) -> bytes:
    return b""  # how protocol 2 spells them


def _encode(budget: Budget, text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an unknown encoding")
    return _raw_bytes(text, budget)  # how protocol 2 spells bytes


def _dtype(budget: Budget, code: Any, *unused: Any) -> _Dtype:
    if code not in ("b1", "u1", "u2", "i1", "i2", "i4", "i8", "f2", "f4", "f8"):
        raise ValueError(f"arrays of type {_kind(code)}, which are not weights")
    return _Dtype(code)


def _empty_array(budget: Budget, *unused: Any) -> _Array:
    return _Array()


def _scalar(budget: Budget, dtype: Any, raw: Any) -> Union[bool, int, float]:
    if type(dtype) is not _Dtype:
        raise ValueError("a number without a type")
    (value,) = np.frombuffer(_raw_bytes(raw, budget), dtype.order + dtype.code).tolist()
    return value  # type: ignore[no-any-return]


def _tensor(budget: Budget, storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> Tensor:
    if type(storage) is not Storage or not _is_count(offset) or len(_sizes(shape)) != len(_sizes(strides)):
        raise ValueError("a tensor that reaches outside its storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(budget: Budget, tensor: Any, *unused: Any) -> Tensor:
    if type(tensor) is not Tensor:
        raise ValueError(f"a parameter made of a {_kind(tensor)}")
    return tensor


_GLOBALS: Dict[Tuple[str, str], Union[_Function, _StorageType]] = {
    ("collections", "OrderedDict"): _Function(_ordered_dict),
    ("builtins", "tuple"): _Function(_tuple),
    ("__builtin__", "tuple"): _Function(_tuple),
    ("builtins", "bytes"): _Function(_no_bytes),
    ("__builtin__", "bytes"): _Function(_no_bytes),
    ("_codecs", "encode"): _Function(_encode),
    ("numpy", "ndarray"): _Function(_empty_array),
    ("numpy", "dtype"): _Function(_dtype),
    ("numpy.core.multiarray", "_reconstruct"): _Function(_empty_array),
    ("numpy._core.multiarray", "_reconstruct"): _Function(_empty_array),
    ("numpy.core.multiarray", "scalar"): _Function(_scalar),
    ("numpy._core.multiarray", "scalar"): _Function(_scalar),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    ("torch", "BFloat16Storage"): _StorageType("bfloat16"),
    ("torch", "HalfStorage"): _StorageType("<f2"),
    ("torch", "FloatStorage"): _StorageType("<f4"),
    ("torch", "DoubleStorage"): _StorageType("<f8"),
    ("torch", "CharStorage"): _StorageType("<i1"),
    ("torch", "ShortStorage"): _StorageType("<i2"),
    ("torch", "IntStorage"): _StorageType("<i4"),
    ("torch", "LongStorage"): _StorageType("<i8"),
    ("torch", "ByteStorage"): _StorageType("<u1"),
    ("torch", "BoolStorage"): _StorageType("|b1"),
}


class Source:
    """Bytes of a file up to a known end. A length that the file states is compared with what is left of it first."""

    def __init__(self, file: IO[bytes], size: int):
        self._file, self._left = file, size

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        if not 0 <= count <= self._left:
            raise EOFError(f"{count} bytes were expected where {self._left} are left")
        self._left -= count
        data = self._file.read(count)
        if len(data) != count:
            raise EOFError(f"{count} bytes were expected, {len(data)} came")
        return data

    def line(self) -> str:
        """A short line of text, without its end."""
        data = self._file.readline(min(_MAX_NAME, self._left))
        if not data.endswith(b"\n"):
            raise ValueError("a name that does not end")
        self._left -= len(data)
        return data[:-1].decode()


class Unpickler:
    """Reads one pickle from ``source``.

    Attributes:
        storages: PyTorch's storages by key, still to be filled.
    """

    def __init__(self, source: Source, budget: Budget):
        self._source, self._budget = source, budget
        self._stack: List[Any] = []
        self._marked: List[List[Any]] = []  # the stacks below each mark
        self._memo: Dict[int, Any] = {}
        self.storages: Dict[str, Storage] = {}

    def load(self) -> Any:
        """The value that the pickle describes: plain values, lists, tuples and dicts; :meth:`plain` finishes it.

        Raises:
            InputError: it asks for something that no tensor needs, or exceeds a limit.
            Exception: anything that a damaged file provokes; the caller adds the file's name.
        """
        while True:
            self._budget.steps(1)
            code = self._source.take(1)
            if code == b".":
                return self._stack.pop()
            if code not in _INSTRUCTIONS:
                raise ValueError(f"an unknown instruction {code!r}")
            _INSTRUCTIONS[code](self)

    def plain(self, value: Any, depth: int = 0) -> Any:
        """``value``, with an array in place of each array or tensor.

        A container that occurs twice is copied twice, so this is counted too.
        """
        self._budget.steps(2)
        if depth > NESTING:
            raise InputError(f"expected at most {NESTING} containers inside each other, got more")
        kind = type(value)
        if kind is dict:
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if kind in (list, tuple):
            return kind([self.plain(item, depth + 1) for item in value])
        if kind in (_Array, Tensor):
            return value.array(self._budget)
        if kind in (bool, int, float, str, bytes, type(None)):
            return value
        raise InputError(f"it holds a {_kind(value)} where a value was expected")

    def _unsigned(self, count: int) -> int:
        return int.from_bytes(self._source.take(count), "little")

    def _signed(self, count: int) -> int:
        if count > _MAX_INT:
            raise ValueError(f"an integer of {count} bytes")
        return int.from_bytes(self._source.take(count), "little", signed=True)

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        return self._stack.pop()

    def _text(self, count: int) -> None:
        self._push(self._source.take(count).decode("utf-8", "surrogatepass"))

    def _old_text(self, count: int) -> None:
        self._push(self._source.take(count).decode("latin1"))

    def _bytes(self, count: int) -> None:
        self._push(self._source.take(count))

    def _float(self) -> None:
        self._push(struct.unpack(">d", self._source.take(8))[0])

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> List[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _tuple_of(self, count: int) -> None:
        if count > len(self._stack):
            raise ValueError("a tuple of more values than there are")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push(items)

    def _remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _recall(self, index: int) -> None:
        self._push(self._memo[index])

    def _append(self, items: List[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise ValueError(f"values are appended to a {_kind(self._stack[-1])}")
        self._stack[-1].extend(items)

    def _set(self, items: List[Any]) -> None:
        if type(self._stack[-1]) is not dict or len(items) % 2:
            raise ValueError(f"entries are set in a {_kind(self._stack[-1])}")
        for key, value in zip(items[::2], items[1::2]):
            self._stack[-1][_key(key)] = value

    def _set_one(self) -> None:
        items = self._stack[-2:]
        del self._stack[-2:]
        self._set(items)

    def _dict(self) -> None:
        items = self._pop_mark()
        self._push({})
        self._set(items)

    def _global(self, module: Any, name: Any) -> None:
        known = _GLOBALS.get((module, name)) if type(module) is str and type(name) is str else None
        if known is None:
            raise InputError(
                f"it asks for {quote(_kind(module))}.{quote(_kind(name))}, which no tensor needs, and was not "
                "executed; save the weights alone where it was made: torch.save(model.state_dict(), path)"
            )
        self._push(known)

    def _stacked_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) is not _Function or type(arguments) is not tuple:
            raise InputError(f"it calls a {_kind(function)}, which no tensor needs, and was not executed")
        self._push(function.call(self._budget, *arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._stack[-1]
        if type(target) in (_Array, _Dtype):
            target.build(state, self._budget)
        elif type(target) is not dict:  # a dict's attributes, such as PyTorch's _metadata, are ignored
            raise InputError(
                f"it sets attributes of a {_kind(target)}, which no tensor needs, and was not executed; save the "
                "weights alone where it was made"
            )

    def _storage(self) -> None:
        pid = self._pop()
        if (
            type(pid) is not tuple
            or not 5 <= len(pid) <= 6
            or pid[0] != "storage"
            or any(v is not None for v in pid[5:])
        ):
            raise ValueError("an unknown reference")
        kind, key, length = pid[1], pid[2], pid[4]
        if type(kind) is not _StorageType or type(key) is not str or not _is_count(length):
            raise ValueError("a storage with a wrong description")
        storage = self.storages.setdefault(key, Storage(kind.dtype, length))
        if (storage.dtype, storage.length) != (kind.dtype, length):
            raise ValueError("a storage with two descriptions")
        self._push(storage)


_INSTRUCTIONS: Dict[bytes, Callable[[Unpickler], Any]] = {
    b"\x80": lambda u: u._unsigned(1),  # protocol
    b"\x95": lambda u: u._unsigned(8),  # frame
    b"N": lambda u: u._push(None),
    b"\x88": lambda u: u._push(True),
    b"\x89": lambda u: u._push(False),
    b"J": lambda u: u._push(u._signed(4)),
    b"K": lambda u: u._push(u._unsigned(1)),
    b"M": lambda u: u._push(u._unsigned(2)),
    b"\x8a": lambda u: u._push(u._signed(u._unsigned(1))),
    b"\x8b": lambda u: u._push(u._signed(u._unsigned(4))),
    b"G": Unpickler._float,
    b"\x8c": lambda u: u._text(u._unsigned(1)),
    b"X": lambda u: u._text(u._unsigned(4)),
    b"\x8d": lambda u: u._text(u._unsigned(8)),
    b"U": lambda u: u._old_text(u._unsigned(1)),
    b"T": lambda u: u._old_text(u._unsigned(4)),
    b"C": lambda u: u._bytes(u._unsigned(1)),
    b"B": lambda u: u._bytes(u._unsigned(4)),
    b"\x8e": lambda u: u._bytes(u._unsigned(8)),
    b"(": Unpickler._mark,
    b"0": Unpickler._pop,
    b"1": Unpickler._pop_mark,
    b")": lambda u: u._push(()),
    b"t": lambda u: u._push(tuple(u._pop_mark())),
    b"\x85": lambda u: u._tuple_of(1),
    b"\x86": lambda u: u._tuple_of(2),
    b"\x87": lambda u: u._tuple_of(3),
    b"]": lambda u: u._push([]),
    b"l": lambda u: u._push(u._pop_mark()),
    b"a": lambda u: u._append([u._pop()]),
    b"e": lambda u: u._append(u._pop_mark()),
    b"}": lambda u: u._push({}),
    b"d": Unpickler._dict,
    b"s": Unpickler._set_one,
    b"u": lambda u: u._set(u._pop_mark()),
    b"q": lambda u: u._remember(u._unsigned(1)),
    b"r": lambda u: u._remember(u._unsigned(4)),
    b"\x94": lambda u: u._remember(len(u._memo)),
    b"h": lambda u: u._recall(u._unsigned(1)),
    b"j": lambda u: u._recall(u._unsigned(4)),
    b"c": lambda u: u._global(u._source.line(), u._source.line()),
    b"\x93": Unpickler._stacked_global,
    b"R": Unpickler._call,
    b"b": Unpickler._build,
    b"Q": Unpickler._storage,
}


def _key(value: Any) -> Union[str, int]:
    """A key of a dict. Others could be costly to hash: tuples inside each other, integers that all hash alike."""
    if type(value) is str or (type(value) is int and abs(value) < _HASHED_ALIKE):
        return value  # type: ignore[no-any-return]
    raise InputError(f"it has a {_kind(value)} as the key of a dict, where a text or a number was expected")


def _kind(value: Any) -> str:
    """A value of a pickle for a message: never its contents, which may be endless, unless it is a text."""
    return quote(value) if type(value) is str else type(value).__name__.strip("_").lower()


def _list(value: Any) -> Union[List[Any], Tuple[Any, ...]]:
    if type(value) not in (list, tuple):
        raise ValueError(f"a {_kind(value)} where a list was expected")
    return value  # type: ignore[no-any-return]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _sizes(value: Any) -> Tuple[int, ...]:
    """A shape or strides."""
    if type(value) is not tuple or len(value) > _MAX_DIMENSIONS or not all(map(_is_count, value)):
        raise ValueError("a shape or strides of something other than sizes: it reaches outside its storage")
    return value


def _product(sizes: Tuple[int, ...]) -> int:
    return int(np.prod(sizes, dtype=object))


def _raw_bytes(value: Any, budget: Budget) -> bytes:
    """The bytes of an array; a text holds them in latin1."""
    if type(value) is str:
        budget.memory(len(value))
        return value.encode("latin1")
    if type(value) is not bytes:
        raise ValueError(f"a {_kind(value)} where the bytes of an array were expected")
    return value
