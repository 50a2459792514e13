"""CPU settings that Paddle reads from the environment when it is imported.

Paddle runs on one thread unless told otherwise, and the MKL in its wheels (2019) takes a slow path on processors
that are not Intel's; ``MKL_DEBUG_CPU_TYPE=5`` makes it use AVX2 there, which more than doubles matrix products.
"""

import os
import platform
import warnings
from typing import Dict, Mapping

_NAMES = ("OMP_NUM_THREADS", "FLAGS_paddle_num_threads", "MKL_DEBUG_CPU_TYPE")


def settings(environ: Mapping[str, str] = os.environ) -> Dict[str, str]:
    """The settings that suit this machine; what ``environ`` already holds wins."""
    processes = int(environ.get("PADDLE_LOCAL_SIZE", "1"))
    threads = environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))
    chosen = {"OMP_NUM_THREADS": threads, "FLAGS_paddle_num_threads": threads}
    if is_amd():
        chosen["MKL_DEBUG_CPU_TYPE"] = "5"
    return {name: environ.get(name, value) for name, value in chosen.items()}


def configure() -> None:
    """Put :func:`settings` into the environment. To be called before paddle is imported."""
    os.environ.update(settings())
    warnings.filterwarnings("ignore", message="No ccache found")  # of interest only to who compiles operators


def current() -> Dict[str, str]:
    """The values now in force, by name; "not set" where there is none."""
    return {name: os.environ.get(name, "not set") for name in _NAMES}


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
