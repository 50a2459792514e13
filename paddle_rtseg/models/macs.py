"""Multiply-accumulates of a network, counted as in the papers' tables, which call them "FLOPs"."""

from typing import Tuple

import paddle
from paddle import nn

CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
NORM_MACS = {nn.LayerNorm: 5, nn.BatchNorm2D: 2}  # per value
RESIZE_MACS = 4  # per output value of a bilinear resize


def count_macs(model: nn.Layer, image_size: Tuple[int, int], in_channels: int = 3) -> int:
    """Multiply-accumulates of one forward pass over one image.

    The rules are those of fvcore, which most published figures follow: convolutions (without bias), linear layers and
    the products of attention; 5 for each value of a layer norm, 2 for each of a batch norm, 1 for each input value of
    a pooling and 4 for each output value of a bilinear resize. Activations, sums and softmax are free. A layer that
    works outside the layers of ``paddle.nn`` reports how much: ``layer.macs(inputs, output) -> int``.

    Args:
        model: any network; it runs once in evaluation mode, and its mode is restored.
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
