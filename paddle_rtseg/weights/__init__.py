"""Published weights in, Paddle state out: strict, and without ever executing a pickle."""

from ..errors import InputError
from .download import fetch
from .families import CONVERTERS as FAMILIES
from .pretrained import load_pretrained
from .state import Arrays, State, checked_state, load_weights, read_state, save_state

__all__ = ["FAMILIES", "State", "convert", "fetch", "load_pretrained", "load_weights", "read_state", "save_state"]


def convert(state: Arrays, family: str) -> State:
    """Convert a published checkpoint's state to the state of our model.

    Args:
        state: arrays by the publisher's names, as :func:`read_state` gives them.
        family: a key of :data:`FAMILIES`.

    Raises:
        InputError: an unknown family, or any entry of the state that is unknown or missing.
    """
    if family not in list(FAMILIES):
        raise InputError(f"expected a family among {', '.join(sorted(FAMILIES))}, got {family!r}; choose one")
    state = checked_state(state)
    prefix = "module."  # left by torch.nn.DataParallel
    if all(name.startswith(prefix) for name in state):
        state = {name[len(prefix) :]: array for name, array in state.items()}
    return FAMILIES[family](state)
