"""What has to be set before Paddle is imported."""

import os
import zlib  # noqa: F401  Paddle 2.6 embeds an old zlib: whatever needs zlib has to load the system's before it

import cv2  # noqa: F401  likewise, for its PNG reader


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare(threads: int) -> None:
    """Set the threads and, on AMD processors, the fast path of Paddle's matrix products.

    The MKL inside Paddle takes a slow path on processors that are not Intel's unless ``MKL_DEBUG_CPU_TYPE=5`` is
    set. What the user has set stays. Has an effect only before ``import paddle``.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("FLAGS_paddle_num_threads", str(threads))
    if _is_amd():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


def _is_amd() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            return "AuthenticAMD" in f.read(4096)
    except OSError:
        return False
