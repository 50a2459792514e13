"""Registers this package with PaddleSeg; the user changes no code.

``paddle_rtseg.pth``, installed next to the package, waits until somebody imports paddleseg and then imports this
module; a Python that never imports it loses a few microseconds. The finder below lets paddleseg load as usual, then
registers our components and patches what PaddleSeg gets wrong on the running Paddle (:mod:`paddle_rtseg.compat`).

The finder also supplies the commands: ``python -m paddleseg.train`` and the others, which no PaddleSeg release has
(if one ever does, it takes precedence), and ``python -m paddle_rtseg.train`` and the others. Both are
``tools/train.py``. A command named like a subpackage, such as ``benchmark``, is the ``__main__`` of the subpackage.

``PADDLE_RTSEG_AUTOLOAD=0`` disables the ``.pth`` line; ``import paddle_rtseg`` then does the same by hand.
"""

import contextlib
import os
import re
import signal
import sys
import warnings
from typing import Optional

#: Commands found as ``python -m paddleseg.NAME`` and ``python -m paddle_rtseg.NAME``.
PADDLESEG_COMMANDS = ("train", "val", "predict", "export")
#: Commands found as ``python -m paddle_rtseg.NAME`` only.
OWN_COMMANDS = (
    *("infer", "check_dataset", "compare", "compare_infer", "convert", "benchmark", "env", "trt_report", "release"),
    *("model_zoo", "import_labels", "import_keypoints", "new", "bulk", "serve", "tune"),
)

#: Checked here and not by pip, which would replace a PaddleSeg checkout: each calls itself 0.0.0.dev0.
MIN_PADDLESEG = (2, 8, 0)
#: What the extras in pyproject.toml exclude. Models, losses, training and export pass their tests on 3.1.1 and a CPU,
#: but that was tried once (2026-11); no change of this package is tested on 3.1, and its GPU build was never tried.
EXCLUDED_PADDLE = "3.1."

_PACKAGE = __name__.partition(".")[0]
_HERE = os.path.dirname(os.path.abspath(__file__))


class Finder:
    """A finder for ``sys.meta_path`` that handles paddle, paddleseg and the commands, and declines everything else."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "paddleseg":
            spec = cls._find_elsewhere(name, path, target)
            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader.exec_module = _registering(spec.loader.exec_module)
            return spec
        if name == "paddle":
            spec = cls._find_elsewhere(name, path, target)
            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader.exec_module = _quietly(spec.loader.exec_module)
            return spec
        package, _, command = name.partition(".")
        known = {"paddleseg": PADDLESEG_COMMANDS, _PACKAGE: PADDLESEG_COMMANDS + OWN_COMMANDS}
        if command in known.get(package, ()):
            _let_interrupts_end_imports()
            return cls._find_elsewhere(name, path, target) or _tool(name, command)
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
    """Patch PaddleSeg where the running Paddle needs it and put our components into its manager.

    Raises:
        ImportError: this package does not work with what is installed; the message says how to disable it.
    """
    _check_paddleseg(getattr(sys.modules["paddleseg"], "__version__", ""))
    try:
        from . import models  # noqa: F401  importing these, the losses and the dataset registers them
        from .compat import patches
        from .data import camvid, keypoints  # noqa: F401
        from .training import losses  # noqa: F401

        patches.apply()
    except Exception as e:
        raise ImportError(
            f"{_PACKAGE} could not register with PaddleSeg ({type(e).__name__}: {e}); "
            "set PADDLE_RTSEG_AUTOLOAD=0 to use PaddleSeg without it"
        ) from e
    problem = paddle_problem(sys.modules["paddle"].__version__)
    if problem:
        warnings.warn(problem, stacklevel=2)


def paddle_problem(version: str) -> Optional[str]:
    """Why this release of Paddle is not supported, in one sentence; None if it is."""
    if not version.startswith(EXCLUDED_PADDLE):
        return None
    return (
        f"expected Paddle 2.6.2, 3.0, 3.2 or 3.3, got {version}, on which {_PACKAGE} is not tested; "
        'install another release: pip install "paddlepaddle==3.3.*"'
    )


def _check_paddleseg(version: str) -> None:
    """Refuse releases older than ``MIN_PADDLESEG``; a checkout, whose version says nothing, is accepted."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers and (0, 0, 0) < tuple(map(int, numbers.groups())) < MIN_PADDLESEG:
        raise ImportError(
            f"expected PaddleSeg {'.'.join(map(str, MIN_PADDLESEG))} or later, got {version}; install a newer one (pip "
            f"install --upgrade paddleseg), or set PADDLE_RTSEG_AUTOLOAD=0 to use it without {_PACKAGE}"
        )


def _registering(exec_module):
    """Wrap a loader's ``exec_module`` so that registration follows the import of paddleseg."""

    def exec_and_register(module):
        _let_interrupts_end_imports()
        from rtseg_inference import environment

        if "paddle" not in sys.modules:
            import zlib  # noqa: F401  Paddle 2.6 embeds an old zlib, so the system's has to be loaded first

            if sys.argv[:1] == ["-m"]:  # `python -m paddleseg.X` imports the package before the command can run
                environment.configure()
        os.environ.setdefault("SEG_HOME", environment.home_of(".paddleseg", "dataset", "tmp", "pretrained_model"))
        exec_module(module)
        register()

    return exec_and_register


def _quietly(exec_module):
    """Wrap the ``exec_module`` of Paddle's loader so that our own settings cause no warning."""

    def exec_without_warning(module):
        environment = sys.modules.get("rtseg_inference.environment")
        with environment.importing_paddle() if environment else contextlib.nullcontext():
            exec_module(module)

    return exec_without_warning


def _let_interrupts_end_imports():
    """While a command of ``python -m`` is imported, let Ctrl-C end it at once: nothing has been written yet.

    An exception could be turned into another one by what is being imported. :mod:`rtseg_inference.program` takes over.
    """
    if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tool(name, command):
    import importlib.util

    path = os.path.join(_HERE, "tools", command + ".py")
    return importlib.util.spec_from_file_location(name, path) if os.path.exists(path) else None
