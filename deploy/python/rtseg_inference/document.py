"""deploy.yaml as lists, dictionaries and scalars: a small part of YAML, read without a library and within limits.

Libraries for YAML differ in what they accept and in the time and memory that a hostile file takes. This reader and its
twin in C++, ``deploy/cpp/src/document.cpp``, accept the same files and read the same from them, which is what any YAML
1.1 or 1.2 reader reads:

- UTF-8 of printable characters without tabs; one document, which may begin with ``---``; comments
- mappings and lists in block and flow style; keys are scalars of one line and occur once
- scalars without quotes, in single and in double quotes, also over several lines without empty ones between them

There are no anchors, aliases, tags, directives, block scalars (``|`` and ``>``) and ``?`` keys. A scalar without quotes
is null, true, false, a decimal whole number or a decimal number with a point; all others are text, also dates.
"""

import re
from typing import Any, Dict, List, Optional, Union

from .errors import InputError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32  #: lists and mappings inside each other
MAX_VALUES = 50_000
MAX_KEY = 1000  #: bytes; the specification says 1024 characters
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
_FLOW = ",[]{}?"  # what ends a scalar without quotes in flow style
_NOT_FIRST = _FLOW + ":#&*!|>'\"%@`"  # what such a scalar does not begin with
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", " ": " ", "_": "\xa0"}
_CODE_POINT = {"x": 2, "u": 4, "U": 8}  # hexadecimal digits


def read_document(path: str) -> Value:
    """The contents of the YAML file ``path``, a regular file.

    Raises:
        InputError: it cannot be read, exceeds a limit, or is not the part of YAML that is described above.
    """
    return _Reader(path).document()


