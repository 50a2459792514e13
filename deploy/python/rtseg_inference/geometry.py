"""The sizes that an image passes through on its way to the network and back."""

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from .contract import Contract
from .errors import InputError

Size = Tuple[int, int]  # height, width


@dataclass(frozen=True)
class Geometry:
    """Image, resized to ``content``, padded at the right and the bottom to ``network``."""

    image: Size
    content: Size
    network: Size


def geometry(contract: Contract, image: Size) -> Geometry:
    """How the contract's resize and pad rules treat an image of that height and width.

    Raises:
        InputError: the image is larger than what it is to be padded to.
    """
    content = resized(image, contract.resize)
    if contract.pad is None:
        return Geometry(image, content, content)
    network = contract.pad["height"], contract.pad["width"]
    if content[0] > network[0] or content[1] > network[1]:
        raise InputError(
            f"expected an image of at most {network[0]} x {network[1]} pixels, which the model pads to that size, got "
            f"{content[0]} x {content[1]}; shrink the image"
        )
    return Geometry(image, content, network)


def resized(size: Size, rule: Optional[Dict[str, Any]]) -> Size:
    """Height and width after a resize rule of deploy.yaml. Halves round to even, as Python's ``round`` does."""
    if rule is None:
        return size
    height, width = size
    kind, scale = rule["rule"], 1.0
    if kind == "exact":
        height, width = rule["height"], rule["width"]
    elif kind == "fit":  # the largest size of the image's proportions inside the target, whichever way it is turned
        target = rule["height"], rule["width"]
        scale = min(max(target) / max(size), min(target) / min(size))
    elif kind == "long":
        scale = rule["size"] / max(size)
    elif kind == "short":
        side, limit = rule["size"], rule.get("max")
        if limit and side / min(size) * max(size) > limit:
            side = int(limit / max(size) * min(size))
        scale = side / min(size)
    elif kind == "limit":
        if rule.get("max") and max(size) > rule["max"]:
            scale = rule["max"] / max(size)
        elif rule.get("min") and max(size) < rule["min"]:
            scale = rule["min"] / max(size)
    height, width = round(height * scale), round(width * scale)
    divisor = rule.get("divisor")
    if divisor:
        height, width = math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor
    return height, width
