"""The fastest configuration on this machine among those that reproduce the golden output."""

import time
import warnings
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Tuple, Type, TypeVar

from . import processor
from .configuration import AUTO, AUTO_PRECISIONS, BACKENDS, check_threads
from .contract import INT8, POSE, Contract, Precision, read_contract
from .errors import InputError, NotInstalled, first_line
from .files import Array, path_text
from .images import read_image
from .loaded_model import LoadedModel, Path
from .pose_predictor import PosePredictor
from .predictor import Predictor

TURNS = 5
Kind = TypeVar("Kind", bound=LoadedModel)


def load_model(model_dir: Path, **configuration: Any) -> LoadedModel:
    """The predictor for the task of an exported model; :class:`.LoadedModel` has the arguments."""
    return predictor_for(read_contract(path_text(model_dir, "the folder of an exported model")))(
        model_dir, **configuration
    )


def predictor_for(contract: Contract) -> Type[LoadedModel]:
    """The class of predictors for the task of a model."""
    return PosePredictor if contract.task == POSE else Predictor


@dataclass(frozen=True)
class Trial:
    """The outcome of trying one configuration."""

    name: str
    milliseconds: Optional[float]  #: for one image, preprocessing and postprocessing included; None if it failed
    note: str  #: how it compared with the golden output, or why it was dropped or left out
    left_out: bool = False  #: its package, or the form of the model that it runs, is not there

    def __str__(self) -> str:
        failed = "left out" if self.left_out else "dropped"
        time_taken = failed if self.milliseconds is None else f"{self.milliseconds:.1f} ms"
        return f"{self.name}: {time_taken} ({self.note})"


def fastest(
    model_dir: Path,
    device: str = "cpu",
    precision: str = AUTO,
    threads: int = 0,
    image: Optional[Array] = None,
    strict: bool = False,
) -> Tuple[Predictor, List[Trial]]:
    """Try each backend of ``device`` that computes in ``precision``.

    Args:
        precision: "auto" is fp32 on a CPU; on a GPU each backend is tried in fp32, TF32 and fp16. A model that has an
            INT8 form is also timed in that, which is not chosen unless it is asked for, as it may cost accuracy.
        image: (H, W, 3) uint8 BGR to time with; the golden image if None.
        strict: see :class:`.Predictor`.

    Returns:
        The fastest predictor that passes :meth:`Predictor.verify`, and what was tried.

    Raises:
        InputError: none passes, the processor does not compute in ``precision``, or the model is damaged.
    """
    return fastest_of(Predictor, model_dir, device, precision, threads, image, strict)


def fastest_of(
    kind: Type[Kind],
    model_dir: Path,
    device: str = "cpu",
    precision: str = AUTO,
    threads: int = 0,
    image: Optional[Array] = None,
    strict: bool = False,
) -> Tuple[Kind, List[Trial]]:
    """:func:`fastest` for any class of predictors."""
    check_threads(threads)
    model_dir = path_text(model_dir, "the folder of an exported model")
    contract = read_contract(model_dir)  # an error in the folder concerns every backend: report it once
    if device == "cpu" and precision != AUTO:
        processor.require(precision)
    passed: Dict[str, Kind] = {}
    notes: Dict[str, str] = {}
    left_out: Set[str] = set()
    for backend, offered in _candidates(device, precision, contract):
        name = f"{device} {backend} {offered}"
        try:
            with warnings.catch_warnings():
                if not _is_asked_for(offered, device, precision):
                    warnings.simplefilter("ignore")
                predictor = kind(model_dir, device, backend, offered, threads, strict=strict)
            verification = predictor.verify()
        except InputError as e:
            notes[name] = str(e)
            if isinstance(e, NotInstalled):
                left_out.add(name)
            continue
        except Exception as e:  # however a backend fails, the others may work
            notes[name] = first_line(e)
            continue
        notes[name] = str(verification)
        if verification.passed:
            passed[name] = predictor
    choice = [name for name, p in passed.items() if _is_asked_for(p.configuration.precision, device, precision)]
    if not choice:
        tried = "; ".join(f"{name}: {note}" for name, note in notes.items())
        raise InputError(
            f"no configuration reproduces the golden output of {model_dir}: "
            + (tried or f"no {device} backend computes in {precision}")
        )
    times = _least_times(passed, image)
    for name in passed.keys() - set(choice):
        notes[name] += f"; chosen only with --precision {INT8}"
    trials = [Trial(name, times.get(name), note, name in left_out) for name, note in notes.items()]
    return passed[min(choice, key=lambda name: times[name])], trials


def _candidates(device: str, precision: str, contract: Contract) -> List[Tuple[str, Precision]]:
    """Backends of ``device``, each with a precision that it computes in; INT8 as well if the model has that form."""
    return [
        (backend, offered)
        for backend, precisions in BACKENDS.get(device, {}).items()
        for offered in precisions
        if _is_asked_for(offered, device, precision)
        or (precision == AUTO and offered == INT8 and contract.int8 is not None)
    ]


def _is_asked_for(offered: str, device: str, precision: str) -> bool:
    """Whether the choice is among this precision too."""
    return offered in AUTO_PRECISIONS.get(device, ()) if precision == AUTO else offered == precision


def _least_times(predictors: Dict[str, Kind], image: Optional[Array]) -> Dict[str, float]:
    """Milliseconds for one image: the least of several turns, alternating, so that other load does not decide."""
    times = dict.fromkeys(predictors, float("inf"))
    for turn in range(TURNS + 1):
        for name, predictor in predictors.items():
            golden = predictor.contract.path(predictor.contract.golden.image)
            pixels = read_image(golden) if image is None else image
            start = time.perf_counter()
            predictor.predict(pixels)
            if turn > 0:  # the first is slower
                times[name] = min(times[name], 1e3 * (time.perf_counter() - start))
    return times
