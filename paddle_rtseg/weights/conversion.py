"""What the converters of all families share: a rename table that leaves nothing over."""

import re
from typing import Callable, Iterable, NamedTuple, Optional, Sequence, Set

import numpy as np

from ..errors import InputError
from .state import Array, Arrays, State, shorten


def as_is(array: Array) -> Array:
    """The transform of arrays that both frameworks store alike."""
    return array


def transposed(array: Array) -> Array:
    """A linear layer's weight: PyTorch's (out, in), or (out, in, 1, 1) of a 1x1 convolution, -> Paddle's (in, out)."""
    if array.shape[2:] not in ((), (1, 1)) or array.ndim < 2:
        raise InputError(f"expected the matrix of a linear layer, got shape {list(array.shape)}; check the file")
    return array.reshape(array.shape[:2]).T


class Rule(NamedTuple):
    """One row of a rename table."""

    pattern: str  #: regular expression that must match the whole name
    target: Optional[str]  #: the new name, as in :func:`re.sub`; None drops the entry
    transform: Callable[[Array], Array] = as_is


def linear(pattern: str, target: str) -> Sequence[Rule]:
    """The two rules of a linear layer's weight and bias."""
    return (
        Rule(pattern + r"\.weight", target + ".weight", transposed),
        Rule(pattern + r"\.bias", target + ".bias"),
    )


def batch_norm(pattern: str, target: str) -> Sequence[Rule]:
    """The rules of a batch norm; Paddle names the running statistics differently and does not count batches."""
    return (
        Rule(pattern + r"\.(?P<kind>weight|bias)", target + r".\g<kind>"),
        Rule(pattern + r"\.running_mean", target + "._mean"),
        Rule(pattern + r"\.running_var", target + "._variance"),
        Rule(pattern + r"\.num_batches_tracked", None),
    )


def rename(state: Arrays, rules: Iterable[Rule]) -> State:
    """Apply the first rule that matches each name.

    Raises:
        InputError: a name that no rule matches, or two names that become the same one.
    """
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    result: State = {}
    leftover = []
    for name, array in state.items():
        rule = next((rule for pattern, rule in compiled if pattern.fullmatch(name)), None)
        if rule is None:
            leftover.append(name)
        elif rule.target is not None:
            target = re.sub(rule.pattern, rule.target, name)
            if target in result:
                raise InputError(f"two entries of the state become {target}, one of them {name}; remove one")
            result[target] = rule.transform(np.asarray(array))
    if leftover:
        raise InputError(f"unknown entries: {shorten(leftover)}; check the family, or remove them")
    return result


def complete(state: State, expected: Set[str]) -> State:
    """A converted state that has every name of ``expected``; a backbone without a head loses its ``backbone.``.

    Raises:
        InputError: a name is missing.
    """
    missing = sorted(expected - set(state))
    if missing:
        raise InputError(f"the state lacks what becomes {shorten(missing)}; use the complete file")
    if all(name.startswith("backbone.") for name in state):
        return {name[len("backbone.") :]: array for name, array in state.items()}
    return state
