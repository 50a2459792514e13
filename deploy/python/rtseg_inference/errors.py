"""The exceptions for errors that the user can fix, and pieces of their messages."""

import re
from typing import Sequence

SHOWN = 5  # names in a message
_LONG_WORD = 300  # characters; a path may be long, a value that was given by mistake may be longer


class InputError(ValueError):
    """Something in the input cannot be used.

    The message is one sentence: what was expected, what was found and how to fix it. The command prints it without a
    traceback and exits with status 2; in Python it is an ordinary ``ValueError``.
    """


class NotInstalled(InputError):
    """A backend's package, or the form of the model that it runs, is not there: nothing was tried."""


class Remark(UserWarning):
    """A warning about what the user chose, in one sentence; commands print it as one line."""


def first_line(error: Exception) -> str:
    """The line of a Paddle error that says what happened, out of pages of C++ frames.

    It begins with the kind of error, such as ``(Unimplemented)`` or, for json programs, ``UnimplementedError:``.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error: " in line or line.startswith("(")]
    return (telling or lines or [type(error).__name__])[0][:200]


def quote(text: object, most: int = 100) -> str:
    """``text`` from outside for a message: on one line, printable, and of at most ``most`` characters and "..."."""
    line = "".join(c if c.isprintable() else "?" for c in str(text)[: most + 1])
    return line if len(line) <= most else line[:most] + "..."


def listed(names: Sequence[str]) -> str:
    """The count and the first few of the names."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{more})"


def shortened(message: str) -> str:
    """A message with the middle of its very long words left out, such as a value quoted in it."""
    return re.sub(rf"\S{{{_LONG_WORD},}}", lambda word: f"{word[0][:100]}...{word[0][-100:]}", message)
