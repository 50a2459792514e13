"""Weights in and out of files, and strictly into a model."""

import collections.abc
import contextlib
import io
import os
import pickle
import re
import stat
import struct
from typing import IO, TYPE_CHECKING, Any, Dict, Iterable, Iterator, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from ..errors import InputError
from ..files import atomic_path, path_text
from . import released
from .archives import pdparams_of_tar_gz
from .download import fetch, is_url
from .limits import SAFETENSORS_HEADER, Budget, quote
from .pickles import read_pickle
from .unpickler import widen_bfloat16

if TYPE_CHECKING:
    import paddle

Array = NDArray[Any]
#: A model's state without a framework: parameter and buffer names, and their values.
State = Dict[str, Array]
#: A path as a text or a :class:`pathlib.Path`.
Path = Union[str, "os.PathLike[str]"]
#: The same, to be read only.
Arrays = Mapping[str, Array]

# fmt: off
_SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}
# fmt: on


def read_state(path: Path) -> State:
    """Read the weights of a ``.pdparams``, ``.pth``/``.pt`` or ``.safetensors`` file as NumPy arrays.

    The contents decide the format, not the file's name. ``.tar.gz`` archives that hold one ``.pdparams``, as PaddleSeg
    publishes them, are read directly. Pickles are never executed (see :mod:`.pickles`). bfloat16 is returned as
    float32, every other type unchanged.

    Args:
        path: a file, ``URL#sha256=HEX`` (see :func:`.download.fetch`), or the name of bundled weights (see
            :mod:`.released`).

    Raises:
        InputError: no such file, an unknown format, a damaged file, or a pickle that asks for more than tensors.
    """
    path = path_text(path, "a file of weights")
    if is_url(path):
        path = fetch(path)
    release = released.find(path)
    if release is not None:
        path = release.path
    with reading(path) as (file, size, budget):
        return _read(file, size, budget)


