"""Weights to start a training from, also for other classes than theirs."""

import collections.abc
import contextlib
import contextvars
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, Sequence, Union

from .download import is_url
from .state import Path, described, fill, read_state

if TYPE_CHECKING:
    import paddle

_skip: "contextvars.ContextVar[Sequence[str]]" = contextvars.ContextVar("pretrained_skip", default=())


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

        logger.info(f"Not loaded from {described(weights)}, so new: {', '.join(new)}")
    return new


@contextlib.contextmanager
def skipping(parts: Sequence[str]) -> Iterator[None]:
    """What is built inside, and loads its weights by :func:`load_network`, leaves these parts out."""
    token = _skip.set(parts)
    try:
        yield
    finally:
        _skip.reset(token)


def load_network(model: "paddle.nn.Layer", weights: Path, download: Callable[[str], str]) -> bool:
    """:func:`load_pretrained` for PaddleSeg's networks, called by its ``load_pretrained_model``.

    Args:
        download: PaddleSeg's function for URLs without a checksum.

    Returns:
        Whether ``model`` is a network; backbones, which leave the classifiers of ImageNet out, are not.

    Raises:
        InputError: see :func:`load_pretrained`.
    """
    from paddleseg.cvlibs import manager

    name = type(model).__name__
    if name not in manager.MODELS.components_dict or name in manager.BACKBONES.components_dict:
        return False
    if isinstance(weights, str) and is_url(weights) and "#" not in weights:
        weights = download(weights)
    load_pretrained(model, weights, _skip.get())
    return True


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
