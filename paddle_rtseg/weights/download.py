"""Downloads published weights: only with a checksum, atomically, into a cache."""

import http.client
import os
import re
import urllib.request
from typing import Iterator

from ..errors import InputError
from ..files import atomic_path, cache_folder, path_text, sha256, writable_cache
from .limits import DOWNLOAD_MIB, quote, setting

_TIMEOUT = 60  # seconds without a response


def is_url(path: str) -> bool:
    """Whether ``path`` is a URL rather than a file."""
    return path.startswith(("http://", "https://"))


def cache() -> str:
    """Where downloaded files are kept: ``$PADDLE_RTSEG_CACHE``, or ``~/.cache/paddle_rtseg``."""
    return cache_folder("PADDLE_RTSEG_CACHE", "paddle_rtseg")


def _blocks(url: str) -> Iterator[bytes]:
    """What a URL sends, up to the limit on its size."""
    limit = setting("PADDLE_RTSEG_DOWNLOAD_MIB", DOWNLOAD_MIB)
    left = limit << 20
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            for block in iter(lambda: answer.read(1 << 20), b""):
                left -= len(block)
                if left < 0:
                    raise InputError(
                        f"expected at most {limit} MiB from {quote(url)}, got more; if you trust it, raise "
                        "PADDLE_RTSEG_DOWNLOAD_MIB"
                    )
                yield block
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as e:  # no network, no such page, not a URL
        raise InputError(
            f"{quote(url)} could not be downloaded ({quote(e)}); check the URL, or pass the path of a file"
        ) from e


def fetch(address: str) -> str:
    """The local path of ``URL#sha256=HEX``, downloaded unless the cache has it.

    Raises:
        InputError: the URL lacks a checksum, cannot be downloaded, or its contents have a different checksum.
    """
    url, _, fragment = path_text(address, "a URL with a checksum, URL#sha256=HEX").partition("#")
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if not match:
        raise InputError(
            f"expected a URL with a checksum, URL#sha256=<64 hexadecimal digits>, got {address!r}; append the "
            "published one, or download the file yourself and pass its path"
        )
    expected = match.group(1).lower()
    name = re.sub(r"[^\w.-]", "_", url.rpartition("/")[2].partition("?")[0])[-100:] or "weights"
    path = os.path.join(cache(), f"{expected[:16]}-{name}")
    if os.path.exists(path) and sha256(path) == expected:
        return path
    writable_cache(cache(), "PADDLE_RTSEG_CACHE")
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            for block in _blocks(url):
                file.write(block)
        got = sha256(temporary)
        if got != expected:
            raise InputError(f"{url} has the SHA-256 {got}, expected {expected}; check the URL and the checksum")
    return path
