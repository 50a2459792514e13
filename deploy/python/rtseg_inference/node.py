"""Values of deploy.yaml, read as the types that are expected; ``deploy/cpp/src/node.cpp`` is the same in C++."""

import re
from typing import Any, List, Optional, Tuple, TypeVar

from .errors import InputError

MAX_INT = 2**31 - 1  #: of C++'s int
MAX_NUMBER = 1e300  #: infinity and integers that no float can hold are above it
MAX_NAME = 100  #: bytes of a file's name
_SHA256 = re.compile("[0-9a-f]{64}")

Word = TypeVar("Word", bound=str)


class Node:
    """A value of the document; each failure names its file and its key in full."""

    def __init__(self, file: str, key: str, value: Any):
        self.file, self.key, self.value = file, key, value

    def error(self, expected: str) -> InputError:
        return InputError(
            f"{self.file}: expected {self.key} to be {expected}, got {shown(self.value)}; export the model again"
        )

    def __getitem__(self, name: str) -> "Node":
        """The value of a key, which may be null."""
        key = f"{self.key}.{name}" if self.key else name
        if self.key and not isinstance(self.value, dict):
            raise self.error("a mapping")
        if not isinstance(self.value, dict) or name not in self.value:
            raise InputError(f"{self.file} has no key '{key}'; it is cut short or too old: export the model again")
        return Node(self.file, key, self.value[name])

    def has(self, name: str) -> bool:
        """Whether there is such a key with another value than null."""
        if not isinstance(self.value, dict):
            raise self.error("a mapping")
        return self.value.get(name) is not None

    def items(self) -> List[Tuple["Node", "Node"]]:
        """Keys and values of a mapping."""
        if not isinstance(self.value, dict):
            raise self.error("a mapping of names")
        return [
            (Node(self.file, f"a key of {self.key}", name), Node(self.file, f"{self.key}.{name[:40]}", item))
            for name, item in self.value.items()
        ]

    def items_of_list(self, count: Optional[int] = None, what: str = "values") -> List["Node"]:
        if not isinstance(self.value, list) or count not in (None, len(self.value)):
            raise self.error("a list" if count is None else f"{count} {what}")
        return [Node(self.file, f"{self.key}[{i}]", item) for i, item in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.error("text")
        return self.value

    def file_name(self, *suffixes: str) -> str:
        """The name of a file in the contract's folder, with one of ``suffixes`` if any are given."""
        name = self.text()
        if name in (".", "..") or "/" in name or "\\" in name or len(name.encode()) > MAX_NAME:
            raise self.error(f"a file name without a folder, of at most {MAX_NAME} bytes")
        if suffixes and not name.endswith(suffixes):
            raise self.error("a file name that ends in " + " or ".join(suffixes))
        return name

    def checksum(self) -> str:
        text = self.text()
        if not _SHA256.fullmatch(text):
            raise self.error("64 hexadecimal digits")
        return text

    def choice(self, words: Tuple[Word, ...]) -> Word:
        for word in words:
            if self.value == word:
                return word
        raise self.error("one of " + ", ".join(words))

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.error("true or false")
        return self.value

    def whole(self, least: int = 1, most: int = MAX_INT) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not least <= self.value <= most:
            bounded = most < MAX_INT or (isinstance(self.value, int) and self.value > most)
            raise self.error(f"a whole number {f'from {least} to {most}' if bounded else f'of {least} or more'}")
        return self.value

    def wholes(self, count: int, least: int = 1, most: int = MAX_INT) -> List[int]:
        return [item.whole(least, most) for item in self.items_of_list(count, "whole numbers")]

    def number(
        self, least: Optional[float] = None, most: Optional[float] = None, above: Optional[float] = None
    ) -> float:
        """A finite number, within the bounds that are given."""
        value = self.value
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
        if (
            not is_number  # which NaN is not either
            or (least is not None and value < least)
            or (most is not None and value > most)
            or (above is not None and value <= above)
        ):
            if most is not None:
                raise self.error(f"a number from {least:g} to {most:g}")
            if above is not None:
                raise self.error(f"a number above {above:g}")
            raise self.error("a number" if least is None else f"a number of {least:g} or more")
        return float(value)

    def numbers(self, count: int, above: Optional[float] = None) -> List[float]:
        return [item.number(above=above) for item in self.items_of_list(count, "numbers")]


def shown(value: Any) -> str:
    """A value in a message, in one short piece whatever it is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"'{value[:40]}'"
    if isinstance(value, (int, float)):
        if value != value:
            return "NaN"
        return (
            "a number beyond 1e300" if abs(value) >= MAX_NUMBER else f"{value if abs(value) < 1e18 else float(value)}"
        )
    return f"a {type(value).__name__}"
