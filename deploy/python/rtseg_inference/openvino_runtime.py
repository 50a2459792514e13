"""OpenVINO's own runtime on the CPU, from the ONNX form; without Paddle."""

import os

from . import environment, signal_stack
from .configuration import Configuration
from .contract import Contract
from .errors import InputError, NotInstalled, first_line
from .files import Array


class OpenVINORuntime:
    """A network loaded by OpenVINO; see :class:`.runtime.Runtime`.

    Raises:
        NotInstalled: openvino is not installed, or the folder has no ONNX form.
        InputError: OpenVINO cannot load the model.
    """

    def __init__(self, contract: Contract, configuration: Configuration):
        self.contract, self.configuration, self.shape = contract, configuration, contract.input.shape
        self.threads = configuration.threads or environment.thread_count()
        path = contract.onnx_path(configuration.precision)
        self._name = os.path.basename(path)
        try:
            import openvino
        except ImportError as e:
            raise NotInstalled(f"expected OpenVINO, got none that can be imported ({e}); pip install openvino") from e
        # Of what is not in INT8, where that is the precision.
        kinds = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16, "int8": openvino.Type.f32}
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": kinds[configuration.precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            with signal_stack.kept():
                self._request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
        except Exception as e:  # however OpenVINO fails
            raise InputError(f"OpenVINO cannot load {self._name} as {configuration}: {first_line(e)}") from e

    def run(self, batch: Array) -> Array:
        """See :meth:`.runtime.Runtime.run`."""
        try:
            # The batch is used where it lies; the output is copied, because the next run overwrites it.
            with signal_stack.kept():
                output: Array = self._request.infer({self.contract.input.name: batch}, share_inputs=True)[0]
        except Exception as e:
            shape = "x".join(map(str, batch.shape))
            raise InputError(
                f"OpenVINO cannot run {self._name} on {shape} as {self.configuration}: {first_line(e)}"
            ) from e
        return output
