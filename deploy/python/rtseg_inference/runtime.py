"""Paddle Inference, set up for one device, backend and precision, with the traps of each Paddle release avoided."""

from dataclasses import dataclass

import numpy as np

from . import environment, processor, tensorrt
from .contract import Contract
from .errors import InputError
from .files import cache_root

BACKENDS = {"cpu": ("native", "onednn", "openvino"), "gpu": ("native", "tensorrt")}
PRECISIONS = {
    ("cpu", "native"): ("fp32",),
    ("cpu", "onednn"): ("fp32", "bf16"),
    ("cpu", "openvino"): ("fp32", "fp16", "bf16"),
    ("gpu", "native"): ("fp32", "fp16", "bf16"),
    ("gpu", "tensorrt"): ("fp32", "fp16"),
}
# oneDNN keeps compiled kernels for so many input shapes; without a limit memory grows with each new size of image.
ONEDNN_SHAPES = 10


@dataclass(frozen=True)
class Configuration:
    """What runs the network."""

    device: str = "cpu"
    backend: str = "onednn"
    precision: str = "fp32"
    threads: int = 0  #: 0: ``OMP_NUM_THREADS``, or every core that the process may use

    def __post_init__(self) -> None:
        if self.device not in BACKENDS:
            raise InputError(f"expected the device to be one of {', '.join(BACKENDS)}, got {self.device!r}")
        if self.backend not in BACKENDS[self.device]:
            allowed = ", ".join(BACKENDS[self.device])
            raise InputError(f"expected the {self.device} backend to be one of {allowed}, got {self.backend!r}")
        if self.precision not in PRECISIONS[self.device, self.backend]:
            allowed = " or ".join(PRECISIONS[self.device, self.backend])
            raise InputError(f"{self.device} {self.backend} computes in {allowed}, got {self.precision!r}")

    def __str__(self) -> str:
        return f"{self.device} {self.backend} {self.precision}"


class Runtime:
    """A loaded network: ``run(batch)`` gives its output. Not for use by several threads at once.

    Raises:
        InputError: this machine or this Paddle cannot run the model in this configuration.
    """

    def __init__(self, contract: Contract, configuration: Configuration):
        if configuration.device == "cpu":
            processor.require(configuration.precision)
        self.contract, self.configuration = contract, configuration
        self.threads = configuration.threads or int(environment.settings()["OMP_NUM_THREADS"])
        environment.configure(self.threads)
        import paddle
        from paddle import inference

        if contract.program_format == "json" and paddle.__version__.startswith("2."):
            raise InputError(
                f"{contract.model} needs Paddle 3, this is {paddle.__version__}; export with --format pdmodel"
            )
        self._paddle, self._inference = paddle, inference
        #: input shapes that may be run
        self.shape = contract.tensorrt_shape if configuration.backend == "tensorrt" else contract.shape
        self._predictor = self._cpu_predictor() if configuration.device == "cpu" else self._gpu_predictor()
        self._input = self._predictor.get_input_handle(contract.input_name)
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run the network on (B, ...) in the layout and dtype of the contract; gives its output.

        Raises:
            InputError: Paddle cannot; the message holds its reason.
        """
        self._input.reshape(batch.shape)
        self._input.copy_from_cpu(batch)
        try:
            self._predictor.run()
        except Exception as e:
            raise self._failed(f"run {self.contract.model} on {'x'.join(map(str, batch.shape))}", e) from e
        return self._output.copy_to_cpu()

    def _create(self, config):
        try:
            return self._inference.create_predictor(config)
        except Exception as e:
            raise self._failed(f"load {self.contract.model}", e) from e

    def _failed(self, what: str, error: Exception) -> InputError:
        return InputError(f"Paddle cannot {what} as {self.configuration}: {first_line(error)}")

    def _base_config(self):
        contract = self.contract
        config = self._inference.Config(contract.path(contract.model), contract.path(contract.params))
        config.disable_glog_info()
        config.enable_memory_optim(True)
        if contract.program_format == "json":  # Paddle 3.3 refuses memory_optim on json under its older executor
            config.enable_new_executor()
        return config

    def _cpu_predictor(self):
        backends = {"native": self._native_cpu, "onednn": self._onednn, "openvino": self._openvino}
        config = backends[self.configuration.backend]()
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(self.threads)
        return self._create(config)

    def _native_cpu(self):
        config = self._base_config()
        if hasattr(config, "disable_mkldnn"):  # Paddle 3.3 has oneDNN on unless told otherwise
            config.disable_mkldnn()
        return config

    def _onednn(self):
        config = self._base_config()
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(ONEDNN_SHAPES)
        if self.contract.program_format == "json":
            # This pass makes Paddle 3.3 fail on each program with an upsampling (Paddle issue 77340); oneDNN's
            # convolutions stay without it. Products of 4-D matrices straight after a convolution are wrong with or
            # without it: that is for verify() to find.
            config.delete_pass("onednn_placement_pass")
        if self.configuration.precision == "bf16":
            config.enable_mkldnn_bfloat16()
        return config

    def _openvino(self):
        config = self._base_config()
        if self.contract.program_format == "json" or not hasattr(config, "enable_openvino_engine"):
            # On json the call is accepted and changes nothing.
            raise InputError(
                "OpenVINO inside Paddle needs Paddle 3 and a model in pdmodel form, got "
                f"{self.contract.model} with Paddle {self._paddle.__version__}; export with --format pdmodel"
            )
        config.set_optim_cache_dir(cache_root())
        config.enable_openvino_engine(self._precision_type())
        return config

    def _gpu_predictor(self):
        if not self._paddle.is_compiled_with_cuda():
            raise InputError("a GPU was asked for but this Paddle is built without CUDA; install paddlepaddle-gpu")
        if self._paddle.device.cuda.device_count() == 0:
            raise InputError("a GPU was asked for but Paddle sees none; check the driver or use the CPU")
        if self.configuration.backend == "tensorrt":
            return tensorrt.create_predictor(self.contract, self.configuration.precision)
        config = self._base_config()
        config.enable_use_gpu(tensorrt.GPU_MEMORY_MB, 0, self._precision_type())
        return self._create(config)

    def _precision_type(self):
        kinds = self._inference.PrecisionType
        return {"fp32": kinds.Float32, "fp16": kinds.Half, "bf16": kinds.Bfloat16}[self.configuration.precision]


def first_line(error: Exception) -> str:
    """Paddle's errors are pages of C++ frames; the sentence that says what happened begins with the kind, such as
    ``(Unimplemented)`` or, in programs in json form, ``UnimplementedError:``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error: " in line or line.startswith("(")]
    return (telling or lines or [type(error).__name__])[0][:200]
