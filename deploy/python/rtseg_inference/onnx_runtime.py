"""ONNX Runtime on the CPU, from the ONNX form; without Paddle. On a GPU see :mod:`.onnx_gpu_runtime`."""

import os
from typing import Any, NoReturn

from . import environment
from .configuration import Configuration
from .contract import Contract
from .errors import InputError, NotInstalled, first_line
from .files import Array

ERRORS_ONLY = 3  # log level; lower ones print a warning for each unused constant


class OnnxCpuRuntime:
    """A network loaded by ONNX Runtime's CPU provider; see :class:`.runtime.Runtime`.

    Raises:
        NotInstalled: onnxruntime is not installed, or the folder has no ONNX form.
        InputError: ONNX Runtime cannot load the model.
    """

    def __init__(self, contract: Contract, configuration: Configuration):
        self.contract, self.configuration, self.shape = contract, configuration, contract.input.shape
        self.threads = configuration.threads or environment.thread_count()
        path = contract.onnx_path(configuration.precision)
        self._name = os.path.basename(path)
        onnxruntime = import_onnxruntime(configuration)
        options = session_options(onnxruntime, self.threads)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # however ONNX Runtime fails
            fail(f"load {self._name}", configuration, e)

    def run(self, batch: Array) -> Array:
        """See :meth:`.runtime.Runtime.run`."""
        try:
            output: Array = self._session.run(None, {self.contract.input.name: batch})[0]
        except Exception as e:
            fail(f"run {self._name} on {'x'.join(map(str, batch.shape))}", self.configuration, e)
        return output


def import_onnxruntime(configuration: Configuration) -> Any:
    """The module onnxruntime, which is imported nowhere else.

    Raises:
        NotInstalled: it is not installed, or cannot be imported.
    """
    try:
        import onnxruntime
    except ImportError as e:
        package = "onnxruntime" if configuration.device == "cpu" else "onnxruntime-gpu"
        raise NotInstalled(f"expected ONNX Runtime, got none that can be imported ({e}); pip install {package}") from e
    return onnxruntime


def session_options(onnxruntime: Any, threads: int) -> Any:
    """Options that every session has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    return options


def fail(what: str, configuration: Configuration, error: Exception) -> NoReturn:
    """Raise ONNX Runtime's ``error`` as one sentence."""
    raise InputError(f"ONNX Runtime cannot {what} as {configuration}: {first_line(error)}") from error
