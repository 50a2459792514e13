"""A network loaded into one of the engines; each has a module of its own, which imports it only when it is chosen."""

from typing import Protocol

from . import processor
from .configuration import Configuration
from .contract import Contract, ShapeRange
from .files import Array


class Runtime(Protocol):
    """A loaded network. Not thread-safe."""

    shape: ShapeRange  #: input shapes that may be run
    threads: int  #: processor threads

    def run(self, batch: Array) -> Array:
        """Run the network on (B, ...) in the layout and dtype of the contract and return its output.

        Raises:
            InputError: the engine fails; the message holds its reason.
        """


def load(contract: Contract, configuration: Configuration) -> Runtime:
    """Load the network into the engine that ``configuration`` names.

    Raises:
        NotInstalled: the engine's package, or the form of the model that it runs, is not there.
        InputError: this machine or the engine cannot run the model in this configuration.
    """
    if configuration.device == "cpu":
        processor.require(configuration.precision)
    if configuration.backend == "openvino_runtime":
        from .openvino_runtime import OpenVINORuntime

        return OpenVINORuntime(contract, configuration)
    if configuration.backend == "onnxruntime":
        from .onnx_gpu_runtime import OnnxGpuRuntime
        from .onnx_runtime import OnnxCpuRuntime

        return (OnnxCpuRuntime if configuration.device == "cpu" else OnnxGpuRuntime)(contract, configuration)
    from .paddle_runtime import PaddleRuntime

    return PaddleRuntime(contract, configuration)
