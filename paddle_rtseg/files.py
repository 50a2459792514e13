"""Atomic writing of files, and their checksums; the code is in the stand-alone predictor."""

from rtseg_inference.files import atomic_path, make_folder, sha256

__all__ = ["atomic_path", "make_folder", "sha256"]
