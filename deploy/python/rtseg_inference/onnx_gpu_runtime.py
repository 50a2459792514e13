"""ONNX Runtime on an NVIDIA GPU, from the ONNX form: with CUDA, TensorRT or TensorRT for RTX; without Paddle.

Which provider really runs is asked of the session: if its libraries are missing, ONNX Runtime would silently use the
processor. Input and output stay in the card's memory from run to run. Where height and width are fixed and every
operator runs on the card, the whole network is captured as a CUDA graph and started with one call.

TensorRT for RTX has never been run by this project.
"""

import contextlib
import glob
import importlib.util
import io
import json
import os
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from . import environment, gpu
from .configuration import PROVIDERS, Configuration
from .contract import Contract, ShapeRange
from .errors import InputError, NotInstalled, first_line, listed
from .files import Array, temporary_folder, with_cache
from .onnx_providers import NAMES, cuda_options, missing_library, rtx_options, tensorrt_options, why_missing
from .onnx_runtime import fail, import_onnxruntime, session_options
from .tensorrt import native_stderr

SHAPES = 10  # buffers, and captured graphs, of this many input shapes are kept
NOT_CAPTURED = "-1"  # value of gpu_graph_id for a run that is neither captured nor replayed


class OnnxGpuRuntime:
    """A network loaded by ONNX Runtime on a GPU; see :class:`.runtime.Runtime`.

    Attributes:
        on_processor: names of the operators that run on the processor, with copies there and back.
        captured: whether the network runs as a CUDA graph.

    Raises:
        NotInstalled: onnxruntime is not installed, or the folder has no ONNX form, or none in half precision.
        InputError: the GPU or the provider cannot be used, or, if the configuration is strict, some operators run on
            the processor.
    """

    def __init__(self, contract: Contract, configuration: Configuration):
        self.contract, self.configuration = contract, configuration
        self.threads = configuration.threads or environment.thread_count()
        self.provider = configuration.provider or PROVIDERS[0]
        self.shape = contract.input.shape if self.provider == "cuda" else contract.tensorrt.shape
        self.path = contract.onnx_path(configuration.precision)
        self._onnxruntime = import_onnxruntime(configuration)
        if self.provider != "tensorrt_rtx":  # a plug-in with code of its own
            _check_card(configuration)
        preload(self._onnxruntime)
        self.on_processor: List[str] = []
        self.captured = False
        self._session = self._load()
        if configuration.strict and self.on_processor:
            raise InputError(
                f"expected every operator of {os.path.basename(self.path)} to run on the GPU, got "
                f"{listed(self.on_processor)} on the processor; leave out --strict to run it like that"
            )
        self._buffers: Dict[Tuple[int, ...], Buffers] = {}
        self._last: Optional[Buffers] = None

    def run(self, batch: Array) -> Array:
        """See :meth:`.runtime.Runtime.run`."""
        try:
            self._last = self._buffers_for(batch)
            return self._last.run(batch)
        except Exception as e:
            if self.captured:  # what cannot be captured shows only now
                self.captured = False
                self._last, self._buffers = None, {}
                self._session = self._create(capture=False)
                return self.run(batch)
            fail(f"run {os.path.basename(self.path)} on {'x'.join(map(str, batch.shape))}", self.configuration, e)

    def repeat(self) -> None:
        """Run again on the last batch, which is on the card already, and leave the output there; for timing."""
        assert self._last is not None, "run a batch first"
        self._last.repeat()

    def _load(self) -> Any:
        """A session that runs as a CUDA graph, or else one whose operators were seen running."""
        if self.provider == "cuda" and _only_batch_is_free(self.contract.input.shape):
            with contextlib.suppress(_Refused):
                session = self._create(capture=True)
                self.captured = True
                return session
        with temporary_folder() as folder:
            session = self._create(capture=False, profile=os.path.join(folder, "profile"))
            self._inspect(session)
        return session

    def _create(self, capture: bool, profile: Optional[str] = None) -> Any:
        """A session that has the requested provider; ``profile`` is a prefix of the file that says what ran where."""
        options = session_options(self._onnxruntime, self.threads)
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile
        session: Any = None
        error: Optional[Exception] = None
        with native_stderr() as log:
            try:
                session = self._session_of(options, capture)
            except InputError:
                raise
            except Exception as e:  # however ONNX Runtime fails
                error = e
        if error is not None:
            if capture and "graph" in str(error).lower():
                raise _Refused from error
            reason = missing_library(log() + str(error))
            if reason is None:
                fail(f"load {os.path.basename(self.path)}", self.configuration, error)
            raise _unusable(self.configuration, reason) from error
        if NAMES[self.provider] not in session.get_providers():
            raise _unusable(self.configuration, why_missing(log()))
        return session

    def _session_of(self, options: Any, capture: bool) -> Any:
        if self.provider == "tensorrt_rtx":
            _add_rtx(self._onnxruntime, options, self.contract, self.configuration)
            return self._onnxruntime.InferenceSession(self.path, options, enable_fallback=0)
        cuda = NAMES["cuda"], cuda_options(self.configuration.precision, capture)
        providers: List[Any] = [cuda, "CPUExecutionProvider"]
        if self.provider == "tensorrt":
            settings = tensorrt_options(self.contract, self.configuration, self._onnxruntime.__version__)
            providers.insert(0, (NAMES["tensorrt"], settings))
        for name, _ in providers[:-1]:
            if name not in self._onnxruntime.get_available_providers():
                raise _unusable(
                    self.configuration, f"this ONNX Runtime, {self._onnxruntime.__version__}, is built without {name}"
                )

        def create() -> Any:
            return self._onnxruntime.InferenceSession(self.path, options, providers=providers, enable_fallback=0)

        if self.provider == "tensorrt":
            return with_cache(settings["trt_engine_cache_path"], create)
        return create()

    def _inspect(self, session: Any) -> None:
        """Run once and see which operators run where, in the profile that ONNX Runtime writes."""
        batch = np.zeros(self.shape.min, self.contract.input.dtype)
        try:
            session.run(None, {self.contract.input.name: batch})
        except Exception as e:
            fail(f"run {os.path.basename(self.path)}", self.configuration, e)
        where = placement(session.end_profiling())
        self.on_processor = where.get("CPUExecutionProvider", [])
        if self.provider != "cuda" and NAMES[self.provider] not in where:
            raise _unusable(self.configuration, f"none of the network's operators runs in {NAMES[self.provider]}")

    def _buffers_for(self, batch: Array) -> "Buffers":
        buffers = self._buffers.get(batch.shape)
        if buffers is None:
            if len(self._buffers) == SHAPES and not self.captured:
                self._buffers.clear()
            graph = str(len(self._buffers)) if self.captured and len(self._buffers) < SHAPES else NOT_CAPTURED
            device = "cpu" if self.provider == "tensorrt_rtx" else "cuda"
            buffers = Buffers(self._onnxruntime, self._session, batch, device, graph if self.captured else None)
            if len(self._buffers) < SHAPES:
                self._buffers[batch.shape] = buffers
        return buffers


