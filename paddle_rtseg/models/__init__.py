"""The networks. Importing this package puts them into PaddleSeg's component manager."""

from . import lrformer, mix_transformer, rtformer, segformer_pp  # noqa: F401
