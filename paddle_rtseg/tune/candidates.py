"""What a search tries: token merging, the size of the network's input, backend and precision."""

import dataclasses
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from rtseg_inference import processor
from rtseg_inference.configuration import BACKENDS
from rtseg_inference.contract import INT8

from ..errors import InputError

SCALES = (0.5, 0.67, 0.83, 1.0)  #: of the height and width that the config gives the network
NONE = "none"

_POOLED = {"q_mode": "n2d", "q_stride": [2, 2]}
_POOLED_MORE = {"q_mode": "n2d", "q_stride": [4, 4]}
_HALVED = {"q_mode": "n2d", "q_stride": [2, 1]}
_KEYS_POOLED = {"kv_mode": "n2d", "kv_stride": [2, 2]}


def _matched(prefix: str, ratio: float, cell: int) -> Dict[str, Any]:
    return {f"{prefix}_mode": "bsm", f"{prefix}_ratio": ratio, f"{prefix}_cell": [cell, cell]}


#: Values of ``model.backbone.token_merging``, by the name in tables: the paper's schedules, others that pool queries or
#: keys, or match with other ratios and cells, and the paper's with our options.
MERGINGS: Dict[str, Any] = {
    NONE: None,
    "hq": "hq",
    "fast": "fast",
    "2x2": "2x2",
    "2x1": [_HALVED] * 4,
    "2x2 in stage 1": [_POOLED, {}, {}, {}],
    "2x2 in stages 1-2": [_POOLED, _POOLED, {}, {}],
    "2x2, keys too": [{**_POOLED, **_KEYS_POOLED}] * 4,
    "4x4 in stage 1, 2x2": [_POOLED_MORE, *[_POOLED] * 3],
    "2x2, matched in 3-4": [*[_POOLED] * 2, *[_matched("q", 0.8, 4)] * 2],
    "matched by half in 3-4": [{}, {}, *[_matched("q", 0.5, 2)] * 2],
    "hq, every 2nd": {"schedule": "hq", "match_every": 2},
    "fast, every 2nd": {"schedule": "fast", "match_every": 2},
    "fast, proportional": {"schedule": "fast", "proportional": True},
}


class Network(NamedTuple):
    """What is exported."""

    merging: str  #: the name of a merging, such as a key of :data:`MERGINGS`
    scale: float


class Setting(NamedTuple):
    """What runs an exported network."""

    backend: str
    precision: str

    @property
    def arithmetic(self) -> str:
        """The same for settings that compute the same masks: INT8 is rounded in another way by each backend."""
        return f"{self.precision} in {self.backend}" if self.precision == INT8 else self.precision


@dataclasses.dataclass(frozen=True, order=True)
class Candidate:
    """One way to run trained weights."""

    merging: str
    scale: float
    backend: str
    precision: str

    @property
    def network(self) -> Network:
        return Network(self.merging, self.scale)

    @property
    def setting(self) -> Setting:
        return Setting(self.backend, self.precision)

    def __str__(self) -> str:
        merging = "" if self.merging == NONE else f"{self.merging}, "
        return f"{merging}scale {self.scale:g}, {self.backend}, {self.precision}"


def settings(
    device: str, backends: Optional[Sequence[str]] = None, precisions: Optional[Sequence[str]] = None
) -> List[Setting]:
    """Backends of a device with the precisions that they, and on a CPU the processor, compute in.

    Args:
        backends, precisions: those that are wanted; None for all.

    Raises:
        InputError: there are none.
    """
    known = BACKENDS[device]
    found = [
        Setting(backend, precision)
        for backend, offered in known.items()
        for precision in offered
        if (backends is None or backend in backends)
        and (precisions is None or precision in precisions)
        and (device != "cpu" or processor.obstacle(precision) is None)
    ]
    if not found:
        wanted = f"{' '.join(backends or ['any'])} in {' '.join(precisions or ['any precision'])}"
        raise InputError(
            f"expected a backend of the {device} ({', '.join(known)}) in a precision that it and the machine compute "
            f"in, got {wanted}; choose others"
        )
    return found


def combinations(mergings: Sequence[str], scales: Sequence[float], available: Sequence[Setting]) -> List[Candidate]:
    """Every merging at every scale in every setting."""
    return [Candidate(m, s, *setting) for m in mergings for s in scales for setting in available]