class _Refused(Exception):
    """ONNX Runtime does not capture this network into a CUDA graph."""


class Buffers:
    """Memory on the device for the input and the output of one input shape, bound to a session."""

    def __init__(self, onnxruntime: Any, session: Any, batch: Array, device: str, graph: Optional[str] = None):
        """
        Args:
            batch: an input of the shape.
            device: "cuda", or "cpu".
            graph: number of the CUDA graph that runs with these buffers are captured into; None without capture.
        """
        self._session, self._options = session, onnxruntime.RunOptions()
        self._input = onnxruntime.OrtValue.ortvalue_from_numpy(batch.copy(), device, 0)  # on the CPU it is not copied
        name = session.get_inputs()[0].name, session.get_outputs()[0].name
        # The output's shape is known only after a run.
        probe, options = session.io_binding(), onnxruntime.RunOptions()
        if graph is not None:
            options.add_run_config_entry("gpu_graph_id", NOT_CAPTURED)
            self._options.add_run_config_entry("gpu_graph_id", graph)
        probe.bind_ortvalue_input(name[0], self._input)
        probe.bind_output(name[1], device, 0)
        session.run_with_iobinding(probe, options)
        self._output = probe.get_outputs()[0]
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(name[0], self._input)
        self._binding.bind_ortvalue_output(name[1], self._output)

    def run(self, batch: Array) -> Array:
        """Copy ``batch`` to the device, run, and copy the output back."""
        self._input.update_inplace(np.ascontiguousarray(batch))
        self.repeat()
        output: Array = self._output.numpy()
        return output.copy() if self._output.device_name() == "cpu" else output  # there it is a view of the buffer

    def repeat(self) -> None:
        """Run on what lies on the device."""
        self._session.run_with_iobinding(self._binding, self._options)
        self._binding.synchronize_outputs()


