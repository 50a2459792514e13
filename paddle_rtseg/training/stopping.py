"""How long a training goes on: a number of epochs, or until its scores no longer improve."""

import math
from typing import Any, Optional, Sequence

from ..errors import InputError
from . import checkpoints


def batches_per_epoch(images: int, batch_size: int, processes: int) -> int:
    """Number of iterations in which each image is seen once; an incomplete last batch is left out."""
    return math.ceil(images / processes) // batch_size


class Patience:
    """Ends a training after some evaluations in a row without a better score, of the network or of its average.

    Args:
        limit: the number of evaluations.
        save_dir: where the best models are.
        networks: names of their folders.
        resume_model: the checkpoint that training goes on from; None for a new one.
        start, interval: its iteration, and the iterations between evaluations.

    Raises:
        InputError: the checkpoint is that long behind the best score already.
    """

    def __init__(
        self, limit: int, save_dir: str, networks: Sequence[str], resume_model: Optional[str], start: int, interval: int
    ):
        best = [checkpoints.best_score(save_dir, name, resume_model) for name in networks]
        self.limit, self._scores = limit, [score for score, _ in best]
        step = max(step for _, step in best)
        self._waited = math.ceil((start - step) / interval) if step >= 0 else 0
        if self._waited >= limit:
            raise InputError(
                f"expected a training that --patience {limit} lets go on, got one whose last {self._waited} "
                f"evaluations were not better than that at iteration {step}; raise --patience, or leave it out"
            )

    def is_over(self, scores: Sequence[float]) -> bool:
        """Count an evaluation: the score of each network."""
        better = [new > old for new, old in zip(scores, self._scores)]
        self._scores = [max(pair) for pair in zip(scores, self._scores)]
        self._waited = 0 if any(better) else self._waited + 1
        return self._waited >= self.limit


def last_iteration(dataset: Any, step: int, last: int, *scores: float) -> int:
    """Called by PaddleSeg's ``train`` after the evaluation at ``step``: ``last``, or ``step`` to end there.

    The attribute ``patience`` of the evaluated dataset decides.
    """
    patience: Optional[Patience] = getattr(dataset, "patience", None)
    if patience is None or step >= last or not patience.is_over(scores):
        return last
    from paddleseg.utils import logger

    logger.info(f"Training ends at iteration {step} of {last}: no better score in {patience.limit} evaluations.")
    return step
