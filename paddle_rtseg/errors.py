"""The exception for user errors, shared with the stand-alone predictor."""

from rtseg_inference.errors import InputError

__all__ = ["InputError"]
