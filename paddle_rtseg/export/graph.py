"""The network as it is exported, with the preprocessing and the output operation that run inside the graph."""

from typing import Optional, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from rtseg_inference.contract import Preprocessing


class CameraInput(nn.Layer):
    """(B, H, W, 3) uint8 BGR images, as a camera gives them -> (B, 3, h, w) normalised RGB.

    ``(x / 255 - mean) / std`` is computed as one product and one sum.
    """

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        mean, std = (np.float64(v).reshape(1, 3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
        # Buffers, because TensorRT does not accept constants created in forward.
        self.register_buffer("scale", paddle.to_tensor((1 / (255 * std)).astype("float32")), persistable=False)
        self.register_buffer("shift", paddle.to_tensor((-mean / std).astype("float32")), persistable=False)
        resize = preprocessing.resize
        self.size: Optional[Sequence[int]] = [resize.height, resize.width] if resize else None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = x.astype("float32").transpose([0, 3, 1, 2])  # (B, H, W, 3) -> (B, 3, H, W)
        blue, green, red = paddle.split(x, 3, axis=1)
        x = paddle.concat([red, green, blue], axis=1)
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False)
        return x * self.scale + self.shift


class ExportedNetwork(nn.Layer):
    """A segmentation network with its input and output operations.

    Args:
        network: (B, 3, H, W) -> list whose first element is (B, num_classes, H, W) logits.
        output_op: "argmax" for (B, H, W) int32 class ids, "softmax" for probabilities, "none" for logits, each at the
            input's size; "logits" for the logits before the network's last upsampling.
        camera_input: converts camera images; None for a network that takes normalised input.
    """

    def __init__(self, network: nn.Layer, output_op: str, camera_input: Optional[CameraInput] = None):
        super().__init__()
        self.network, self.output_op, self.camera_input = network, output_op, camera_input

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.camera_input is not None:
            x = self.camera_input(x)
        if self.output_op == "logits":
            return self.network.low_resolution_logits(x)[0]
        logits = self.network(x)[0]
        if self.output_op == "argmax":
            return paddle.argmax(logits, axis=1, dtype="int32")
        if self.output_op == "softmax":
            return F.softmax(logits, axis=1)
        return logits
