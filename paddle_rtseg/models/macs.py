"""Multiply-accumulates of a network, counted as in the papers' tables (whose "FLOPs" they are)."""

from typing import Tuple

import paddle
from paddle import nn

CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
NORM_MACS = {nn.LayerNorm: 5, nn.BatchNorm2D: 2}  # per value
RESIZE_MACS = 4  # per value that a bilinear resize gives


def count_macs(model: nn.Layer, image_size: Tuple[int, int], in_channels: int = 3) -> int:
    """Multiply-accumulates of one forward pass over one image.

    The rules are those of fvcore, with which published figures are commonly made: convolutions (without bias), linear
    layers, the products of attention; 5 per value of a layer norm, 2 of a batch norm, 1 of the input of a pooling,
    4 of the output of a bilinear resize. Activations, sums and softmax are free. Work that is not in a layer of
    ``paddle.nn`` is counted where the layer doing it says how much: ``layer.macs(inputs, output) -> int``.

    Args:
        model: any network; it runs once in evaluation mode and is then as before.
        image_size: height and width.
        in_channels: channels of the image.
    """
    total = 0

    def add(layer: nn.Layer, inputs: tuple, output: paddle.Tensor) -> None:
        nonlocal total
        if isinstance(layer, CONVOLUTIONS):
            total += output.size * (layer.weight.size // layer.weight.shape[0])  # (out, in / groups, *kernel)
        elif isinstance(layer, nn.Linear):
            total += output.size * layer.weight.shape[0]  # (in, out)
        for norm, cost in NORM_MACS.items():
            total += cost * output.size if isinstance(layer, norm) else 0
        if hasattr(layer, "macs"):
            total += layer.macs(inputs, output)

    hooks = [layer.register_forward_post_hook(add) for layer in model.sublayers(include_self=True)]
    training = model.training
    model.eval()
    try:
        with paddle.no_grad():
            model(paddle.zeros([1, in_channels, *image_size]))
    finally:
        for hook in hooks:
            hook.remove()
        if training:
            model.train()
    return int(total)
