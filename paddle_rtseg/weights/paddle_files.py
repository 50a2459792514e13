"""What ``paddle.load`` returns for a file that ``paddle.save`` wrote, read without executing it.

``paddle.load`` unpickles, so a file can make it run anything. Training resumes, and PaddleSeg loads its own models'
weights, through this instead; the values, types and names of the tensors are the same.
"""

from typing import Any, Callable, Dict

import numpy as np

from ..errors import InputError
from .limits import quote
from .pickles import PADDLE_NAMES, read_object
from .state import reading


def load(path: str) -> Any:
    """The content of a ``.pdparams``, ``.pdopt`` or ``.pdstates`` file, with Paddle tensors where it holds tensors.

    Raises:
        InputError: no such file, a damaged one, or one that asks for more than tensors and plain values.
    """
    with reading(path) as (file, size, budget):
        content = read_object(file, size, budget)
        return _with_tensors(content)


def load_state(path: str) -> Dict[str, Any]:
    """Tensors by name from a file of ``paddle.save``; entries that are not tensors are left out.

    Raises:
        InputError: as for :func:`load`, or the file does not hold a dict of tensors.
    """
    import paddle

    content = load(path)
    state = {key: value for key, value in _dict(content, path).items() if isinstance(value, paddle.Tensor)}
    if content and not state:
        raise InputError(f"expected tensors by name in {path!r}, got none; check the path")
    return state


def load_dict(path: str) -> Dict[str, Any]:
    """A dict by names, such as an optimizer's state.

    Raises:
        InputError: as for :func:`load`, or the file holds something else.
    """
    return _dict(load(path), path)


def scan(path: str) -> None:
    """Read a file to its end and drop it; errors as for :func:`load`. Needs no Paddle."""
    with reading(path) as (file, size, budget):
        read_object(file, size, budget)


def _dict(content: Any, path: str) -> Dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        kind = quote(type(content).__name__)
        raise InputError(f"expected a dict of names in {path!r}, got a {kind} of something else; check the path")
    return content


def _with_tensors(content: Any) -> Any:
    """Tensors in place of what stands for them, by the rules of ``paddle.load``.

    A state lists its tensors in a table of names. Without one, a tensor is a pair (name, array); without any such
    pair, every array is a tensor.
    """
    names = content.pop(PADDLE_NAMES, None) if isinstance(content, dict) else None
    if names is None:
        return _replace(content, _pair_to_tensor if _any_pair(content) else _array_to_tensor)
    if not isinstance(names, dict):
        raise ValueError("a table of names that is not a table")
    for key, name in names.items():
        if isinstance(content.get(key), np.ndarray):
            content[key] = _tensor(content[key], name)
    return content


def _replace(value: Any, convert: Callable[[Any], Any]) -> Any:
    converted = convert(value)
    if converted is not value:
        return converted
    if isinstance(value, dict):
        return {key: _replace(item, convert) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replace(item, convert) for item in value)
    return value


def _any_pair(value: Any) -> bool:
    if _is_pair(value):
        return True
    if isinstance(value, dict):
        value = value.values()
    return isinstance(value, (list, tuple, type({}.values()))) and any(map(_any_pair, value))


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], np.ndarray)
    )


def _pair_to_tensor(value: Any) -> Any:
    return _tensor(value[1], value[0]) if _is_pair(value) else value


def _array_to_tensor(value: Any) -> Any:
    return _tensor(value, "") if isinstance(value, np.ndarray) else value


def _tensor(array: Any, name: Any) -> Any:
    import paddle

    tensor = paddle.to_tensor(array)
    if name:
        if not isinstance(name, str):
            raise ValueError("a tensor whose name is not a text")
        tensor.name = name
    return tensor
