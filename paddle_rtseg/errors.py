"""The exception for errors that the user can fix; it is shared with the stand-alone predictor."""

from rtseg_inference.errors import InputError

__all__ = ["InputError"]
