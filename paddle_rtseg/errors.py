"""The one exception of this package for what its user can put right; the stand-alone predictor has the same."""

from rtseg_inference.errors import InputError

__all__ = ["InputError"]
