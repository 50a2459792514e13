"""Ray, the engine of bulk jobs and of the service: it is imported and started here only.

Nothing is sent to Ray's authors (its usage statistics are off) and its dashboard is not started. Without an address Ray
runs on this machine alone and listens on the loopback interface.
"""

import contextlib
import logging
import os
import re
import socket
import sys
from typing import Any, Iterator, Optional

from rtseg_inference import program
from rtseg_inference.environment import usable_cores
from rtseg_inference.errors import NotInstalled, first_line, quote

from .errors import InputError

WAIT = 10.0  #: seconds for an address to answer
OBJECT_STORE = 256 << 20  #: bytes; no pixels pass through it
_HOST_AND_PORT = re.compile(r"(?:ray://)?([^/:]+):([0-9]{1,5})")


def import_ray(alone: bool = False) -> Any:
    """The package ``ray``, which sends no usage statistics.

    Args:
        alone: a Ray that is started listens on the loopback interface only. Has an effect if ray was not imported yet.

    Raises:
        NotInstalled: it is not there.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ part writes to stderr
    if alone and "ray" not in sys.modules:
        # Ray's switch for systems whose firewall asks about every port; an address of the loopback interface alone
        # would be replaced. The processes of Ray Serve listen on all interfaces nevertheless, and require Ray's token.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
        import ray.data
    except ImportError as e:
        raise NotInstalled(
            f'expected the package ray with Ray Data, got {quote(e)}; pip install "paddle_rtseg[ray]"'
        ) from e
    return ray


@contextlib.contextmanager
def connected(address: Optional[str], cpus: Optional[int] = None, metrics_port: Optional[int] = None) -> Iterator[Any]:
    """Yield the package ``ray``, connected to the cluster at ``address``, and disconnect in the end.

    Args:
        address: "auto" for the cluster that runs on this machine, "host:port" or "ray://host:port" for another; None
            starts Ray on this machine, and stops it in the end.
        cpus: what Ray may share out on this machine if it is started; None for the cores that the process may use.
        metrics_port: of Ray's Prometheus metrics if it is started; None for one that is free.

    Raises:
        InputError: ray is not installed, or the address does not answer.
    """
    ray = import_ray(alone=address is None)
    options: Any = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": cpus or usable_cores(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
            "_metrics_export_port": metrics_port,
        }
    else:
        check_that_it_answers(address)
    try:
        with _silent_stderr():
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        program.catch_again()  # Ray has set a handler of its own for SIGTERM
    except Exception as e:  # a plain one, for example, on a machine that is too busy
        raise _without_cluster(address, e) from e
    try:
        yield ray
    finally:
        ray.shutdown()


def _without_cluster(address: Optional[str], error: Exception) -> InputError:
    if address is None:
        return InputError(f"cannot start Ray here ({quote(first_line(error))}); stop other work, and try again")
    return InputError(
        f"cannot join the Ray cluster {quote(address)!r} ({quote(first_line(error))}); check --address, that "
        "Ray's and Python's versions are the same there, and RAY_AUTH_MODE"
    )


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Leave out what Ray's C++ part prints of its own settings."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def check_that_it_answers(address: str) -> None:
    """Raise :class:`.InputError` unless something accepts connections at ``address``."""
    if address == "auto":
        address = _cluster_here()
        if not address:
            return  # Ray says that there is none
    match = _HOST_AND_PORT.fullmatch(address)
    if not match:
        raise InputError(f"expected --address auto, HOST:PORT or ray://HOST:PORT, got {quote(address)!r}; correct it")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=WAIT).close()
    except (OSError, OverflowError) as e:
        raise InputError(
            f"expected a Ray cluster at {quote(address)!r}, which does not answer ({e}); check --address, or start one "
            "with ray start --head"
        ) from e


def _cluster_here() -> str:
    """The address that "auto" stands for, which a cluster that was killed may leave behind; empty if there is none."""
    from ray._private import services

    try:
        return services.canonicalize_bootstrap_address("auto") or ""
    except ConnectionError:
        return ""
