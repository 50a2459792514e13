"""Downloads published weights: only with a checksum, atomically, into a cache."""

import http.client
import os
import re
import shutil
import urllib.parse
import urllib.request

from ..errors import InputError
from ..files import atomic_path, cache_folder, sha256

_TIMEOUT = 60  # seconds without a response


def is_url(path: str) -> bool:
    """Whether ``path`` is a URL rather than a file."""
    return path.startswith(("http://", "https://"))


def cache() -> str:
    """Where downloaded files are kept: ``$PADDLE_RTSEG_CACHE``, or ``~/.cache/paddle_rtseg``."""
    return cache_folder("PADDLE_RTSEG_CACHE", "paddle_rtseg")


def fetch(address: str) -> str:
    """The local path of ``URL#sha256=HEX``, downloaded unless the cache has it.

    Raises:
        InputError: the URL lacks a checksum, cannot be downloaded, or its contents have a different checksum.
    """
    url, _, fragment = address.partition("#")
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if not match:
        raise InputError(
            f"expected a URL with a checksum, URL#sha256=<64 hexadecimal digits>, got {address!r}; append the "
            "published one, or download the file yourself and pass its path"
        )
    expected = match.group(1).lower()
    name = os.path.basename(urllib.parse.urlsplit(url).path) or "weights"
    path = os.path.join(cache(), f"{expected[:16]}-{name}")
    if os.path.exists(path) and sha256(path) == expected:
        return path
    with atomic_path(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, open(temporary, "wb") as file:
                shutil.copyfileobj(answer, file)
        except (OSError, ValueError, http.client.HTTPException) as e:  # no network, no such page, not a URL
            raise InputError(f"{url} could not be downloaded ({e}); check the URL, or pass the path of a file") from e
        got = sha256(temporary)
        if got != expected:
            raise InputError(f"{url} has the SHA-256 {got}, expected {expected}; check the URL and the checksum")
    return path
