"""Weights in and out of files, and strictly into a model."""

import gzip
import io
import pickle
import re
import struct
import tarfile
from typing import BinaryIO, Dict, Iterable, Mapping, Optional, Sequence, Union

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import InputError
from ..files import atomic_path
from . import released
from .download import fetch, is_url
from .pickles import read_pickle, widen_bfloat16

#: A model's state without a framework: parameter and buffer names, and their values.
State = Dict[str, np.ndarray]

# fmt: off
_SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}
# fmt: on


def read_state(path: str) -> State:
    """Read the weights of a ``.pdparams``, ``.pth``/``.pt`` or ``.safetensors`` file as NumPy arrays.

    The format is told by the file's contents, not by its name; ``.tar.gz`` archives with one ``.pdparams`` inside,
    as PaddleSeg publishes them, are looked into. Pickles are never executed (see :mod:`.pickles`). bfloat16 comes
    back as float32; other types as they are.

    Args:
        path: a file, ``URL#sha256=HEX`` (see :func:`.download.fetch`), or the name of weights that come with this
            package (see :mod:`.released`).

    Raises:
        InputError: no such file, not a format of these, damaged, or a pickle that asks for more than tensors.
    """
    if is_url(path):
        path = fetch(path)
    release = released.find(path)
    if release is not None:
        path = release.path
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as e:
        if e.errno is None:  # gzip's complaint about the contents, not the system's about the file
            raise _damaged(path, e) from e
        raise InputError(f"expected a file of weights, got {path!r} ({e.strerror}); check the path") from e
    except InputError as e:
        raise InputError(f"{path} cannot be used: {e}") from e
    except Exception as e:  # hostile and truncated files make unpicklers raise anything at all
        raise _damaged(path, e) from e


def save_state(state: Mapping[str, np.ndarray], path: str, metadata: Optional[Dict[str, str]] = None) -> None:
    """Write ``state`` as ``.safetensors`` or as ``.pdparams`` (which ``paddle.load`` reads), whole or not at all.

    ``metadata`` goes into the head of a ``.safetensors``.

    Raises:
        InputError: another extension, metadata for a ``.pdparams``, or a folder that cannot be written.
    """
    if metadata and not path.endswith(".safetensors"):
        raise InputError(f"expected a name that ends in .safetensors, with room for metadata, got {path!r}; change it")
    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    if path.endswith(".safetensors"):
        with atomic_path(path) as temporary:
            safetensors.numpy.save_file(arrays, temporary, metadata)
    elif path.endswith(".pdparams"):
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            pickle.dump(arrays, file, protocol=4)
    else:
        raise InputError(f"expected a name that ends in .safetensors or .pdparams, got {path!r}; change the extension")


def load_weights(model, weights: Union[str, Mapping[str, np.ndarray]], skip: Sequence[str] = ()) -> None:
    """Put weights into a Paddle model; every name and shape must fit.

    Args:
        model: a ``paddle.nn.Layer``.
        weights: what :func:`read_state` reads, or a state (arrays or tensors by name).
        skip: names of parameters or of whole layers that keep their present values, for example ``["head.classifier"]``
            when the number of classes differs. Each must exist in the model or in the weights.

    Raises:
        InputError: a name missing from the weights or unknown to the model, another shape, a ``skip`` without match.
    """
    state = read_state(weights) if isinstance(weights, str) else dict(weights)
    source = f"the weights in {weights}" if isinstance(weights, str) else "the weights"
    own = model.state_dict()
    for name in skip:
        if not any(_is_within(key, name) for key in (*own, *state)):
            raise InputError(
                f"skip names {name!r}, which neither {type(model).__name__} nor {source} has; correct or drop it"
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
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise InputError(
            f"{source} do not fit {type(model).__name__}: {'; '.join(problems)}; build the variant and the number of "
            "classes that they were made for, convert them (python -m paddle_rtseg.convert), or leave parts out "
            "with `skip`"
        )

    import paddle  # here, so that files can be read and converted without it

    for name, tensor in own.items():
        tensor.set_value(paddle.to_tensor(np.asarray(state[name])).astype(tensor.dtype))


def _read(file: BinaryIO) -> State:
    start = file.read(9)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        unpacked = io.BytesIO(gzip.decompress(file.read()))  # to its end, where gzip's checksum is
        with tarfile.open(fileobj=unpacked) as archive:
            inside = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".pdparams")]
            if len(inside) != 1:
                raise InputError(f"expected an archive with one .pdparams file, got {len(inside)}; unpack it")
            return _read(archive.extractfile(inside[0]))
    if start[:2] == b"PK" or re.match(rb"\x80[\x02-\x05]", start):
        return read_pickle(file)
    if len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < 1 << 30:
        return {name: _from_safetensors(entry) for name, entry in safetensors.deserialize(file.read())}
    raise InputError("expected a .pdparams, .pth, .pt or .safetensors file, got something else; check the path")


def _from_safetensors(entry: dict) -> np.ndarray:
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        raise InputError(f"it holds a tensor of type {entry['dtype']}; save it in 16 or 32 bits")
    array = np.frombuffer(entry["data"], _SAFETENSORS_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return widen_bfloat16(array) if entry["dtype"] == "BF16" else array


def _damaged(path: str, error: Exception) -> InputError:
    return InputError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); fetch or save it again")


def _is_within(key: str, name: str) -> bool:
    return key == name or key.startswith(name + ".")


def shorten(names: Iterable[str]) -> str:
    """The first names of a list that may be long, for a message."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
