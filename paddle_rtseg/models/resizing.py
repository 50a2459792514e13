"""Resizes, most of them as products with constant matrices.

A bilinear resize and adaptive average pooling treat height and width apart, and each is linear: two matrix products
do either. On a CPU they take half the time of Paddle's operators. In an exported graph they also avoid the adaptive
pooling of runtimes that get it wrong where the bins do not divide the map.

OpenVINO and ONNX Runtime resize faster by operators, in the layout of their convolutions: :func:`resize_operators` is
the form of the graphs for them.

Bilinear resizes have half-pixel centres (``align_corners=False``).
"""

import contextlib
import functools
from typing import Iterator, List, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from .layers import Constants

_operators = False


@contextlib.contextmanager
def resize_operators() -> Iterator[None]:
    """Resize bilinearly by operators, without matrices, in what is traced inside."""
    global _operators
    _operators, before = True, _operators
    try:
        yield
    finally:
        _operators = before


class ResizeMatrices(Constants):
    """The matrices of a layer's resizes."""


def resizes_by_matrices(network: nn.Layer) -> bool:
    """Whether ``network`` has bilinear resizes that depend on :func:`resize_operators`."""
    return any(isinstance(layer, ResizeMatrices) for layer in network.sublayers())


@paddle.jit.not_to_static
def resize(x: paddle.Tensor, like: paddle.Tensor) -> paddle.Tensor:
    """Bilinear resize to the height and width of another map.

    Args:
        x: (B, C, h, w).
        like: (B, C', H, W); H and W may be free in an exported graph.

    Returns:
        (B, C, H, W); ``x`` itself where it is known to have that size.
    """
    size = list(like.shape[2:])
    if -1 in size:  # free in an exported graph; TensorRT takes one tensor, not a list of two
        size = paddle.shape(like)[2:]
    elif size == list(x.shape[2:]):
        return x
    on_cpu = paddle.in_dynamic_mode() and x.place.is_cpu_place() and x.dtype == paddle.float32
    if on_cpu and (not x.stop_gradient or max(x.shape[2:]) <= 128):  # larger maps gain only in the backward pass
        (batch, channels, h, w), (height, width) = x.shape, size
        x = _product(x.reshape([-1, h, w]), _cached_matrix(height, h), _cached_matrix(width, w))
        return x.reshape([batch, channels, height, width])
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


@paddle.jit.not_to_static
def resize_to_fixed(x: paddle.Tensor, height: int, width: int, constants: Constants) -> paddle.Tensor:
    """Bilinear resize, by two products also in a graph of fixed size.

    Args:
        x: (B, C, h, w), of fixed height and width.
        height, width: the size wanted.
        constants: keeps the matrices.

    Returns:
        (B, C, height, width); ``x`` itself where it has that size.
    """
    channels, h, w = x.shape[1:]
    if (h, w) == (height, width):
        return x
    if _by_operators():
        return F.interpolate(x, [height, width], mode="bilinear", align_corners=False)
    rows = constants.get(f"resize_{h}_to_{height}", lambda: bilinear_matrix(height, h))
    columns = constants.get(f"resize_{w}_to_{width}", lambda: bilinear_matrix(width, w))
    return _product(x.reshape([-1, h, w]), rows, columns).reshape([-1, channels, height, width])


@paddle.jit.not_to_static
def sum_of_resized(maps: Sequence[paddle.Tensor], like: paddle.Tensor, constants: Constants) -> paddle.Tensor:
    """The sum of several maps, each resized (bilinear) to the height and width of another.

    Args:
        maps: (B, C, h_i, w_i) each.
        like: (B, C', H, W); H and W may be free in an exported graph.
        constants: keeps the matrices.

    Returns:
        (B, C, H, W).
    """
    height, width = like.shape[2:]
    if -1 in (height, width) or _by_operators():  # -1: free in an exported graph
        return sum(resize(x, like) for x in maps)
    wide = []
    for x in maps:
        h, w = x.shape[2:]
        columns = constants.get(f"columns_{w}_to_{width}", lambda w=w: bilinear_matrix(width, w).T)
        wide.append(paddle.matmul(x.reshape([-1, w]), columns).reshape([-1, h, width]))  # (B * C, h, W)
    heights = [x.shape[2] for x in maps]
    # With the maps one above the other and their matrices side by side, the second product also adds the maps up.
    rows = constants.get(
        "_".join(map(str, ("rows", *heights, "to", height))),
        lambda: np.concatenate([bilinear_matrix(height, h) for h in heights], axis=1),
    )
    return paddle.matmul(rows, paddle.concat(wide, axis=1)).reshape([-1, maps[0].shape[1], height, width])


@paddle.jit.not_to_static
def average_to_grids(x: paddle.Tensor, sizes: Sequence[Tuple[int, int]], constants: Constants) -> List[paddle.Tensor]:
    """Adaptive average pooling of one map to grids of several sizes.

    Args:
        x: (B, H, W, C), channels last.
        sizes: height and width of each grid.
        constants: keeps the matrices.

    Returns:
        (B, h, w, C) for each size (h, w).
    """
    _, height, width, channels = x.shape
    heights = [h for h, _ in sizes]
    rows = constants.get(
        "_".join(map(str, ("rows", *heights, "of", height))),
        lambda: np.concatenate([adaptive_average_matrix(h, height) for h in heights]),
    )
    # One product pools the rows of all grids: (B, H, W * C) -> (B, sum of h, W * C).
    pooled = paddle.split(paddle.matmul(rows, x.reshape([-1, height, width * channels])), heights, axis=1)
    grids = []
    for (h, w), x in zip(sizes, pooled):
        columns = constants.get(f"columns_{w}_of_{width}", lambda w=w: adaptive_average_matrix(w, width))
        x = paddle.matmul(columns, x.reshape([-1, width, channels]))  # (B * h, w, C)
        grids.append(x.reshape([-1, h, w, channels]))
    return grids


def bilinear_matrix(target: int, source: int) -> np.ndarray:
    """The (target, source) matrix that resizes a signal (source,) bilinearly."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    distance = np.abs(centre[:, None] - np.arange(source))
    return np.maximum(1 - distance, 0).astype("float32")


def adaptive_average_matrix(target: int, source: int) -> np.ndarray:
    """The (target, source) matrix that pools a signal (source,) by adaptive averages.

    Bin i averages the samples from floor(i * source / target) up to ceil((i + 1) * source / target), exclusive.
    """
    matrix = np.zeros((target, source), "float32")
    for i in range(target):
        start, stop = i * source // target, -(-(i + 1) * source // target)
        matrix[i, start:stop] = 1.0 / (stop - start)
    return matrix


@functools.lru_cache(maxsize=64)
def _cached_matrix(target: int, source: int) -> paddle.Tensor:
    return paddle.to_tensor(bilinear_matrix(target, source))


def _by_operators() -> bool:
    return _operators and not paddle.in_dynamic_mode()


def _product(x: paddle.Tensor, rows: paddle.Tensor, columns: paddle.Tensor) -> paddle.Tensor:
    """(M, h, w) with matrices (H, h) and (W, w) -> (M, H, W)."""
    return paddle.matmul(rows, paddle.matmul(x, columns, transpose_y=True))
