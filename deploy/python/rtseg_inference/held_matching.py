"""Token merging whose matching is held from frame to frame of a video, in ONNX Runtime on the CPU.

A network with matching, SegFormer++ with hq or fast, finds in each image which tokens merge. In a video, what was
found in one frame serves the next ones while the picture changes little: the tokens that merge are those of the frame
that was matched, and the values that they get are the frame's own. This is ours; SegFormer++ is about single images.

The ONNX form gives two graphs: one also gives out what was matched, the other takes that in and matches nothing. What
is handed over is all that is computed from the outcome of matching alone, such as 0/1 matrices of groups.
"""

import copy
from typing import Any, Dict, List, Optional, Set, Tuple

from .contract import Contract
from .errors import InputError, NotInstalled
from .files import Array
from .onnx_runtime import fail, import_onnxruntime, session_options
from .predictor import Predictor

_MATCHING = ("ArgMax", "TopK")  #: operators that say which tokens match, along the last axis


class HeldMatching:
    """A network that matches tokens in some frames only; see :class:`.runtime.Runtime`.

    Args:
        predictor: of the network, see :func:`check_hold`.
        frames: how many frames to use a matching for, at most.

    Attributes:
        fresh: whether the last run matched.

    Raises:
        InputError: the network matches nothing, or cannot be divided.
        NotInstalled: the package onnx is not installed.
    """

    def __init__(self, predictor: Predictor, frames: int):
        self.frames, self.fresh = frames, False
        self.contract, self.configuration = predictor.contract, predictor.configuration
        self.shape, self.threads = predictor.runtime.shape, predictor.runtime.threads
        onnxruntime = import_onnxruntime(self.configuration)
        options = session_options(onnxruntime, self.threads)
        try:
            self._names, *graphs = _divided(self.contract, self.configuration.precision)
            self._matches, self._takes = (
                onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]) for graph in graphs
            )
        except InputError:
            raise
        except Exception as e:  # however onnx or ONNX Runtime fails
            fail("divide the network for --hold_matching", self.configuration, e)
        self._matching: Dict[str, Array] = {}
        self._age = 0

    def renew(self) -> None:
        """Match again in the next run."""
        self._matching = {}

    def run(self, batch: Array) -> Array:
        """See :meth:`.runtime.Runtime.run`; the images of a batch are those of one frame."""
        self.fresh = not self._matching or self._age >= self.frames
        inputs = {self.contract.input.name: batch}
        try:
            if self.fresh:
                output, *matching = self._matches.run(None, inputs)
                self._matching, self._age = dict(zip(self._names, matching)), 0
            else:
                output = self._takes.run(None, {**inputs, **self._matching})[0]
        except Exception as e:
            self.renew()
            fail("run the network with --hold_matching", self.configuration, e)
        self._age += 1
        return output


def check_hold(tiled: bool, device: str, backend: str) -> None:
    """Refuse what no matching can be held for.

    Args:
        tiled: whether frames are segmented in tiles, whose tokens have nothing to do with each other.

    Raises:
        InputError: it is tiled, or runs in something else than ONNX Runtime on the CPU.
    """
    if tiled:
        raise InputError(
            "expected --hold_matching with whole frames, got tiles; leave --tile out, or add --fit resize for a model "
            "of one size"
        )
    if (device, backend) != ("cpu", "onnxruntime"):
        raise InputError(
            f"expected --hold_matching with --backend onnxruntime on the CPU, got {backend} on the {device.upper()}; "
            "choose that, or leave --hold_matching out"
        )


def holding(predictor: Predictor, frames: int) -> Tuple[Predictor, HeldMatching]:
    """A predictor like the one given whose network is :class:`HeldMatching`, checked against the golden output.

    Raises:
        InputError: see :class:`HeldMatching`; or the divided network gives something else.
    """
    predictor = copy.copy(predictor)
    predictor.runtime = held = HeldMatching(predictor, frames)
    for _ in range(2):  # that matches, and that holds the matching
        verification = predictor.verify()
        if not verification.passed:
            raise InputError(
                f"the network does not reproduce its golden output with --hold_matching ({verification}); leave it out"
            )
    held.renew()
    return predictor, held


def _divided(contract: Contract, precision: str) -> Tuple[List[str], bytes, bytes]:
    """What is handed over, the graph that gives it out and the graph that takes it in.

    Raises:
        InputError: the graph has no matching.
        NotInstalled: the package onnx is not installed.
    """
    try:
        import onnx
        from onnx.utils import Extractor
    except ImportError as e:
        raise NotInstalled(f"expected the package onnx for --hold_matching, got none ({e}); pip install onnx") from e
    model = onnx.load(contract.onnx_path(precision))
    names = _handed_over(model.graph)
    if not names:
        raise InputError(
            "expected a network that matches tokens with --hold_matching, such as SegFormer++ with token_merging hq or "
            "fast, got another; leave it out"
        )
    extractor = Extractor(model)
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    giving, taking = (extractor.extract_model(*ends) for ends in ((inputs, outputs + names), (inputs + names, outputs)))
    return names, giving.SerializeToString(), taking.SerializeToString()


def _handed_over(graph: Any) -> List[str]:
    """The tensors that are computed from matches and constants alone, and are used together with others."""
    constants: Set[str] = {tensor.name for tensor in graph.initializer} | {""}  # "" is an input that is left out
    matched: Set[str] = set()
    used: List[str] = []
    for node in graph.node:  # which are in order
        inputs = set(node.input)
        if node.op_type in _MATCHING and _axis(node) == -1:
            matched.add(node.output[-1])
        elif inputs <= constants:
            constants.update(node.output)
        elif inputs <= constants | matched:
            matched.update(node.output)
        else:
            used += [name for name in node.input if name in matched]
    return sorted(set(used))


def _axis(node: Any) -> Optional[int]:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
