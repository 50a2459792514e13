"""Small graphs for the TensorRT rules, each for one rule or its boundary, built with Paddle 2.6.

``make_trt_verdicts.py`` records the answers of Paddle's own tellers; ``test_trt_report.py`` builds them and compares.
"""

from typing import Callable, Dict

import numpy as np
import paddle
import paddle.nn.functional as F

CHANNELS = 8


def build(case: Callable, batch: int = -1) -> "paddle.static.Program":
    """The program of one case. It gets ``x``: (N, 8, 12, 16) float32 and ``i``: (N, 8, 12, 16) int64."""
    program = paddle.static.Program()
    with paddle.static.program_guard(program, paddle.static.Program()), paddle.utils.unique_name.guard():
        shape = [batch, CHANNELS, 12, 16]
        x, i = paddle.static.data("x", shape, "float32"), paddle.static.data("i", shape, "int64")
        case(F.relu(x), i * 2)  # so that neither is an input of the program
    return program.clone(for_test=True)


def weight(*shape: int) -> "paddle.static.Variable":
    return paddle.static.create_parameter(list(shape), "float32")


def tokens(x):
    """(N, 8, 12, 16) -> (N, 192, 8)"""
    return x.flatten(2).transpose([0, 2, 1])


def size_of(x):
    """Height and width as two tensors."""
    shape = paddle.shape(x)
    return [shape[2], shape[3]]


ACTIVATIONS = [F.gelu, F.silu, F.hardswish, F.hardsigmoid, F.relu6, F.elu, F.mish, F.leaky_relu, F.softplus, F.swish]
ACTIVATIONS += [F.sigmoid, F.celu, F.log_sigmoid, F.selu, F.softsign, F.tanhshrink, F.thresholded_relu, paddle.stanh]
UNARY = [paddle.exp, paddle.log, paddle.sqrt, paddle.rsqrt, paddle.square, paddle.reciprocal, paddle.erf, paddle.abs]
UNARY += [paddle.sign, paddle.floor, paddle.ceil, paddle.round, paddle.sin, paddle.cos, paddle.tan, paddle.tanh]
UNARY += [paddle.asin, paddle.acos, paddle.atan, paddle.sinh, paddle.cosh, paddle.asinh, paddle.acosh, paddle.atanh]

