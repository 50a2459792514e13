"""What has to be in the environment before Paddle is imported.

Paddle runs on one thread unless told otherwise, and the MKL in its wheels (2019) takes a slow path on processors
that are not Intel's; ``MKL_DEBUG_CPU_TYPE=5`` makes it use AVX2 there, which more than doubles matrix products.
"""

import os
import platform
import warnings
import zlib  # noqa: F401  Paddle 2.6 embeds an old zlib: whatever needs zlib has to load the system's before it
from typing import Dict, Mapping, Optional

import cv2  # noqa: F401  likewise, for its PNG reader

NAMES = ("OMP_NUM_THREADS", "FLAGS_paddle_num_threads", "MKL_DEBUG_CPU_TYPE")


def settings(threads: Optional[int] = None, environ: Mapping[str, str] = os.environ) -> Dict[str, str]:
    """The settings that suit this machine; what ``environ`` already holds wins.

    Args:
        threads: processor threads; None for all cores, shared out among the processes that Paddle launched here.
    """
    if threads is None:
        threads = max(1, usable_cores() // int(environ.get("PADDLE_LOCAL_SIZE", "1")))
    threads = environ.get("OMP_NUM_THREADS", str(threads))
    chosen = {"OMP_NUM_THREADS": threads, "FLAGS_paddle_num_threads": threads}
    if is_amd():
        chosen["MKL_DEBUG_CPU_TYPE"] = "5"
    return {name: environ.get(name, value) for name, value in chosen.items()}


def configure(threads: Optional[int] = None) -> None:
    """Put :func:`settings` into the environment. Has an effect only before ``import paddle``."""
    os.environ.update(settings(threads))
    warnings.filterwarnings("ignore", message="No ccache found")  # of interest only to who compiles operators


def current() -> Dict[str, str]:
    """The values now in force, by name; "not set" where there is none."""
    return {name: os.environ.get(name, "not set") for name in NAMES}


def usable_cores() -> int:
    """Cores this process may use: the affinity mask, and a container's CPU quota if it is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as f:
            quota, period = f.read().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def is_amd() -> bool:
    """Whether the processor is one of AMD's."""
    try:
        with open("/proc/cpuinfo") as f:
            return "AuthenticAMD" in f.read(4096)
    except OSError:
        return "AuthenticAMD" in platform.processor()
