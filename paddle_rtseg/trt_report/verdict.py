"""The possible verdicts on an operator, shared by the rule tables."""

from typing import NamedTuple, Set

ACCEPTED = "accepted"  #: TensorRT runs it
PLUGIN = "plugin"  #: Paddle's kernel runs it inside the engine
REJECTED = "rejected"  #: it runs outside, and splits the engine
FOLDED = "folded"  #: Paddle computes it in advance, because its inputs are constant

TOPK_LIMIT = 3840  #: elements; TensorRT's documentation of ITopKLayer


class Verdict(NamedTuple):
    """``reason``: why an operator is not accepted, or a warning about one that is."""

    kind: str
    reason: str = ""


def names(text: str) -> Set[str]:
    """The words of a text."""
    return set(text.split())
