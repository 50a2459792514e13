"""deploy.yaml as lists, dictionaries and scalars: a bounded part of YAML, read the same in Python and C++.

PyYAML parses the file; what its events stand for is decided here and in ``deploy/cpp/src/document.cpp``, the twin on
yaml-cpp, so no file can make PyYAML construct an object:

- UTF-8 of printable characters without tabs; one document; text has no line breaks
- no anchors, aliases, tags, directives and block text (``|`` and ``>``)
- keys are scalars, taken as they are written, and occur once
- a scalar without quotes is null, true, false, a decimal whole number or a decimal number with a point; all others are
  text, also dates
"""

import re
from typing import Any, Dict, List, Optional, Union

import yaml

from .errors import InputError, quote

MAX_BYTES = 1 << 20
MAX_DEPTH = 32  #: lists and mappings inside each other
MAX_VALUES = 50_000
MAX_PLAIN = 100  #: characters, of a scalar that is not text

Value = Union[None, bool, int, float, str, List[Any], Dict[str, Any]]

# Also without the characters that break lines, change the direction of text or mark the order of bytes.
_UNPRINTABLE = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"([-+]?(0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Dict[str, Optional[bool]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_document(path: str) -> Value:
    """The contents of the YAML file ``path``, a regular file.

    Raises:
        InputError: it cannot be read, exceeds a limit, or is not the part of YAML that is described above.
    """
    text = _read_text(path)
    builder = _Builder(path, text)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.add(event)
    except InputError:
        raise
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line if e.problem_mark else builder.line
        raise _not_yaml(path, line, e.problem or "no reason") from e
    except (yaml.YAMLError, ValueError, OverflowError) as e:  # of escapes beyond Unicode, for one
        raise _not_yaml(path, builder.line, str(e)) from e
    return builder.root


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as f:
            data = f.read(MAX_BYTES + 1)
    except OSError as e:
        raise InputError(f"cannot read {path} ({e.strerror}); check its permissions") from e
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} has more than {MAX_BYTES} bytes, the most that is read; export the model again")
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        raise _damaged(path, data.count(b"\n", 0, e.start), "UTF-8", "other bytes") from e
    for number, line in enumerate(text.split("\n")):
        _check_printable(path, number, line)
        if line.startswith("%"):
            raise _damaged(path, number, "no directives", "'%' at the beginning of a line")
    return text


def _damaged(path: str, line: int, expected: str, found: str) -> InputError:
    return InputError(
        f"{path} is damaged (line {line + 1}): expected {expected}, got {found}; copy it again or export the model "
        "again"
    )


def _not_yaml(path: str, line: int, problem: str) -> InputError:
    return _damaged(path, line, "YAML", f"an error of its parser ({quote(problem)})")


def _check_printable(path: str, line: int, text: str) -> None:
    found = _UNPRINTABLE.search(text)
    if found:
        raise _damaged(path, line, "printable characters and no tabs", f"U+{ord(found[0]):04X}")


class _Builder:
    """Builds the value of a document from the parser's events; each failure names the line."""

    def __init__(self, path: str, text: str):
        self.path, self.text = path, text
        self.root: Value = None
        self.open: List[Any] = []  # the lists and mappings that the next value is inside
        self.keys: List[Optional[str]] = []  # of each of them the key of the next value; None before a key
        self.line = self.values = self.documents = 0

    def add(self, event: yaml.Event) -> None:
        mark = event.start_mark
        assert mark is not None
        self.line = mark.line
        first = self.text[mark.index : mark.index + 1]
        if first in ("&", "*", "!", "|", ">"):
            raise self._error("a value without anchors, aliases, tags and block text", f"'{first}'")
        if isinstance(event, yaml.DocumentStartEvent):
            self._start_document()
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start({} if isinstance(event, yaml.MappingStartEvent) else [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()
            self.keys.pop()
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event.value, plain=event.style is None)

    def _start_document(self) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self._error("one document", "another")

    def _start(self, collection: Union[List[Any], Dict[str, Any]]) -> None:
        self._count()
        if self._before_key():
            raise self._error("keys that are text", f"a {'list' if isinstance(collection, list) else 'mapping'}")
        if len(self.open) == MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} lists and mappings inside each other", "more")
        self._place(collection)
        self.open.append(collection)
        self.keys.append(None)

    def _scalar(self, text: str, plain: bool) -> None:
        self._count()
        _check_printable(self.path, self.line, text)
        value = _plain_value(text) if plain else text
        if not self._before_key():
            self._place(value)
        elif value is None:
            raise self._error("keys that are text", "null")
        elif text in self.open[-1]:
            raise self._error("every key once", f"'{text[:40]}' again")
        else:
            self.keys[-1] = text

    def _before_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1], dict) and self.keys[-1] is None

    def _place(self, value: Value) -> None:
        if not self.open:
            self.root = value
        elif isinstance(self.open[-1], list):
            self.open[-1].append(value)
        else:
            self.open[-1][self.keys[-1]] = value
            self.keys[-1] = None

    def _count(self) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(f"at most {MAX_VALUES} values", "more")

    def _error(self, expected: str, found: str) -> InputError:
        return _damaged(self.path, self.line, expected, found)


def _plain_value(text: str) -> Value:
    """What a scalar without quotes stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_PLAIN:
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