@contextlib.contextmanager
def reading(path: str) -> Iterator[Tuple[IO[bytes], int, Budget]]:
    """Open a file of weights: the file, its size in bytes and what reading it may cost.

    Raises:
        InputError: no such file, and in place of whatever is raised while it is read.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError("it is not a regular file; check the path")
            yield file, status.st_size, Budget(status.st_size)
    except OSError as e:
        if e.errno is None:  # from gzip, about the contents; not from the system, about the file
            raise _damaged(path, e) from e
        fix = released.hint(path, "check the path")
        raise InputError(f"expected a file of weights, got {path!r} ({e.strerror}); {fix}") from e
    except InputError as e:
        raise InputError(f"{path} cannot be used: {e}") from e
    except Exception as e:  # hostile and truncated files make readers raise anything at all
        raise _damaged(path, e) from e


def save_state(state: Arrays, path: Path, metadata: Optional[Dict[str, str]] = None) -> None:
    """Write ``state`` atomically as ``.safetensors`` or as ``.pdparams`` (which ``paddle.load`` reads).

    ``metadata`` goes into the header of a ``.safetensors``.

    Raises:
        InputError: no state, another extension, metadata for a ``.pdparams``, or a file that cannot be written.
    """
    path = path_text(path, "a file to write")
    if metadata and not path.endswith(".safetensors"):
        raise InputError(f"expected a name that ends in .safetensors, which holds metadata, got {path!r}; change it")
    arrays = {name: np.asarray(array, order="C") for name, array in checked_state(state).items()}
    if path.endswith(".safetensors"):
        content = safetensors.numpy.save(arrays, metadata)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write(content)
    elif path.endswith(".pdparams"):
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            pickle.dump(arrays, file, protocol=4)
    else:
        raise InputError(f"expected a name that ends in .safetensors or .pdparams, got {path!r}; change the extension")


def checked_state(state: Any) -> Arrays:
    """``state``, which holds numbers by name.

    Raises:
        InputError: it does not.
    """
    if not isinstance(state, collections.abc.Mapping):
        raise InputError(f"expected a state, arrays by name, got {quote(repr(state))}; read_state gives one")
    for name, array in state.items():
        if not isinstance(name, str):
            raise InputError(f"expected names of arrays in a state, got {quote(repr(name))}; correct it")
        kind = getattr(getattr(array, "dtype", None), "kind", None)  # NumPy's; Paddle's tensors have none
        if kind is None and not hasattr(array, "shape"):
            kind = np.asarray(array).dtype.kind
        if kind not in (None, *"biuf"):
            raise InputError(f"expected an array of numbers as {quote(name)}, got {quote(repr(array))}; correct it")
    return state


def load_weights(model: "paddle.nn.Layer", weights: Union[Path, Mapping[str, Any]], skip: Sequence[str] = ()) -> None:
    """Load weights into a Paddle model; every name and shape must match.

    Args:
        model: a ``paddle.nn.Layer``.
        weights: what :func:`read_state` reads, or a state (arrays or tensors by name).
        skip: names of parameters or of whole layers that keep their current values, for example ``["head.classifier"]``
            when the number of classes differs. Each must exist in the model or in the weights.

    Raises:
        InputError: a name that the weights lack or the model does not know, a different shape, or a ``skip`` that
            matches nothing.
    """
    fill(
        model,
        weights if isinstance(weights, collections.abc.Mapping) else read_state(weights),
        described(weights),
        skip,
    )


def described(weights: Union[Path, Mapping[str, Any]]) -> str:
    """Weights in a message: by their file, if they come from one."""
    return f"the weights in {weights}" if isinstance(weights, (str, os.PathLike)) else "the weights"


def fill(
    model: "paddle.nn.Layer", state: Mapping[str, Any], source: str, skip: Sequence[str], option: str = "skip"
) -> None:
    """:func:`load_weights` for a state that was read from ``source``; ``option`` is what callers know as ``skip``."""
    if not hasattr(model, "state_dict"):
        raise InputError(f"expected a network, a paddle.nn.Layer, got {quote(repr(model))}; pass the network first")
    own = model.state_dict()
    state = checked_state(state)
    skip = [skip] if isinstance(skip, str) else list(map(str, skip))
    for name in skip:
        if not any(_is_within(key, name) for key in (*own, *state)):
            raise InputError(
                f"{option} names {name!r}, which neither {type(model).__name__} nor {source} has; correct or remove it"
            )
    own = {k: v for k, v in own.items() if not any(_is_within(k, name) for name in skip)}
    state = {k: v for k, v in state.items() if not any(_is_within(k, name) for name in skip)}

    shapes = [
        f"{k} (expected {list(own[k].shape)}, got {list(state[k].shape)})"
        for k in own
        if k in state and list(own[k].shape) != list(state[k].shape)
    ]
    problems = [
        f"{what} {shorten(names)}"
        for what, names in (
            ("missing", [k for k in own if k not in state]),
            ("not in the model", [k for k in state if k not in own]),
            ("with a different shape", shapes),
        )
        if names
    ]
    if problems:
        raise InputError(
            f"{source} do not fit {type(model).__name__}: {'; '.join(problems)}; build the variant and the number of "
            "classes that they were trained for, convert them (python -m paddle_rtseg.convert), or leave parts out "
            f"with `{option}`"
        )

    import paddle  # only here, so that files can be read and converted without it

    for name, tensor in own.items():
        tensor.set_value(paddle.to_tensor(np.asarray(state[name])).astype(tensor.dtype))


def _open_at_once(path: str, flags: int) -> int:
    """Opens a named pipe without waiting for somebody to write to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read(file: IO[bytes], size: int, budget: Budget) -> State:
    start = file.read(9)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        inside = pdparams_of_tar_gz(file, budget)
        return read_pickle(io.BytesIO(inside), len(inside), budget)
    if start[:2] == b"PK" or re.match(rb"\x80[\x02-\x05]", start):
        return read_pickle(file, size, budget)
    if len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < SAFETENSORS_HEADER:
        return {name: _from_safetensors(entry) for name, entry in safetensors.deserialize(file.read())}  # type: ignore[no-untyped-call]
    raise InputError("expected a .pdparams, .pth, .pt or .safetensors file, got something else; check the path")


def _from_safetensors(entry: Mapping[str, Any]) -> Array:
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        raise InputError(f"it holds a tensor of type {quote(entry['dtype'])}; save it in 16 or 32 bits")
    array = np.frombuffer(entry["data"], _SAFETENSORS_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return widen_bfloat16(array) if entry["dtype"] == "BF16" else array


def _damaged(path: str, error: Exception) -> InputError:
    return InputError(
        f"{path} is truncated or damaged ({type(error).__name__}: {quote(error)}); fetch or save it again"
    )


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith(name + ".")


def shorten(names: Iterable[str]) -> str:
    """The first names of a list that may be long, for a message."""
    names = list(names)
    return ", ".join(map(quote, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
