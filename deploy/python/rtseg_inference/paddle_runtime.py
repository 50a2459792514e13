"""Paddle Inference, set up for one device, backend and precision, working around the bugs of each Paddle release."""

import os
import tempfile
from typing import Any

from . import environment, gpu, tensorrt
from .configuration import Configuration
from .contract import Contract
from .errors import InputError, NotInstalled, first_line
from .files import Array, cache_root, make_folder

# oneDNN keeps compiled kernels for this many input shapes; without a limit, memory grows with each new image size.
ONEDNN_SHAPES = 10


class PaddleRuntime:
    """A network loaded by Paddle Inference; see :class:`.runtime.Runtime`.

    Raises:
        InputError: Paddle is not installed, or cannot run the model in this configuration here.
    """

    def __init__(self, contract: Contract, configuration: Configuration):
        self.contract, self.configuration = contract, configuration
        self.threads = configuration.threads or environment.thread_count()
        environment.configure(self.threads)
        try:
            with environment.importing_paddle():
                import paddle
                from paddle import inference
        except ImportError as e:
            package = "paddlepaddle" if configuration.device == "cpu" else "paddlepaddle-gpu"
            raise NotInstalled(
                f"expected Paddle, got none that can be imported ({e}); pip install {package}, or use --backend "
                "onnxruntime"
            ) from e

        if contract.program_format == "json" and paddle.__version__.startswith("2."):
            raise InputError(
                f"{contract.model} needs Paddle 3, this is {paddle.__version__}; export it with --format pdmodel"
            )
        self._paddle, self._inference = paddle, inference
        #: input shapes that may be run
        self.shape = contract.tensorrt.shape if configuration.backend == "tensorrt" else contract.input.shape
        self._predictor = self._cpu_predictor() if configuration.device == "cpu" else self._gpu_predictor()
        if contract.input.name not in self._predictor.get_input_names():
            raise InputError(f"{contract.model} has no input '{contract.input.name[:40]}'; export the model again")
        self._input = self._predictor.get_input_handle(contract.input.name)
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])

    def run(self, batch: Array) -> Array:
        """Run the network on (B, ...) in the layout and dtype of the contract and return its output.

        Raises:
            InputError: Paddle fails; the message holds its reason.
        """
        self._input.reshape(batch.shape)
        self._input.copy_from_cpu(batch)
        try:
            self._predictor.run()
        except Exception as e:
            raise self._failed(f"run {self.contract.model} on {'x'.join(map(str, batch.shape))}", e) from e
        output: Array = self._output.copy_to_cpu()
        return output

    def _create(self, config: Any) -> Any:
        try:
            return self._inference.create_predictor(config)
        except Exception as e:
            raise self._failed(f"load {self.contract.model}", e) from e

    def _failed(self, what: str, error: Exception) -> InputError:
        return InputError(f"Paddle cannot {what} as {self.configuration}: {first_line(error)}")

    def _base_config(self) -> Any:
        contract = self.contract
        config = self._inference.Config(contract.path(contract.model), contract.path(contract.params))
        config.disable_glog_info()
        config.enable_memory_optim(True)
        if contract.program_format == "json":  # Paddle 3.3 refuses memory_optim on json under its older executor
            config.enable_new_executor()
        return config

    def _cpu_predictor(self) -> Any:
        backends = {"native": self._native_cpu, "onednn": self._onednn, "openvino": self._openvino}
        config = backends[self.configuration.backend]()
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(self.threads)
        return self._create(config)

    def _native_cpu(self) -> Any:
        config = self._base_config()
        if hasattr(config, "disable_mkldnn"):  # Paddle 3.3 has oneDNN on unless told otherwise
            config.disable_mkldnn()
        return config

    def _onednn(self) -> Any:
        config = self._base_config()
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(ONEDNN_SHAPES)
        if self.contract.program_format == "json":
            # With this pass Paddle 3.3 fails on every program with an upsampling (Paddle issue 77340); oneDNN's
            # convolutions are used without it too. Products of 4-D matrices straight after a convolution are wrong
            # either way; verify() finds those.
            config.delete_pass("onednn_placement_pass")
        if self.configuration.precision == "bf16":
            config.enable_mkldnn_bfloat16()
        return config

    def _openvino(self) -> Any:
        config = self._base_config()
        if self.contract.program_format == "json" or not hasattr(config, "enable_openvino_engine"):
            # For json the call is accepted and has no effect.
            raise InputError(
                "OpenVINO inside Paddle needs Paddle 3 and a model in pdmodel form, got "
                f"{self.contract.model} with Paddle {self._paddle.__version__}; export it with --format pdmodel"
            )
        config.set_optim_cache_dir(_openvino_cache())
        config.enable_openvino_engine(self._precision_type())
        return config

    def _gpu_predictor(self) -> Any:
        gpu.require_paddle()  # before the first kernel, which would crash
        if self.configuration.backend == "tensorrt":
            return tensorrt.create_predictor(self.contract, self.configuration.precision)
        config = self._base_config()
        config.enable_use_gpu(tensorrt.GPU_MEMORY_MB, 0, self._precision_type())
        return self._create(config)

    def _precision_type(self) -> Any:
        kinds = self._inference.PrecisionType
        return {"fp32": kinds.Float32, "fp16": kinds.Half, "bf16": kinds.Bfloat16}[self.configuration.precision]


def _openvino_cache() -> str:
    """Where OpenVINO inside Paddle keeps compiled networks; without such a folder it would use the current one."""
    try:
        return make_folder(cache_root())
    except InputError:
        return make_folder(os.path.join(tempfile.gettempdir(), f"home-{os.getuid()}", "rtseg_inference"))
