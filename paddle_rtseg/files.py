"""Writing files whole or not at all, and knowing what was written; the stand-alone predictor has the code."""

from rtseg_inference.files import atomic_path, make_folder, sha256

__all__ = ["atomic_path", "make_folder", "sha256"]
