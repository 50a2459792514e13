"""Which of the configurations that reproduce the golden output is the fastest here."""

import statistics
import time
from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np

from .contract import read_contract
from .errors import InputError
from .predictor import Predictor
from .runtime import BACKENDS, PRECISIONS

RUNS = 5


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried."""

    name: str
    milliseconds: Optional[float]  #: for one image, preprocessing and postprocessing included; None if it failed
    note: str  #: how it compared with the golden output, or why it was dropped

    def __str__(self) -> str:
        time_taken = "dropped" if self.milliseconds is None else f"{self.milliseconds:.1f} ms"
        return f"{self.name}: {time_taken} ({self.note})"


def fastest(
    model_dir: str,
    device: str = "cpu",
    precision: str = "fp32",
    threads: int = 0,
    image: Optional[np.ndarray] = None,
) -> Tuple[Predictor, List[Trial]]:
    """Try each backend of ``device`` that computes in ``precision``.

    Args:
        image: (H, W, 3) uint8 BGR to take the time on; the golden image if None.

    Returns:
        The fastest predictor that passes :meth:`Predictor.verify`, and what was tried.

    Raises:
        InputError: none passes, or the model itself is damaged.
    """
    read_contract(model_dir)  # what is wrong with the folder is wrong for each backend: say it once
    trials: List[Trial] = []
    best, best_time = None, float("inf")
    for backend in BACKENDS.get(device, ()):
        if precision not in PRECISIONS[device, backend]:
            continue
        name = f"{device} {backend} {precision}"
        try:
            predictor = Predictor(model_dir, device, backend, precision, threads)
            verification = predictor.verify()
            taken = _median_time(predictor, image) if verification.passed else None
        except InputError as e:
            trials.append(Trial(name, None, str(e)))
            continue
        except Exception as e:  # whatever a backend dies of, the others may work
            trials.append(Trial(name, None, _first_line(e)))
            continue
        trials.append(Trial(name, taken, str(verification)))
        if taken is not None and taken < best_time:
            best, best_time = predictor, taken
    if best is None:
        tried = "; ".join(map(str, trials)) or f"no {device} backend computes in {precision}"
        raise InputError(f"no configuration reproduces the golden output of {model_dir}: {tried}")
    return best, trials


def _median_time(predictor: Predictor, image: Optional[np.ndarray]) -> float:
    """Milliseconds for one image, after one run that is not counted."""
    target = predictor.contract.path(predictor.contract.golden.image) if image is None else image
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        predictor.predict(target)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def _first_line(error: Exception) -> str:
    """Paddle's errors are pages of C++ frames; the sentence that says what happened begins with the kind in
    brackets, such as ``(Unimplemented)``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error: (" in line or line.startswith("(")]
    return (telling or lines or [type(error).__name__])[0][:200]