CASES: Dict[str, Callable] = {
    # convolution
    "conv2d": lambda x, i: F.conv2d(x, weight(4, 8, 3, 3), weight(4), padding=1),
    "conv2d grouped": lambda x, i: F.conv2d(x, weight(8, 4, 3, 3), groups=2),
    "conv2d depthwise": lambda x, i: F.conv2d(x, weight(8, 1, 3, 3), groups=8),
    "conv2d run-time filter": lambda x, i: F.conv2d(x, x.mean(axis=[0, 2, 3], keepdim=True).expand([4, 8, 1, 1])),
    "conv2d depthwise, run-time filter": lambda x, i: F.conv2d(
        x, x.mean(axis=[0, 2, 3]).reshape([8, 1, 1, 1]), groups=8
    ),
    "conv2d NHWC": lambda x, i: F.conv2d(x, weight(4, 16, 3, 3), data_format="NHWC"),
    "conv2d_transpose": lambda x, i: F.conv2d_transpose(x, weight(8, 4, 2, 2), stride=2),
    "conv2d_transpose dilated": lambda x, i: F.conv2d_transpose(x, weight(8, 4, 2, 2), dilation=2),
    # products
    "matmul": lambda x, i: paddle.matmul(tokens(x), weight(8, 4)),
    "matmul transposed": lambda x, i: paddle.matmul(tokens(x), tokens(x), transpose_y=True),
    "bmm": lambda x, i: paddle.bmm(x.flatten(2), tokens(x)),
    "einsum": lambda x, i: paddle.einsum("bchw,cd->bdhw", x, weight(8, 4)),
    "einsum of three": lambda x, i: paddle.einsum("bchw,cd,de->behw", x, weight(8, 4), weight(4, 2)),
    "einsum with ellipsis": lambda x, i: paddle.einsum("b...w,wd->b...d", x, weight(16, 4)),
    # normalisation
    "batch_norm": lambda x, i: paddle.nn.BatchNorm2D(8)(x),
    "layer_norm": lambda x, i: F.layer_norm(tokens(x), 8, weight(8), weight(8)),
    "layer_norm wide": lambda x, i: F.layer_norm(x.flatten(1), 1536, weight(1536), weight(1536)),
    "layer_norm without weight": lambda x, i: F.layer_norm(tokens(x), 8),
    "instance_norm": lambda x, i: F.instance_norm(x, weight=weight(8), bias=weight(8)),
    "instance_norm without weight": lambda x, i: F.instance_norm(x),
    "instance_norm of rank 3": lambda x, i: F.instance_norm(x.flatten(2), weight=weight(8), bias=weight(8)),
    "softmax": lambda x, i: F.softmax(x, axis=1),
    "log_softmax": lambda x, i: F.log_softmax(x, axis=1),
    "dropout": lambda x, i: F.dropout(x, 0.5),
    "dropout by a tensor": lambda x, i: F.dropout(x, weight(1)),
    # pooling
    "max_pool2d": lambda x, i: F.max_pool2d(x, 3, 2, 1),
    "max_pool2d with indices": lambda x, i: F.max_pool2d(x, 2, 2, return_mask=True),
    "avg_pool2d": lambda x, i: F.avg_pool2d(x, 5, 2, 2, exclusive=False),
    "avg_pool2d NHWC": lambda x, i: F.avg_pool2d(x, 2, data_format="NHWC"),
    "avg_pool2d padded as much as its window": lambda x, i: F.avg_pool2d(x, 2, 2, 2),
    "adaptive_avg_pool2d to 1": lambda x, i: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_pool2d that divides": lambda x, i: F.adaptive_avg_pool2d(x, 4),
    "adaptive_avg_pool2d that does not divide": lambda x, i: F.adaptive_avg_pool2d(x, 5),
    "adaptive_max_pool2d": lambda x, i: F.adaptive_max_pool2d(x, 4),
    # resizing
    "bilinear to a size": lambda x, i: F.interpolate(x, [24, 32], mode="bilinear"),
    "bilinear by a scale": lambda x, i: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear to a list of tensors": lambda x, i: F.interpolate(x, size_of(x), mode="bilinear"),
    "bilinear to one tensor": lambda x, i: F.interpolate(x, paddle.shape(x)[2:], mode="bilinear"),
    "nearest to a size": lambda x, i: F.interpolate(x, [24, 32], mode="nearest"),
    "nearest by a scale": lambda x, i: F.interpolate(x, scale_factor=2, mode="nearest"),
    "nearest to a list of tensors": lambda x, i: F.interpolate(x, size_of(x), mode="nearest"),
    "nearest to one tensor": lambda x, i: F.interpolate(x, paddle.shape(x)[2:], mode="nearest"),
    "bicubic": lambda x, i: F.interpolate(x, [24, 32], mode="bicubic"),
    "linear": lambda x, i: F.interpolate(x.flatten(2), [24], mode="linear", data_format="NCW"),
    "pixel_shuffle": lambda x, i: F.pixel_shuffle(x, 2),
    "unfold": lambda x, i: F.unfold(x, 3),
    "grid_sample": lambda x, i: F.grid_sample(x, x[:, :2].transpose([0, 2, 3, 1])),
    "grid_sample in three dimensions": lambda x, i: F.grid_sample(
        x.unsqueeze(2), x[:, :3].unsqueeze(4).tile([1, 1, 1, 1, 3])
    ),
    # ordering and indexing
    "topk": lambda x, i: paddle.topk(tokens(x), 5, axis=1),
    "topk unsorted": lambda x, i: paddle.topk(tokens(x), 5, axis=1, sorted=False),
    "topk above TensorRT's limit": lambda x, i: paddle.topk(x.flatten(0), 3841),
    "argsort": lambda x, i: paddle.argsort(tokens(x), axis=1),
    "argmax": lambda x, i: paddle.argmax(x, axis=1, dtype="int32"),
    "argmax along the batch": lambda x, i: paddle.argmax(x, axis=0),
    "argmax of everything": lambda x, i: paddle.argmax(x),
    "argmax of integers": lambda x, i: paddle.argmax(i, axis=1),
    "argmin": lambda x, i: paddle.argmin(x, axis=1),
    "argmin of integers": lambda x, i: paddle.argmin(i, axis=1),
    "argmax along an axis from a tensor": lambda x, i: paddle.argmax(x, axis=i[0, 0, 0, 0]),
    "gather": lambda x, i: paddle.gather(weight(9, 4), i.flatten()),
    "gather along an axis": lambda x, i: paddle.gather(x, i.flatten(), axis=1),
    "gather along an axis from a tensor": lambda x, i: paddle.gather(x, i.flatten(), axis=i[0, 0, 0, 0]),
    "gather_nd": lambda x, i: paddle.gather_nd(x, i[:, :, :, :2]),
    "index_select": lambda x, i: paddle.index_select(x, i.flatten(), axis=1),
    "take_along_axis": lambda x, i: paddle.take_along_axis(x, i, axis=1, broadcast=False),
    "take_along_axis broadcast": lambda x, i: paddle.take_along_axis(x, i[:1], axis=1),
    "put_along_axis": lambda x, i: paddle.put_along_axis(x, i, x, axis=1, broadcast=False),
    "index_add": lambda x, i: paddle.index_add(x, i[0, 0, 0, :8], 1, x),
    "index_put": lambda x, i: paddle.index_put(x, [i[0, 0, 0]], x),
    "scatter": lambda x, i: paddle.scatter(weight(9, 4), i.flatten(), x.reshape([-1, 4])),
    "scatter_nd_add": lambda x, i: paddle.scatter_nd_add(weight(9, 4), i[:, 0, 0, :1], x[:, 0, 0, :4]),
    "one_hot": lambda x, i: F.one_hot(i, 4),
    "one_hot to a tensor": lambda x, i: F.one_hot(i, i[0, 0, 0, :1].astype("int32")),
    "embedding": lambda x, i: F.embedding(i, weight(9, 4)),
    "nonzero": lambda x, i: paddle.nonzero(x),
    "masked_select": lambda x, i: paddle.masked_select(x, i > 1),
    "where": lambda x, i: paddle.where(i > 1, x, -x),
    # shapes
    "reshape": lambda x, i: x.reshape([-1, 2, 4, 192]),
    "reshape by a tensor": lambda x, i: x.reshape(paddle.shape(tokens(x))),
    "transpose": lambda x, i: x.transpose([0, 2, 3, 1]),
    "flatten": lambda x, i: x.flatten(2),
    "squeeze": lambda x, i: x[:, :1].squeeze(1),
    "squeeze by a tensor": lambda x, i: paddle.squeeze(x[:, :1], i[0, 0, 0, :1].astype("int32")),
    "squeeze without axis": lambda x, i: x[:, :1].squeeze(),
    "unsqueeze": lambda x, i: x.unsqueeze(1),
    "unsqueeze by a tensor": lambda x, i: paddle.unsqueeze(x, i[0, 0, 0, :1].astype("int32")),
    "split": lambda x, i: paddle.split(x, 2, axis=1),
    "split of the last axis": lambda x, i: paddle.split(x, [4, 12], axis=-1),
    "split of a free axis": lambda x, i: paddle.split(x, 2, axis=0),
    "chunk": lambda x, i: paddle.chunk(x, 3, axis=2),
    "unbind": lambda x, i: paddle.unbind(x, 1),
    "unstack": lambda x, i: paddle.unstack(x, 1),
    "stack": lambda x, i: paddle.stack([x, x], axis=1),
    "concat": lambda x, i: paddle.concat([x, x], axis=1),
    "concat along an axis from a tensor": lambda x, i: paddle.concat([x, x], axis=i[0, 0, 0, :1].astype("int32")),
    "slice": lambda x, i: x[:, 2:5],
    "slice to a tensor": lambda x, i: x[:, : i[0, 0, 0, 0]],
    "strided slice": lambda x, i: x[:, ::2],
    "expand": lambda x, i: weight(1, 8).expand([4, 8]) + x.mean(),
    "expand to a tensor": lambda x, i: x[:1, :1].expand(paddle.shape(x)),
    "expand_as": lambda x, i: x[:, :1].expand_as(x),
    "tile": lambda x, i: paddle.tile(x, [1, 2, 1, 1]),
    "roll": lambda x, i: paddle.roll(x, 1, 2),
    "flip": lambda x, i: paddle.flip(x, [2]),
    "pad": lambda x, i: F.pad(x, [0, 0, 0, 0, 0, 0, 1, 1]),
    "pad with ones": lambda x, i: F.pad(x, [0, 0, 0, 0, 0, 0, 1, 1], value=1.0),
    "pad channels": lambda x, i: F.pad(x, [0, 0, 1, 1, 0, 0, 0, 0]),
    "pad NCHW": lambda x, i: F.pad(x, [1, 1, 1, 1]),
    "pad reflect": lambda x, i: F.pad(x, [1, 1, 1, 1], mode="reflect"),
    "pad circular": lambda x, i: F.pad(x, [1, 1, 1, 1], mode="circular"),
    "shape": lambda x, i: paddle.shape(x) + 1,
    "numel": lambda x, i: paddle.numel(x) + 1,
    "assign a part": lambda x, i: paddle.static.setitem(x, (slice(None), slice(0, 2)), 1.0),
    "assign a part of two axes": lambda x, i: paddle.static.setitem(x, (slice(0, 1), slice(0, 2)), 1.0),
    "assign a part up to a tensor": lambda x, i: paddle.static.setitem(x, (slice(None), slice(0, i[0, 0, 0, 0])), 1.0),
    # reductions
    "mean": lambda x, i: x.mean(axis=[2, 3]),
    "sum": lambda x, i: x.sum(axis=1, keepdim=True),
    "max": lambda x, i: x.max(axis=1),
    "min": lambda x, i: x.min(axis=1),
    "prod": lambda x, i: x.prod(axis=1),
    "amax": lambda x, i: x.amax(axis=1),
    "any": lambda x, i: (i > 1).any(axis=1),
    "sum of integers": lambda x, i: i.sum(axis=1),
    "sum of float16": lambda x, i: x.astype("float16").sum(axis=1),
    "sum over axes from a tensor": lambda x, i: x.sum(axis=i[0, 0, 0, :1]),
    "cumsum": lambda x, i: paddle.cumsum(x, axis=1),
    "norm": lambda x, i: paddle.norm(x, axis=1),
    "variance": lambda x, i: x.var(axis=1),
    # element by element
    "activations": lambda x, i: [f(x) for f in ACTIVATIONS],
    "functions of one argument": lambda x, i: [f(x) for f in UNARY],
    "sum of a list": lambda x, i: paddle.add_n([x, x, x]),
    "assign": lambda x, i: paddle.assign(x) + 1,
    "inverse": lambda x, i: paddle.linalg.inv(x[:, :, :, :12]),
    "exp of a scalar": lambda x, i: paddle.exp(x.sum()),
    "logical_not": lambda x, i: paddle.logical_not(i > 1),
    "prelu": lambda x, i: F.prelu(x, weight(8)),
    "clip": lambda x, i: x.clip(0.0, 1.0),
    "clip to a tensor": lambda x, i: paddle.clip(x, min=x.min()),
    "arithmetic": lambda x, i: [x + x, x - x * 2, x / 3 + weight(16), paddle.maximum(x, -x), paddle.minimum(x, -x)],
    "integer arithmetic": lambda x, i: [i + i, i // 2, i % 3, i * i],
    "product of truths": lambda x, i: (i > 1) * (i < 5),
    "power": lambda x, i: x**2.0,
    "power by a tensor": lambda x, i: paddle.pow(x, x),
    "power of int32": lambda x, i: paddle.pow(i.astype("int32"), 2),
    "power of int32 by a tensor": lambda x, i: paddle.pow(i.astype("int32"), i.astype("int32")),
    "comparison": lambda x, i: [i > 1, i >= i, i < 5, i <= i, i == 2, i != 3],
    "comparison of truths": lambda x, i: (i > 1) > (i < 5),
    "logic": lambda x, i: [paddle.logical_and(i > 1, i < 5), paddle.logical_or(i > 1, i < 5)],
    "logic of integers": lambda x, i: paddle.logical_and(i, i),
    "bitwise": lambda x, i: (
        [f(i > 1, i < 5) for f in (paddle.bitwise_and, paddle.bitwise_or)] + [paddle.bitwise_not(i > 1)]
    ),
    "bitwise of integers": lambda x, i: [paddle.bitwise_and(i, i), paddle.bitwise_or(i, i), paddle.bitwise_not(i)],
    "bitwise_not of uint8": lambda x, i: paddle.bitwise_not(i.astype("uint8")),
    "detach": lambda x, i: x.detach(),
    "cast": lambda x, i: [x.astype("int32"), i.astype("float32"), x.astype("float16"), x.astype("bool")],
    "scale by a tensor": lambda x, i: paddle.scale(x, scale=x.mean()),
    "scale of uint8": lambda x, i: paddle.scale(i.astype("uint8"), 2.0),
    # constants
    "constant of one value": lambda x, i: x + paddle.full([1, 8, 1, 1], 0.5),
    "constant array": lambda x, i: x + paddle.assign(np.linspace(0, 1, 16, dtype="float32")),
    "arange": lambda x, i: x + paddle.arange(16).astype("float32"),
    "arange to a tensor": lambda x, i: paddle.arange(0, i[0, 0, 0, 0], 1) + 1,
    "linspace": lambda x, i: x + paddle.linspace(0, 1, 16),
    "meshgrid": lambda x, i: [x + m for m in paddle.meshgrid(paddle.arange(12.0), paddle.arange(16.0))],
    "full_like": lambda x, i: paddle.full_like(x, 1.0) + x,
    "full_like of other types": lambda x, i: [paddle.full_like(x, 1, t) for t in ("bool", "int32", "float16")],
    "zeros of a tensor's shape": lambda x, i: paddle.zeros(paddle.shape(x)) + x,
}
