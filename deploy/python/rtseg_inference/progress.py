"""What long commands say: how far they are, the images that fail, and the counts in the end."""

import datetime
import sys
import time
from typing import Iterable, Iterator, TypeVar

from .errors import quote

ALL_WRITTEN, SOME_FAILED = 0, 1
NAME = 500  #: characters of a path
LONGEST = 1e9  #: seconds of an estimate

Item = TypeVar("Item")


class Line:
    """How many of a command's images are done, how many per second, and the time left (ETA), on stderr.

    A terminal shows a bar at all times; a log file gets a line a minute.

    Args:
        total: the number of images; 0 if unknown.
        title: what is done with them, before the counts in a log file.
        unit: what is counted instead of images.
    """

    WIDTH = 30
    REFRESH, IN_LOGS = 0.1, 60.0  #: seconds between two updates on a terminal, and elsewhere

    def __init__(self, total: int, title: str = "", unit: str = "images"):
        self.total, self.done, self.title, self.unit, self.start = total, 0, title, unit, time.perf_counter()
        self.on_terminal = sys.stderr.isatty()
        self._last = self.start - self.REFRESH

    def step(self, images: int = 1) -> None:
        """Count images as done."""
        self.done += images
        now = time.perf_counter()
        if now - self._last >= (self.REFRESH if self.on_terminal else self.IN_LOGS):
            self._last = now
            self.show()

    def show(self) -> None:
        """Print the line as it stands."""
        counts = f"{self.done}/{self.total or '?'}"
        if not self.on_terminal:
            print(f"{self.title or self.unit}: {counts}, {self._speed()}", file=sys.stderr, flush=True)
            return
        filled = self.WIDTH * min(self.done, self.total) // self.total if self.total else 0
        bar = "#" * filled + "." * (self.WIDTH - filled)
        print(f"\r[{bar}] {counts} {self._speed()}\033[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the bar from a terminal, before something else is printed."""
        if self.on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _speed(self) -> str:
        elapsed = time.perf_counter() - self.start
        eta = f", ETA {time_left(self.done, self.total, elapsed)}" if self.done < self.total else ""
        slow = self.done > 0 and elapsed > 10 * self.done
        speed = f"{elapsed / self.done:.0f} s each" if slow else f"{self.done / elapsed:.1f} {self.unit}/s"
        return speed + eta


def time_left(done: int, total: int, seconds: float) -> str:
    """Such as "0:01:30", if as many of the steps as are ``done`` took that many seconds."""
    left = seconds * min(total - done, LONGEST) / done
    return str(datetime.timedelta(seconds=round(min(left, LONGEST))))


def watched(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The items, while a :class:`Line` counts them, which a terminal no longer shows in the end."""
    line = Line(total, title)
    try:
        for item in items:
            yield item
            line.step()
    finally:
        line.clear()


class Progress:
    """Counts the images of a run, those that fail among them, and shows a :class:`Line`.

    Args:
        total: the number of images; 0 if unknown.
    """

    def __init__(self, total: int):
        self.written = self.failed = 0
        self.line = Line(total)

    def wrote(self) -> None:
        """Count an image."""
        self.written += 1
        self.line.step()

    def skipped(self, name: str, reason: str) -> None:
        """Count and name an image that failed, with the reason in one sentence."""
        self.failed += 1
        self.say(f"skipped {quote(name, NAME)}: {reason}")
        self.line.step()

    def say(self, message: str) -> None:
        """Print a line on stderr without breaking the bar."""
        self.line.clear()
        print(message, file=sys.stderr, flush=True)

    def close(self, folder: str, not_taken: str = "") -> int:
        """Print the counts, and the files that are no images; return the exit status."""
        if self.line.on_terminal:
            self.line.show()
            print(file=sys.stderr)
        rate = self.written / (time.perf_counter() - self.line.start)
        print(f"{self.written} written to {quote(folder, NAME)}, {self.failed} failed, {rate:.1f} images/s")
        if not_taken:
            print(not_taken)
        return SOME_FAILED if self.failed else ALL_WRITTEN
