"""What can be said of an operator; shared by the tables of rules."""

from typing import NamedTuple, Set

ACCEPTED = "accepted"  #: TensorRT runs it
PLUGIN = "plugin"  #: Paddle's kernel runs it inside the engine
REJECTED = "rejected"  #: it stays outside, and cuts the engine in parts
FOLDED = "folded"  #: Paddle computes it before, since all that it reads is constant

TOPK_LIMIT = 3840  #: elements; TensorRT's documentation of ITopKLayer


class Verdict(NamedTuple):
    """``reason`` says why an operator is not accepted, or what to mind though it is."""

    kind: str
    reason: str = ""


def names(text: str) -> Set[str]:
    """The words of a text."""
    return set(text.split())
