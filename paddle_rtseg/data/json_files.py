"""JSON files that somebody else made: read within bounds, with a sentence for whatever is wrong."""

import json
import os
from typing import Any, Dict, List

from ..errors import InputError
from ..weights.limits import quote

MAX_BYTES = 1 << 28


def read_json(file: str) -> Dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: it is missing, too large, not JSON, or holds no object.
    """
    try:
        if not os.path.isfile(file):
            raise InputError(f"expected a JSON file, got {file!r}, which is not a file; check the path")
        if os.path.getsize(file) > MAX_BYTES:
            raise InputError(f"expected a JSON file of at most {MAX_BYTES >> 20} MiB, got {file!r}; split it")
        with open(file, encoding="utf-8") as f:
            content = json.load(f)
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"cannot read {file!r} ({e.strerror}); check the path") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"expected a JSON file, got {file!r} ({quote(e)}); save it again") from e
    if not isinstance(content, dict):
        raise InputError(f"expected an object in {file!r}, got {type(content).__name__}; check the file")
    return content


def list_of(content: Dict[str, Any], key: str, file: str) -> List[Any]:
    """The list at ``key``.

    Raises:
        InputError: there is none.
    """
    value = content.get(key)
    if not isinstance(value, list):
        raise InputError(f"expected a list {key!r} in {file!r}, got {quote(value)}; check the file's form")
    return value


def objects_of(content: Dict[str, Any], key: str, file: str) -> List[Dict[str, Any]]:
    """The list of objects at ``key``.

    Raises:
        InputError: there is none, or something in it is no object.
    """
    items = list_of(content, key, file)
    if not all(isinstance(item, dict) for item in items):
        raise InputError(f"expected objects in {key!r} of {file!r}, got others; save it again")
    return items
