"""SegFormer++: a MiT backbone with token merging under SegFormer's all-MLP decoder.

Kienzle et al., "Segformer++: Efficient Token-Merging Strategies for High-Resolution Semantic Segmentation", MIPR 2024,
arXiv 2405.14467; the decoder is that of Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203 (figure 2), as mmseg
and SegFormer++ build it: convolution, batch norm and ReLU where PaddleSeg's ``SegFormer`` has linear layers, and 256
channels for every variant. The backbones are in :mod:`.mix_transformer`.

Only the order of computation deviates. The decoder fuses four maps by a 1x1 convolution of their upsampled
concatenation. A 1x1 convolution and a bilinear enlargement commute, so each map meets its slice of that convolution
at its own resolution, and the results are enlarged and added: a third of the multiplications, the same logits.
"""

from typing import List, Optional, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddleseg.cvlibs import manager

from ..weights import load_pretrained
from .base import SegmentationModel, check_backbone
from .layers import ConvBNReLU, init_classifier, init_vision_transformer
from .macs import RESIZE_MACS
from .resizing import ResizeMatrices, sum_of_resized


class AllMLPDecoder(nn.Layer):
    """Four maps projected to one width, enlarged to the first one's size, fused and classified."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, dropout: float):
        super().__init__()
        self.convs = nn.LayerList([ConvBNReLU(c, channels) for c in in_channels])
        self.fusion = nn.LayerList([nn.Conv2D(channels, channels, 1, bias_attr=False) for _ in in_channels])
        self.bn = nn.BatchNorm2D(channels)
        self.dropout = nn.Dropout2D(dropout)
        self.classifier = nn.Conv2D(channels, num_classes, 1)
        self.constants = ResizeMatrices()
        self.apply(init_vision_transformer)
        init_classifier(self.classifier)

    def forward(self, features: List[paddle.Tensor]) -> paddle.Tensor:
        """Four (B, C_i, H_i, W_i) -> (B, num_classes, H_1, W_1)."""
        first, *others = [fuse(conv(x)) for x, conv, fuse in zip(features, self.convs, self.fusion)]
        fused = first + sum_of_resized(others, first, self.constants)
        return self.classifier(self.dropout(F.relu(self.bn(fused))))

    def macs(self, inputs: Sequence[List[paddle.Tensor]], output: paddle.Tensor) -> int:
        """Work of resizing three maps, for :func:`.macs.count_macs`."""
        return RESIZE_MACS * 3 * self.bn.weight.size * output[:, 0].size


@manager.MODELS.add_component
class SegFormerPP(SegmentationModel):
    """SegFormer++.

    Args:
        num_classes: number of classes.
        backbone: a backbone with four feature maps and their channels in ``feat_channels``, such as ``MiT_B0``.
        head_channels: channels inside the decoder.
        dropout: share of the channels dropped before the classifier in training.
        pretrained: weights to start from, of any number of classes; see :func:`.load_pretrained`.
        pretrained_skip: layers, or parameters, that are not loaded from them.

    Raises:
        InputError: the backbone does not have four feature maps, or the weights do not fit.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        head_channels: int = 256,
        dropout: float = 0.1,
        pretrained: Optional[str] = None,
        pretrained_skip: Sequence[str] = (),
    ):
        super().__init__()
        check_backbone(backbone, "SegFormerPP")
        self.backbone = backbone
        self.head = AllMLPDecoder(backbone.feat_channels, head_channels, num_classes, dropout)
        if pretrained is not None:
            load_pretrained(self, pretrained, pretrained_skip)

    @property
    def fixed_size_reason(self) -> Optional[str]:
        return getattr(self.backbone, "fixed_size_reason", None)

    @property
    def min_input_size(self) -> int:
        return getattr(self.backbone, "min_input_size", SegmentationModel.min_input_size)

    def low_resolution_logits(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, 3, H, W) -> one map of logits (B, num_classes, H / 4, W / 4)."""
        features = self.backbone(x)
        self.check_features(features, self.backbone.feat_channels)
        return [self.head(features)]
