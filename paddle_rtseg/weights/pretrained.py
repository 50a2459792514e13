"""Weights to start a training from, also for other classes than theirs."""

import collections.abc
from typing import TYPE_CHECKING, Any, List, Mapping, Sequence, Union

from .state import Path, described, fill, read_state, shorten

if TYPE_CHECKING:
    import paddle


def load_pretrained(
    model: "paddle.nn.Layer", weights: Union[Path, Mapping[str, Any]], skip: Sequence[str] = ()
) -> List[str]:
    """Load weights strictly, except for classifiers that they have for another number of classes.

    Those keep their initial values, and the log names them.

    Args:
        model: a ``paddle.nn.Layer``.
        weights: what :func:`.state.read_state` reads, or a state (arrays or tensors by name).
        skip: names of parameters or of whole layers that are to be new too.

    Returns:
        The names of the parameters that are new.

    Raises:
        InputError: anything else does not fit, or a ``skip`` matches nothing.
    """
    state = weights if isinstance(weights, collections.abc.Mapping) else read_state(weights)
    parts = [*skip, *_classifiers(model.state_dict(), state)]
    fill(model, state, described(weights), parts, option="pretrained_skip")
    new = [name for name in model.state_dict() if any(f"{name}.".startswith(f"{part}.") for part in parts)]
    if new:
        from paddleseg.utils import logger

        logger.info(f"Not loaded from {described(weights)}, so new: {shorten(new)}")
    return new


def _classifiers(own: Mapping[str, Any], state: Mapping[str, Any]) -> List[str]:
    """The parameters that differ in nothing but the number of classes, which is their first dimension.

    Nothing says which parameters belong to a classifier. But another number of classes changes the first dimension
    alone, from one number to another that is the same everywhere; another width changes two dimensions somewhere.
    """
    shapes = {name: (list(own[name].shape), list(state[name].shape)) for name in own if name in state}
    differing = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    changes = {
        (mine[0], theirs[0]) if mine[1:] == theirs[1:] else None
        for mine, theirs in differing.values()
        if mine and theirs
    }
    return list(differing) if len(changes) == 1 and None not in changes else []
