"""Atomic writing of files, checksums and cache folders; the code is in the stand-alone predictor."""

from rtseg_inference.files import (
    atomic_path,
    cache_folder,
    check_folder,
    exclusive,
    make_folder,
    new_folder,
    partial_folder,
    path_text,
    sha256,
    temporary_folder,
    writable_cache,
)

__all__ = [
    "atomic_path",
    "cache_folder",
    "check_folder",
    "exclusive",
    "make_folder",
    "new_folder",
    "partial_folder",
    "path_text",
    "sha256",
    "temporary_folder",
    "writable_cache",
]
