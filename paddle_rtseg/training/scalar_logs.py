"""Where the losses and scores of a training go besides the log: VisualDL, TensorBoard, or both."""

import importlib
from typing import Any, Iterable, List

from ..errors import InputError

#: Module, class of its writer, and how it is installed, by flag.
_WRITERS = {
    "use_vdl": ("visualdl", "LogWriter", "visualdl"),
    "use_tb": ("tensorboardX", "SummaryWriter", '"paddle_rtseg[tensorboard]"'),
}


class ScalarLogs:
    """Writers of scalars, used like one.

    Args:
        folder: where their files go.
        flags: which ones, of ``_WRITERS``.
    """

    def __init__(self, folder: str, flags: Iterable[str]):
        self._writers: List[Any] = [_writer(flag)(folder) for flag in flags]

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Write a value, under a name such as "Train/loss"."""
        for writer in self._writers:
            writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers:
            writer.close()


def require(flag: str) -> None:
    """Raise :class:`InputError` unless the library of a flag can be imported."""
    _writer(flag)


def open_logs(folder: str, dataset: Any) -> ScalarLogs:
    """Called by PaddleSeg's ``train`` with its dataset, whose attribute ``logs`` has the flags."""
    return ScalarLogs(folder, getattr(dataset, "logs", ("use_vdl",)))


def _writer(flag: str) -> Any:
    module, name, package = _WRITERS[flag]
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as e:
        raise InputError(f"expected {module} for --{flag}, got none; run 'pip install {package}'") from e
