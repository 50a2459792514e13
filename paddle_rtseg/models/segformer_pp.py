"""SegFormer++: a MiT backbone with token merging under the all-MLP head.

Kienzle et al., "Segformer++: Efficient Token-Merging Strategies for High-Resolution Semantic Segmentation", MIPR 2024;
the head is that of Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203, as mmseg and SegFormer++ build it:
convolution, batch norm and ReLU where PaddleSeg's ``SegFormer`` has linear layers, 256 channels for every variant.

What deviates is only the order of computation. The head fuses four maps by a 1x1 convolution of their upsampled
concatenation. A 1x1 convolution and a bilinear enlargement commute, so each map meets its slice of that convolution
at its own resolution, and the results are enlarged and added: a third of the multiplications, the same logits. The
enlargements are products with bilinear matrices where the size is known, the last of which also adds them up: on a
CPU half the time of Paddle's resizing.
"""

from typing import List, Optional, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddleseg.cvlibs import manager

from ..weights import load_weights
from .base import SegmentationModel
from .layers import Constants, bilinear_matrix, init_vision_transformer, resize
from .macs import RESIZE_MACS


@manager.MODELS.add_component
class SegFormerPP(SegmentationModel):
    """SegFormer++.

    Args:
        num_classes: number of classes.
        backbone: a backbone with four feature maps and their channels in ``feat_channels``, such as ``MiT_B0``.
        head_channels: channels inside the head.
        dropout: share of the channels that training drops before the classifier.
        pretrained: path, or URL#sha256=HEX, of weights for the whole network.

    Raises:
        InputError: the weights do not fit.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        head_channels: int = 256,
        dropout: float = 0.1,
        pretrained: Optional[str] = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.head = Head(backbone.feat_channels, head_channels, num_classes, dropout)
        if pretrained is not None:
            load_weights(self, pretrained)

    @property
    def fixed_size_reason(self) -> Optional[str]:
        return getattr(self.backbone, "fixed_size_reason", None)

    @property
    def min_input_size(self) -> int:
        return getattr(self.backbone, "min_input_size", SegmentationModel.min_input_size)

    def low_resolution_logits(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, 3, H, W) -> one map of logits (B, num_classes, H / 4, W / 4)."""
        return [self.head(self.backbone(x))]


class Head(nn.Layer):
    """Four maps to one width, enlarged to the first one's size, fused and classified."""

    def __init__(self, in_channels: List[int], channels: int, num_classes: int, dropout: float):
        super().__init__()
        self.convs = nn.LayerList([ConvBNReLU(c, channels) for c in in_channels])
        self.fusion = nn.LayerList([nn.Conv2D(channels, channels, 1, bias_attr=False) for _ in in_channels])
        self.bn = nn.BatchNorm2D(channels)
        self.dropout = nn.Dropout2D(dropout)
        self.classifier = nn.Conv2D(channels, num_classes, 1)
        self.constants = Constants()
        self.apply(init_vision_transformer)
        nn.initializer.Normal(std=0.01)(self.classifier.weight)

    def forward(self, features: List[paddle.Tensor]) -> paddle.Tensor:
        """Four (B, C_i, H_i, W_i) -> (B, num_classes, H_1, W_1)."""
        first, *others = [fuse(conv(x)) for x, conv, fuse in zip(features, self.convs, self.fusion)]
        fused = first + self._enlarged_sum(others, first)
        return self.classifier(self.dropout(F.relu(self.bn(fused))))

    @paddle.jit.not_to_static
    def _enlarged_sum(self, maps: List[paddle.Tensor], like: paddle.Tensor) -> paddle.Tensor:
        """Sum of (B, C, h_i, w_i) after bilinear resizing to the size of ``like``, (B, C, H, W)."""
        channels, height, width = like.shape[1:]
        if -1 in like.shape[2:]:  # free in an exported graph
            return sum(resize(x, like) for x in maps)
        wide = [paddle.matmul(x.reshape([-1, x.shape[3]]), self._columns(x.shape[3], width)) for x in maps]
        wide = [x.reshape([-1, small.shape[2], width]) for x, small in zip(wide, maps)]  # (B * C, h_i, W)
        rows = self._rows([x.shape[2] for x in maps], height)
        return paddle.matmul(rows, paddle.concat(wide, axis=1)).reshape([-1, channels, height, width])

    def _columns(self, source: int, target: int) -> paddle.Tensor:
        """(source, target), the resize of one row."""
        return self.constants.get(f"columns_{source}_{target}", lambda: bilinear_matrix(target, source).T)

    def _rows(self, sources: List[int], target: int) -> paddle.Tensor:
        """(target, sum of sources), the resizes of columns side by side, which makes their product a sum."""
        return self.constants.get(
            "_".join(map(str, ("rows", *sources, target))),
            lambda: np.concatenate([bilinear_matrix(target, source) for source in sources], axis=1),
        )

    def macs(self, inputs: Sequence[List[paddle.Tensor]], output: paddle.Tensor) -> int:
        """Work of resizing three maps, for :func:`.macs.count_macs`."""
        return RESIZE_MACS * 3 * self.bn.weight.size * output[:, 0].size


class ConvBNReLU(nn.Layer):
    """1x1 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv = nn.Conv2D(in_channels, channels, 1, bias_attr=False)
        self.bn = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, channels, H, W)."""
        return F.relu(self.bn(self.conv(x)))