def placement(profile: str) -> Dict[str, List[str]]:
    """The names of the operators that ran, by provider, from a profile."""
    with open(profile, encoding="utf-8") as f:
        events = json.load(f)
    where: Dict[str, List[str]] = {}
    suffix = "_kernel_time"
    for event in events:
        provider = event.get("args", {}).get("provider")
        if event.get("cat") == "Node" and provider and event["name"].endswith(suffix):
            names = where.setdefault(provider, [])
            if event["name"][: -len(suffix)] not in names:
                names.append(event["name"][: -len(suffix)])
    return where


def preload(onnxruntime: Any) -> None:
    """Load the CUDA libraries of the pip packages nvidia-*, which the system's loader does not find.

    ONNX Runtime itself looks for them beside its own package only; PyTorch's, for one, may lie elsewhere on the path.
    """
    if not hasattr(onnxruntime, "preload_dlls"):
        return
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    folders = sorted(folder for root in roots for folder in glob.glob(os.path.join(glob.escape(root), "*", "lib")))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses; the session tells what matters
        for folder in folders:
            onnxruntime.preload_dlls(directory=folder)
        onnxruntime.preload_dlls()


def _only_batch_is_free(shape: ShapeRange) -> bool:
    return shape.min[1:] == shape.max[1:]


def _check_card(configuration: Configuration) -> None:
    """Refuse a card that ONNX Runtime, or TF32, cannot use. Where no card can be asked, the session will tell."""
    for card in gpu.cards()[:1]:
        if configuration.precision == "tf32" and card.capability < (8, 0):
            raise InputError(
                f"expected a GPU of compute capability 8.0 or later for tf32, got {card}; use fp32 or fp16"
            )
        obstacle = gpu.obstacle_onnxruntime(card)
        if obstacle:
            raise InputError(obstacle)


def _unusable(configuration: Configuration, reason: str) -> InputError:
    cards = gpu.cards()
    advice = gpu.advice(cards[0]) if cards else "no NVIDIA GPU was found: check the driver with nvidia-smi"
    provider = configuration.provider or PROVIDERS[0]
    return InputError(f"a GPU was requested, but ONNX Runtime cannot use {provider} ({reason}); {advice}")


def _add_rtx(onnxruntime: Any, options: Any, contract: Contract, configuration: Configuration) -> None:
    """Add TensorRT for RTX, which comes as a plug-in in a package of its own."""
    try:
        import onnxruntime_ep_nv_tensorrt_rtx as plugin
    except ImportError as e:
        raise NotInstalled(
            f"expected ONNX Runtime's plug-in for TensorRT for RTX, got none that can be imported ({e}); pip install "
            "onnxruntime onnxruntime-ep-nv-tensorrt-rtx"
        ) from e
    try:
        onnxruntime.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
    except Exception as e:
        if "already registered" not in str(e):
            raise _unusable(configuration, first_line(e)) from e
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == plugin.get_ep_name()]
    if not devices:
        raise _unusable(configuration, "it finds no RTX card")
    options.add_provider_for_devices(devices[:1], rtx_options(contract, configuration, onnxruntime.__version__))