class _Reader:
    """Reads one file from its first character to its last; each failure names the line."""

    def __init__(self, path: str):
        self.path, self.at, self.depth, self.values = path, 0, 0, 0
        self.text = ""
        self.text = self._load()

    def document(self) -> Value:
        if self.text.startswith("---\n"):
            self.at = 4
        self._skip_blank()
        value = None if self._ended() else self._block(-1)
        self._skip_blank()
        if not self._ended():
            raise self._error("the end of the file")
        return value

    # --- Characters

    def _load(self) -> str:
        try:
            with open(self.path, "rb") as f:
                data = f.read(MAX_BYTES + 1)
        except OSError as e:
            raise InputError(f"cannot read {self.path} ({e.strerror}); check its permissions") from e
        if len(data) > MAX_BYTES:
            raise InputError(
                f"{self.path} has more than {MAX_BYTES} bytes, the most that is read; export the model again"
            )
        try:
            text = data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as e:
            raise self._damaged(data.count(b"\n", 0, e.start), "UTF-8", "other bytes") from e
        for number, line in enumerate(text.split("\n")):
            found = _UNPRINTABLE.search(line)
            if found:
                raise self._unprintable(number, ord(found[0]))
        return text

    def _damaged(self, line: int, expected: str, found: str) -> InputError:
        return InputError(
            f"{self.path} is damaged (line {line + 1}): expected {expected}, got {found}; copy it again or export the "
            "model again"
        )

    def _unprintable(self, line: int, code: int) -> InputError:
        return self._damaged(line, "printable characters and no tabs", f"U+{code:04X}")

    def _error(self, expected: str, found: Optional[str] = None) -> InputError:
        """What is wrong at the place that is read; ``found`` unless it is the next character."""
        if found is None:
            character = self._peek()
            found = {"": "the end of the file", "\n": "the end of the line"}.get(character, f"'{character}'")
        return self._damaged(self.text.count("\n", 0, self.at), expected, found)

    def _peek(self, ahead: int = 0) -> str:
        """The next character, or the one ``ahead`` of it; empty at the end."""
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _ended(self) -> bool:
        return self.at == len(self.text)

    def _column(self) -> int:
        return self.at - self.text.rfind("\n", 0, self.at) - 1

    def _skip_spaces(self) -> None:
        while self._peek() == " ":
            self.at += 1

    def _skip_rest_of_line(self) -> bool:
        """Skip spaces and a comment; return whether the line or the file ends after them."""
        self._skip_spaces()
        if self._peek() == "#" and (self.at == 0 or self.text[self.at - 1] in " \n"):
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
        return self._peek() in ("", "\n")

    def _skip_blank(self) -> None:
        """Skip spaces, comments and ends of lines."""
        while self._skip_rest_of_line() and not self._ended():
            self.at += 1

    def _next_line_is_blank(self) -> bool:
        """Whether nothing follows in the line after this one's end, at which the reader is."""
        end = self.at + 1
        while self.text[end : end + 1] == " ":
            end += 1
        return self.text[end : end + 1] in ("", "\n")

    # --- Block style

    def _block(self, parent: int) -> Value:
        """The list, mapping or scalar that begins here, deeper than the column ``parent``."""
        if self._is_item():
            return self._block_list()
        return self._inline(parent) if self._colon(flow=False) < 0 else self._block_mapping()

    def _is_item(self) -> bool:
        return self._peek() == "-" and self._peek(1) in ("", " ", "\n")

    def _block_list(self) -> Value:
        items: List[Value] = []
        column = self._column()
        self._open()
        while self._column() == column and self._is_item():
            self.at += 1
            items.append(self._block_value(column, in_mapping=False))
            self._skip_blank()
        self._close(column)
        return items

    def _block_mapping(self) -> Value:
        items: Dict[str, Value] = {}
        column = self._column()
        self._open()
        while self._column() == column and not self._ended() and not self._is_item():
            key = self._key(items, flow=False)
            items[key] = self._block_value(column, in_mapping=True)
            self._skip_blank()
        self._close(column)
        return items

    def _block_value(self, column: int, in_mapping: bool) -> Value:
        """What follows the "-" or the colon of a list or a mapping at ``column``, in its line or in deeper ones."""
        if not self._skip_rest_of_line():
            return self._inline(column) if in_mapping else self._block(column)
        self._skip_blank()
        found = -1 if self._ended() else self._column()
        if found > column or (found == column and in_mapping and self._is_item()):
            return self._block(column)
        return self._null()

    def _inline(self, parent: int) -> Value:
        """A scalar or a value in flow style, with which its line ends."""
        value = self._flow_value() if self._peek() in ("[", "{") else self._scalar(parent)
        if not self._skip_rest_of_line():
            raise self._error("the end of the line")
        return value

    # --- Flow style

    def _flow_value(self) -> Value:
        if self._peek() == "[":
            return self._flow_list()
        return self._flow_mapping() if self._peek() == "{" else self._scalar(None)

    def _flow_list(self) -> Value:
        items: List[Value] = []
        self._open()
        self._next_in_flow()
        while self._peek() != "]":
            items.append(self._flow_value())
            self._end_item("]")
        self._close(None)
        return items

    def _flow_mapping(self) -> Value:
        items: Dict[str, Value] = {}
        self._open()
        self._next_in_flow()
        while self._peek() != "}":
            key = self._key(items, flow=True)
            self._skip_flow_blank()
            items[key] = self._null() if self._peek() in (",", "}") else self._flow_value()
            self._end_item("}")
        self._close(None)
        return items

    def _next_in_flow(self) -> None:
        """Go on behind the next character."""
        self.at += 1
        self._skip_flow_blank()

    def _end_item(self, end: str) -> None:
        self._skip_flow_blank()
        if self._peek() == ",":
            self._next_in_flow()
        elif self._peek() != end:
            raise self._error(f"',' or '{end}'")

    def _skip_flow_blank(self) -> None:
        self._skip_blank()
        if self._column() == 0:
            raise self._error("a line that begins with a space")

    # --- Both styles

    def _open(self) -> None:
        """Begin a list or a mapping."""
        self._count()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} lists and mappings inside each other", "more")

    def _close(self, column: Optional[int]) -> None:
        """End a list or a mapping: in block style at ``column``, or else with a bracket."""
        self.depth -= 1
        if column is None:
            self.at += 1
        elif self._column() > column and not self._ended():
            raise self._error(f"{column} spaces at the beginning of the line", "more")

    def _count(self) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(f"at most {MAX_VALUES} values", "more")

    def _null(self) -> Value:
        self._count()
        return None

    def _colon(self, flow: bool) -> int:
        """Where the colon after the key is that begins here; -1 if none does."""
        if self._peek() in ("'", '"'):
            end = self._quoted_end()
        else:
            end = self._plain_end(flow) if self._begins_plain(flow) else -1
        while self.text[end : end + 1] == " ":
            end += 1
        is_colon = end > self.at and self.text[end : end + 1] == ":" and self.text[end + 1 : end + 2] in ("", " ", "\n")
        return end if is_colon else -1

    def _key(self, items: Dict[str, Value], flow: bool) -> str:
        """A key that ``items`` has not, and its colon."""
        colon = self._colon(flow)
        if colon < 0:
            raise self._error("a key with a colon")
        if len(self.text[self.at : colon].encode()) > MAX_KEY:
            raise self._error(f"keys of at most {MAX_KEY} bytes", "more")
        quoted = self._peek() in ("'", '"')
        key = self._quoted() if quoted else self._plain_line(flow)
        if not quoted and plain_value(key) is None:
            raise self._error("keys that are text", "null")
        if key in items:
            raise self._error("every key once", f"'{key[:40]}' again")
        self._count()
        self.at = colon + 1
        return key

    def _scalar(self, parent: Optional[int]) -> Value:
        """A scalar, whose other lines are deeper than the column ``parent``; of None in flow style."""
        self._count()
        if self._peek() in ("'", '"'):
            return self._quoted()
        return plain_value(self._plain(parent))

    def _plain(self, parent: Optional[int]) -> str:
        """A scalar without quotes, its lines joined by spaces."""
        lines = [self._plain_line(parent is None)]
        while self._peek() == "\n" and not self._next_line_is_blank():
            start = self.at
            self.at += 1
            self._skip_spaces()
            deeper = self._column() > max(0, -1 if parent is None else parent)
            if not deeper or self._peek() == "#" or (parent is None and self._peek() in _FLOW + ":"):
                self.at = start
                break
            lines.append(self._plain_line(parent is None))
        return " ".join(lines)

    def _plain_line(self, flow: bool) -> str:
        end = self._plain_end(flow)
        if not self._begins_plain(flow) or end == self.at:
            raise self._error("a value without anchors, aliases and tags")
        line = self.text[self.at : end]
        self.at = end
        self._skip_spaces()
        return line

    def _begins_plain(self, flow: bool) -> bool:
        """Whether a scalar without quotes may begin with the next characters."""
        if not flow and self._peek() in (":", "?"):
            return self._peek(1) not in ("", " ", "\n")
        marks_document = self.text.startswith(("---", "..."), self.at)
        return self._peek() not in ("", " ", "\n", *_NOT_FIRST) and not self._is_item() and not marks_document

    def _plain_end(self, flow: bool) -> int:
        """Where the scalar without quotes ends in this line, without spaces after it."""
        text, end = self.text, self.at
        while end < len(text) and text[end] != "\n":
            if flow and text[end] in _FLOW:
                break
            if text[end] == ":" and (text[end + 1 : end + 2] in ("", " ", "\n") or (flow and text[end + 1] in _FLOW)):
                break
            if text[end] == "#" and end > 0 and text[end - 1] == " ":
                break
            end += 1
        while end > self.at and text[end - 1] == " ":
            end -= 1
        return end

    def _quoted_end(self) -> int:
        """Where the quoted scalar ends in this line; -1 if it ends in another."""
        quote, end = self._peek(), self.at + 1
        while self.text[end : end + 1] not in ("", "\n"):
            if self.text[end] == quote and (quote == '"' or self.text[end + 1 : end + 2] != quote):
                return end + 1
            end += 2 if self.text[end] in ("\\" if quote == '"' else quote) else 1
        return -1

    def _quoted(self) -> str:
        """A scalar in quotes, its lines joined by spaces."""
        quote = self._peek()
        self.at += 1
        pieces: List[str] = []
        while True:
            character = self._peek()
            if character == "":
                raise self._error(f"a closing {quote}")
            if character in (" ", "\n"):
                pieces.append(self._spaces())
            elif character == "\\" and quote == '"':
                pieces.append(self._escape())
            elif character != quote:
                pieces.append(character)
                self.at += 1
            elif quote == "'" and self._peek(1) == quote:
                pieces.append(quote)
                self.at += 2
            else:
                self.at += 1
                return "".join(pieces)

    def _spaces(self) -> str:
        """The spaces here in a quoted scalar; one if they end the line."""
        start = self.at
        self._skip_spaces()
        if self._peek() != "\n":
            return self.text[start : self.at]
        self._next_line()
        return " "

    def _next_line(self) -> None:
        """Go to the first character of the next line of a quoted scalar."""
        self.at += 1
        if self._peek() != " ":
            raise self._error("a line that begins with a space")
        self._skip_spaces()
        if self._peek() in ("", "\n"):
            raise self._error("text in each line")

    def _escape(self) -> str:
        """What a backslash and the characters after it stand for."""
        code = self._peek(1)
        if code == "\n":
            self.at += 1
            self._next_line()
            return ""
        digits = self.text[self.at + 2 : self.at + 2 + _CODE_POINT.get(code, 0)]
        if code in _ESCAPES:
            self.at += 2
            return _ESCAPES[code]
        if code not in _CODE_POINT or not re.fullmatch(f"[0-9a-fA-F]{{{_CODE_POINT[code]}}}", digits):
            raise self._error('a backslash before one of " \\ / _ x u U or a space', "another")
        number = int(digits, 16)
        if number > 0x10FFFF or _UNPRINTABLE.match(chr(number)):
            raise self._unprintable(self.text.count("\n", 0, self.at), number)
        self.at += 2 + len(digits)
        return chr(number)


def plain_value(text: str) -> Value:
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
