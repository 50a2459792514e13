"""SegFormer++ for human pose: a MiT backbone with token merging under the all-MLP decoder, which gives heatmaps.

Kienzle et al., arXiv 2405.14467, section 4 (the tables for jump-broadcast and COCO keypoints); targets and decoding are
in :mod:`paddle_rtseg.pose`. The decoder is that of :mod:`.segformer_pp`, started differently.
"""

from typing import Any, Dict, List, Optional, Sequence

import paddle
from paddle import nn
from paddleseg.cvlibs import manager

from ..weights import load_pretrained
from .segformer_pp import SegFormerPP


@manager.MODELS.add_component
class SegFormerPPPose(SegFormerPP):
    """SegFormer++ with a heatmap for each keypoint.

    Args:
        num_keypoints: number of keypoints.
        backbone: a backbone with four feature maps and their channels in ``feat_channels``, such as ``MiT_B0``.
        head_channels: channels inside the decoder.
        pretrained: weights to start from, of any number of keypoints; see :func:`.load_pretrained`.
        pretrained_skip: layers, or parameters, that are not loaded from them.

    Raises:
        InputError: the weights do not fit.
    """

    def __init__(
        self,
        num_keypoints: int,
        backbone: nn.Layer,
        head_channels: int = 256,
        pretrained: Optional[str] = None,
        pretrained_skip: Sequence[str] = (),
    ):
        super().__init__(num_keypoints, backbone, head_channels, dropout=0.0)
        self.head.apply(_init)
        if pretrained is not None:
            load_pretrained(self, pretrained, pretrained_skip)

    def forward(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, 3, H, W) normalised images of one person each -> [(B, num_keypoints, H / 4, W / 4) heatmaps].

        Raises:
            InputError: the image is smaller than ``min_input_size``.
        """
        self.check_input(x)
        return self.low_resolution_logits(x)

    def loss_computation(self, logits_list: List[paddle.Tensor], losses: Dict[str, Any], data: Dict[str, Any]):
        """The losses of a batch, as PaddleSeg's training asks for them: heatmaps against those of the data."""
        (heatmaps,) = logits_list
        pairs = zip(losses["types"], losses["coef"])
        return [coef * loss(heatmaps, data["heatmaps"], data["weights"]) for loss, coef in pairs]


def _init(layer: nn.Layer) -> None:
    """Every convolution of the head starts near zero, unlike a segmentation head's, as in the published training."""
    if isinstance(layer, nn.Conv2D):
        nn.initializer.Normal(std=0.001)(layer.weight)
