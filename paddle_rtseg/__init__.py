"""RTFormer, SegFormer++ and LRFormer for PaddleSeg, from a YAML line to deployment.

Importing this package is cheap: neither Paddle nor PaddleSeg is imported until something of theirs is used.
"""

import zlib  # noqa: F401  Paddle 2.6 embeds an old zlib and crashes whoever needs the system's later

from . import plugin

__version__ = "0.1.0"
__all__ = ["create_model", "list_models", "load_weights"]

plugin.install()


def __getattr__(name):
    if name == "load_weights":
        from .weights import load_weights

        return load_weights
    if name == "onednn":  # its place until 0.1
        from .training import onednn

        return onednn
    if name in __all__:
        from . import zoo

        return getattr(zoo, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
