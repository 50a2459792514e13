"""Types of command-line arguments: ranges are checked while the command line is parsed."""

import argparse
import re
from typing import Callable, NoReturn, Optional, Tuple

from .errors import shortened

MOST = 10**9
MOST_THREADS = 1024
MOST_BATCH = 1024
MOST_TILE = 65500
MOST_FRAMES = 1000
MOST_MOTION = 255


class Parser(argparse.ArgumentParser):
    """Prints one sentence about a wrong command line, and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {shortened(message)}; see {self.prog} --help\n")


def whole_number(least: int = 0, most: int = MOST) -> Callable[[str], int]:
    """Argument type for a whole number from ``least`` to ``most``."""

    def parse(text: str) -> int:
        number = to_whole(text)
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text[:100]!r}")
        return number

    return parse


def number(most: int) -> Callable[[str], float]:
    """Argument type for a number from 0 to ``most``, in digits with at most one point."""

    def parse(text: str) -> float:
        digits = len(re.findall("[0-9]", text))
        if not 0 < digits <= 18 or not re.fullmatch("[0-9]*[.]?[0-9]*", text) or float(text) > most:
            raise argparse.ArgumentTypeError(f"expected a number from 0 to {most}, got {text[:100]!r}")
        return float(text)

    return parse


share = number(1)


def tile_size(text: str) -> Tuple[int, int]:
    """Argument type for a height and a width, ``512x1024``."""
    sides = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})", text)
    size = (int(sides[1]), int(sides[2])) if sides else (0, 0)
    if not 1 <= min(size) <= max(size) <= MOST_TILE:
        raise argparse.ArgumentTypeError(
            f"expected height and width from 1x1 to {MOST_TILE}x{MOST_TILE}, such as 512x1024, got {text[:100]!r}"
        )
    return size


def to_whole(text: str) -> Optional[int]:
    """A whole number of at most 18 decimal digits (0 to 9, and no others of Unicode); None for any other text."""
    return int(text) if re.fullmatch("[+-]?[0-9]{1,18}", text) else None
