"""What has to be in the environment before Paddle is imported.

Paddle runs on one thread by default, and the MKL in its wheels (2019) takes a slow path on processors from other
vendors than Intel; ``MKL_DEBUG_CPU_TYPE=5`` makes it use AVX2 there, which more than doubles the speed of matrix
products. And glibc returns each large array to the system when it is freed and requests it again, cleared page by page,
for the next layer, which takes up to a third of a network's time on large images.
"""

import contextlib
import ctypes
import io
import os
import platform
import pwd
import re
import sys
import tempfile
import warnings
import zlib  # noqa: F401  Paddle 2.6 embeds an old zlib, so the system's has to be loaded first
from typing import Dict, Iterator, Mapping, Optional

import cv2  # noqa: F401  the same, for its PNG reader

from . import program
from .arguments import MOST_THREADS, to_whole
from .errors import InputError, quote

_THREADS_WARNING = re.compile(r"WARNING: OMP_NUM_THREADS set to .*\n|PLEASE USE OMP_NUM_THREADS WISELY.*\n")
_chosen_here = False  # whether configure() set OMP_NUM_THREADS

NAMES = ("OMP_NUM_THREADS", "FLAGS_paddle_num_threads", "MKL_DEBUG_CPU_TYPE")


def settings(threads: Optional[int] = None, environ: Mapping[str, str] = os.environ) -> Dict[str, str]:
    """The settings that suit this machine; variables that ``environ`` already has take precedence.

    Args:
        threads: processor threads; None for all cores, divided among the processes that Paddle launched here.
    """
    if threads is None:
        threads = max(1, usable_cores() // int(environ.get("PADDLE_LOCAL_SIZE", "1")))
    count = environ.get("OMP_NUM_THREADS", str(threads))
    chosen = {"OMP_NUM_THREADS": count, "FLAGS_paddle_num_threads": count}
    if is_amd():
        chosen["MKL_DEBUG_CPU_TYPE"] = "5"
    return {name: environ.get(name, value) for name, value in chosen.items()}


def thread_count() -> int:
    """Processor threads where none are asked for: ``OMP_NUM_THREADS``, or every core that the process may use.

    Raises:
        InputError: the variable is neither a number of threads nor a list of them for nested levels.
    """
    text = settings()["OMP_NUM_THREADS"]
    number = to_whole(text.partition(",")[0])
    if number is None or not 1 <= number <= MOST_THREADS:
        raise InputError(
            f"expected OMP_NUM_THREADS from 1 to {MOST_THREADS}, got '{quote(text)}'; correct it, or unset it"
        )
    return number


def configure(threads: Optional[int] = None) -> None:
    """Apply :func:`settings` to the environment, and keep freed memory. Call it before ``import paddle``."""
    global _chosen_here
    _chosen_here = _chosen_here or "OMP_NUM_THREADS" not in os.environ
    os.environ.update(settings(threads))
    os.environ["HOME"] = home()  # libraries that keep something there take an empty one for the root folder
    if not any(name.startswith("MALLOC_") for name in os.environ):  # the user has tuned the allocator
        _keep_freed_memory()
    warnings.filterwarnings("ignore", message="No ccache found")  # matters only when compiling operators


@contextlib.contextmanager
def importing_paddle() -> Iterator[None]:
    """Let Paddle be imported without a home folder, and without a warning about threads that :func:`configure` has set.

    Whoever sets ``OMP_NUM_THREADS`` sees the warning, and everything else is printed.
    """
    before, printed = os.environ.get("HOME"), io.StringIO()
    # Paddle makes a folder below the home folder at its import, and fails where it cannot.
    os.environ["HOME"] = os.path.dirname(home_of(".cache", os.path.join("paddle", "dataset")))
    try:
        with contextlib.redirect_stderr(printed):
            yield
    finally:
        os.environ["HOME"] = home() if before is None else before
        program.catch_again()  # Paddle has set a handler of its own for SIGTERM, within which it may hang
        shown = printed.getvalue()
        sys.stderr.write(_THREADS_WARNING.sub("", shown) if _chosen_here else shown)


def _keep_freed_memory() -> None:
    """Reuse freed memory instead of returning it to the system; the process then never shrinks."""
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # mallopt's parameters, in malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**26)


def current() -> Dict[str, str]:
    """The current values by name, "not set" for those without one."""
    return {name: os.environ.get(name, "not set") for name in NAMES}


def usable_cores() -> int:
    """Cores this process may use: the affinity mask, or a container's CPU quota if that is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as f:
            quota, period = f.read().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def home() -> str:
    """The user's home folder: ``HOME``, or what the system has on record; without either, a temporary folder.

    ``os.path.expanduser`` takes an empty ``HOME`` for the root folder, and gives "~" to a user who is not on record, as
    in a container that runs with a number.
    """
    if os.environ.get("HOME"):
        return os.environ["HOME"]
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return os.path.join(tempfile.gettempdir(), f"home-{os.getuid()}")


def home_of(name: str, *parts: str) -> str:
    """A folder ``name`` of a library in the home folder, or where that cannot be written, in a temporary folder.

    Args:
        parts: folders that the library makes inside; they are made here.
    """
    folder = os.path.join(home(), name)
    for attempt in (folder, os.path.join(tempfile.gettempdir(), f"home-{os.getuid()}", name)):
        with contextlib.suppress(OSError):
            for part in parts:
                os.makedirs(os.path.join(attempt, part), exist_ok=True)
            return attempt
    return folder


def is_amd() -> bool:
    """Whether the processor is made by AMD."""
    try:
        with open("/proc/cpuinfo") as f:
            return "AuthenticAMD" in f.read(4096)
    except OSError:
        return "AuthenticAMD" in platform.processor()
