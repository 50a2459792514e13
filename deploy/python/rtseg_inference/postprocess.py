"""From the network's output to class ids.

Inside the graph, upsampling the logits to the image and taking the argmax costs a quarter of a real-time network's
time: each value of each class is written at full size and read again. Here one class at a time is upsampled into a
reused buffer and compared with the best so far. The ids equal those of the full computation: each class goes through
the same arithmetic, and the first of equal classes wins.
"""

from typing import Iterable, Optional, Type, Union

import cv2
import numpy as np

from .files import Array
from .geometry import Geometry, Size
from .resizing import bands, resize

LARGE = 16_000_000  #: pixels of an image whose logits are restored in bands


def id_type(num_classes: int) -> Union[Type[np.uint8], Type[np.uint16]]:
    """Smallest unsigned type that holds the class ids."""
    return np.uint8 if num_classes <= 256 else np.uint16


def argmax(logits: Array, sizes: Geometry) -> Array:
    """Class ids at the image's size of logits at any resolution.

    Args:
        logits: (C, h, w) float32, covering the network's input.
        sizes: how to get back to the image; see :func:`restore`.

    Returns:
        (H, W) uint8, or uint16 for more than 256 classes.
    """
    if sizes.image[0] * sizes.image[1] > LARGE and sizes.content != sizes.image:
        return _argmax_in_bands(logits, sizes)
    scratch = np.empty(sizes.image, np.float32)
    return largest((restore(plane, sizes, scratch) for plane in logits), sizes.image, len(logits))


def largest(planes: Iterable[Array], size: Size, count: int) -> Array:
    """The first of the largest of ``count`` planes (H, W) at each pixel; a plane is done with when the next is taken.

    Returns:
        (H, W) uint8, or uint16 for more than 256 planes.
    """
    ids: Array = np.zeros(size, id_type(count))
    best, larger, name = np.empty(size, np.float32), np.empty(size, np.uint8), np.empty_like(ids)
    for k, plane in enumerate(planes):
        if k == 0:
            best[...] = plane
            continue
        cv2.compare(plane, best, cv2.CMP_GT, larger)
        cv2.max(plane, best, best)
        name.fill(k)
        cv2.copyTo(name, larger, ids)
    return ids


def _argmax_in_bands(logits: Array, sizes: Geometry) -> Array:
    """:func:`argmax` with the same arithmetic for a few rows at a time, where planes would take too much memory."""
    content = [restore(plane, Geometry(sizes.content, sizes.content, sizes.network)) for plane in logits]
    height, width = sizes.image
    ids: Array = np.empty(sizes.image, id_type(len(logits)))
    for band in bands(sizes.content[0], height):
        planes = (band.resized(plane[band.source], width) for plane in content)
        ids[band.rows] = largest(planes, (len(band.lower), width), len(logits))
    return ids


def restore(plane: Array, sizes: Geometry, out: Optional[Array] = None) -> Array:
    """(h, w) logits -> (H, W) at the image's size, bilinear with half-pixel centres (``align_corners=False``).

    Upsamples to the network's input, drops the padding, and resizes to the image, as the model's own last step and
    PaddleSeg's predict do. ``out``, of the image's size, may be used for the result.
    """
    if plane.shape != sizes.network:
        direct = sizes.network == sizes.image
        plane = resize(plane, sizes.network, cv2.INTER_LINEAR, out if direct else None)
    height, width = sizes.content
    plane = plane[:height, :width]
    if plane.shape != sizes.image:
        plane = resize(plane, sizes.image, cv2.INTER_LINEAR, out)
    return plane


def restore_ids(ids: Array, sizes: Geometry) -> Array:
    """(h, w) class ids at the network's input -> (H, W) at the image's size by nearest-neighbour."""
    height, width = sizes.content
    ids = ids[:height, :width]
    return ids if ids.shape == sizes.image else resize(ids, sizes.image, cv2.INTER_NEAREST)


def confidence(planes: Array, sizes: Geometry, probabilities: bool) -> Array:
    """(H, W) float32: the probability of each pixel's class, which is the largest, without the others in memory.

    Args:
        planes: (C, h, w) float32 logits, or probabilities.
        sizes: how to get back to the image; see :func:`restore`.
    """
    scratch, best = (np.empty(sizes.image, np.float32) for _ in range(2))
    best[...] = restore(planes[0], sizes, scratch)
    for plane in planes[1:]:
        cv2.max(restore(plane, sizes, scratch), best, best)
    if probabilities:
        return best
    total, share = np.zeros_like(best), np.empty_like(best)
    for plane in planes:
        cv2.subtract(restore(plane, sizes, scratch), best, share)
        cv2.exp(share, share)
        cv2.add(total, share, total)
    return np.reciprocal(total, total)


def softmax(logits: Array) -> Array:
    """(C, H, W) logits -> probabilities over the first axis."""
    e: Array = np.exp(logits - logits.max(axis=0))
    return np.asarray(e / e.sum(axis=0))
