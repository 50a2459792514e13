"""The networks. Importing this package puts them into PaddleSeg's component manager."""

from . import lrformer, rtformer  # noqa: F401
