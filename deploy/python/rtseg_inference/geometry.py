"""The sizes that an image passes through on its way to the network and back."""

import math
from dataclasses import dataclass
from typing import Optional, Tuple

from .contract import Contract, Preprocessing, Resize
from .errors import InputError
from .images import pixel_limit

Size = Tuple[int, int]  # height, width


@dataclass(frozen=True)
class Geometry:
    """Image, resized to ``content``, padded at the right and the bottom to ``network``."""

    image: Size
    content: Size
    network: Size


def geometry(contract: Contract, image: Size) -> Geometry:
    """How the contract's resize and pad rules treat an image of that height and width; see :func:`sizes`."""
    return sizes(contract.preprocess, image)


def sizes(rules: Preprocessing, image: Size) -> Geometry:
    """How resize and pad rules treat an image of that height and width.

    Raises:
        InputError: the image is larger than what it is to be padded to, or would be resized to nothing or to more
            pixels than :func:`.images.pixel_limit`.
    """
    pad = rules.pad
    content = resized(image, rules.resize)
    network = content if pad is None else (pad.height, pad.width)
    limit = pixel_limit()
    if min(content) < 1 or max(content[0] * content[1], network[0] * network[1]) > limit:
        raise InputError(
            f"expected an image that the model resizes and pads to 1 to {limit // 10**6} million pixels, got "
            f"{image[1]} x {image[0]}, which becomes {content[1]} x {content[0]}; crop the image"
        )
    if pad is None:
        return Geometry(image, content, content)
    if content[0] > network[0] or content[1] > network[1]:
        raise InputError(
            f"expected an image of at most {network[0]} x {network[1]} pixels, which the model pads to that size, got "
            f"{content[0]} x {content[1]}; shrink the image"
        )
    return Geometry(image, content, network)


def resized(size: Size, resize: Optional[Resize]) -> Size:
    """Height and width after resizing. Halves round to even, as Python's ``round`` does."""
    if resize is None:
        return size
    longer, shorter = max(size), min(size)
    scale = 1.0
    if resize.rule == "exact":
        size = _target(resize)
    elif resize.rule == "fit":  # the largest size of the image's proportions inside the target, in either orientation
        target = _target(resize)
        scale = min(max(target) / longer, min(target) / shorter)
    elif resize.rule == "long":
        scale = _side(resize) / longer
    elif resize.rule == "short":
        side = _side(resize)
        if resize.max is not None and side / shorter * longer > resize.max:
            side = int(resize.max / longer * shorter)
        scale = side / shorter
    elif resize.max is not None and longer > resize.max:
        scale = resize.max / longer
    elif resize.min is not None and longer < resize.min:
        scale = resize.min / longer
    height, width = (round(n * scale) for n in size)
    if resize.divisor is None:
        return height, width
    return math.ceil(height / resize.divisor) * resize.divisor, math.ceil(width / resize.divisor) * resize.divisor


def _target(resize: Resize) -> Size:
    assert resize.height is not None and resize.width is not None  # the reader sees to it
    return resize.height, resize.width


def _side(resize: Resize) -> int:
    assert resize.size is not None
    return resize.size
