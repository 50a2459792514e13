"""What the commands say of the images that they segment: a bar, the images that fail, and the counts in the end."""

import sys
import time

from .errors import quote

ALL_WRITTEN, SOME_FAILED = 0, 1
NAME = 500  #: characters of a path


class Progress:
    """Counts the images of a run, and shows a bar on stderr if that is a terminal.

    Args:
        total: the number of images; 0 if unknown.
    """

    WIDTH = 30

    def __init__(self, total: int):
        self.total, self.written, self.failed, self.start = total, 0, 0, time.perf_counter()
        self.shown = sys.stderr.isatty()

    def wrote(self) -> None:
        """Count an image."""
        self.written += 1
        self._step()

    def skipped(self, name: str, reason: str) -> None:
        """Count and name an image that failed, with the reason in one sentence."""
        self.failed += 1
        self.say(f"skipped {quote(name, NAME)}: {reason}")
        self._step()

    def say(self, message: str) -> None:
        """Print a line on stderr without breaking the bar."""
        print(("\r\033[K" if self.shown else "") + message, file=sys.stderr, flush=True)

    def close(self, folder: str, not_taken: str = "") -> int:
        """Print the counts, and the files that are no images; return the exit status."""
        if self.shown:
            print(file=sys.stderr)
        rate = self.written / (time.perf_counter() - self.start)
        print(f"{self.written} written to {quote(folder, NAME)}, {self.failed} failed, {rate:.1f} images/s")
        if not_taken:
            print(not_taken)
        return SOME_FAILED if self.failed else ALL_WRITTEN

    def _step(self) -> None:
        done = self.written + self.failed
        if not self.shown:
            return
        rate = done / (time.perf_counter() - self.start)
        filled = self.WIDTH * min(done, self.total) // self.total if self.total else 0
        bar = "#" * filled + "." * (self.WIDTH - filled)
        print(f"\r[{bar}] {done}/{self.total or '?'} {rate:6.1f} images/s", end="", file=sys.stderr, flush=True)
