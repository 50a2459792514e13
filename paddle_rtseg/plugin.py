"""Makes PaddleSeg see this package without a line of user code.

``paddle_rtseg.pth``, installed beside the package, waits for somebody to import paddleseg and then imports this
module; a Python that never does pays some microseconds. The finder below lets paddleseg load as usual, then
registers our components and mends what PaddleSeg gets wrong on the running Paddle (:mod:`paddle_rtseg.compat`).

The finder also supplies the commands: ``python -m paddleseg.train`` and its like, which no PaddleSeg release has
(where one appears, it is preferred), and ``python -m paddle_rtseg.train`` and its like. Both are ``tools/train.py``.

``PADDLE_RTSEG_AUTOLOAD=0`` keeps the ``.pth`` line from doing anything; ``import paddle_rtseg`` then does the same.
"""

import os
import sys

#: Commands found as ``python -m paddleseg.NAME`` and ``python -m paddle_rtseg.NAME``.
PADDLESEG_COMMANDS = ("train", "val", "predict", "export")
#: Commands found as ``python -m paddle_rtseg.NAME`` only.
OWN_COMMANDS = (
    *("infer", "check_dataset", "compare", "compare_infer", "convert", "benchmark", "env", "trt_report", "release"),
)

_PACKAGE = __name__.partition(".")[0]
_HERE = os.path.dirname(os.path.abspath(__file__))


class Finder:
    """A finder for ``sys.meta_path``; it concerns itself with paddleseg and the commands, and declines the rest."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "paddleseg":
            spec = cls._find_elsewhere(name, path, target)
            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader.exec_module = _registering(spec.loader.exec_module)
            return spec
        package, _, command = name.rpartition(".")
        if package == "paddleseg" and command in PADDLESEG_COMMANDS:
            return cls._find_elsewhere(name, path, target) or _tool(name, command)
        if package == _PACKAGE and command in PADDLESEG_COMMANDS + OWN_COMMANDS:
            if os.path.isdir(os.path.join(_HERE, command)):
                return None  # a package of this name, whose __main__ is the command
            return _tool(name, command)
        return None

    @classmethod
    def _find_elsewhere(cls, name, path, target):
        for finder in sys.meta_path:
            if finder is not cls and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


def install() -> None:
    """Put the finder in place; register at once if paddleseg is imported already. Calling it again does nothing."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
        if "paddleseg" in sys.modules:
            register()


def register() -> None:
    """Mend PaddleSeg where the running Paddle needs it and put our components into its manager.

    Raises:
        ImportError: this package does not work with what is installed; the message says how to switch it off.
    """
    try:
        from . import data, models  # noqa: F401  they register what they hold, and so do the losses
        from .compat import patches
        from .training import losses  # noqa: F401

        patches.apply()
    except Exception as e:
        raise ImportError(
            f"{_PACKAGE} could not register with PaddleSeg ({type(e).__name__}: {e}); "
            "set PADDLE_RTSEG_AUTOLOAD=0 to use PaddleSeg without it"
        ) from e


def _registering(exec_module):
    """Wrap a loader's ``exec_module`` so that registration follows the import of paddleseg."""

    def exec_and_register(module):
        if "paddle" not in sys.modules:
            import zlib  # noqa: F401  Paddle 2.6 carries an old zlib that must not be the first one found

            if sys.argv[:1] == ["-m"]:  # `python -m paddleseg.X` imports the package before the command can run
                from rtseg_inference import environment

                environment.configure()
        exec_module(module)
        register()

    return exec_and_register


def _tool(name, command):
    import importlib.util

    path = os.path.join(_HERE, "tools", command + ".py")
    return importlib.util.spec_from_file_location(name, path) if os.path.exists(path) else None
