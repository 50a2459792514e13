"""RTFormer, SegFormer++ and LRFormer for PaddleSeg, from a YAML line to deployment.

Importing this package is cheap: its subpackages, Paddle and PaddleSeg are imported when they are first used.
"""

import importlib
import zlib  # noqa: F401  Paddle 2.6 embeds an old zlib and crashes a process that later needs the system's

from . import plugin

__version__ = "0.1.0"
__all__ = ["create_model", "list_models", "load_weights", "predict"]

#: Where each function of ``__all__`` is defined.
_HOMES = {"create_model": "zoo", "list_models": "zoo", "load_weights": "weights", "predict": "quick"}

plugin.install()


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name == "onednn":  # where docs of 0.1 find it
        return importlib.import_module(f"{__name__}.training.onednn")
    if name in _submodules():
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_submodules()})


def _submodules():
    import pkgutil

    return {module.name for module in pkgutil.iter_modules(__path__)}
