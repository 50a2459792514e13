"""What every segmentation model of this package shares: the input check and the final upsampling."""

from typing import Any, List, Optional, Sequence

import paddle
from paddle import nn

from ..errors import InputError
from .resizing import resize

LEVELS = 4  # feature maps of a backbone, at strides 4, 8, 16 and 32


def check_backbone(backbone: Any, model: str) -> None:
    """Refuse a backbone without four feature maps.

    Raises:
        InputError: it is no layer, or does not have the channels of four maps in ``feat_channels``.
    """
    channels = getattr(backbone, "feat_channels", None)
    if not isinstance(backbone, nn.Layer) or not isinstance(channels, (list, tuple)) or len(channels) != LEVELS:
        raise InputError(
            f"{model} expects a backbone with {LEVELS} feature maps and their channels in feat_channels, got "
            f"{type(backbone).__name__} with {channels}; choose another, such as MiT_B0 or LRFormer_T"
        )


class SegmentationModel(nn.Layer):
    """A network whose logits, computed at a fraction of the image's resolution, are upsampled to the image.

    Subclasses implement :meth:`low_resolution_logits`. As PaddleSeg expects, ``forward`` returns a list whose first
    element is the prediction; in training, auxiliary predictions follow.
    """

    #: Smallest image height and width, in pixels, that the network accepts.
    min_input_size: int = 32

    @property
    def fixed_size_reason(self) -> Optional[str]:
        """Why an exported graph must have a fixed height and width; None where both may stay free."""
        return None

    def low_resolution_logits(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """Logits before the last upsampling: (B, 3, H, W) -> list of (B, num_classes, h, w)."""
        raise NotImplementedError

    def forward(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, 3, H, W) normalised images -> list of (B, num_classes, H, W) logits.

        Raises:
            InputError: the image is smaller than ``min_input_size``.
        """
        self.check_input(x)
        return [resize(logits, like=x) for logits in self.low_resolution_logits(x)]

    @paddle.jit.not_to_static  # as Python: while a graph is traced, a free size is -1 and passes
    def check_input(self, x: paddle.Tensor) -> None:
        """Raise :class:`InputError` unless ``x`` is (B, C, H, W) with sides of at least ``min_input_size``."""
        if len(x.shape) != 4:
            raise InputError(f"expected images of shape (B, C, H, W), got {list(x.shape)}; add or drop an axis")
        height, width = x.shape[2:]
        if 0 <= height < self.min_input_size or 0 <= width < self.min_input_size:
            raise InputError(
                f"{type(self).__name__} expects images of at least {self.min_input_size} x {self.min_input_size} "
                f"pixels, got {height} x {width}; enlarge the image"
            )

    @paddle.jit.not_to_static
    def check_features(self, features: Sequence[paddle.Tensor], channels: Sequence[int]) -> None:
        """Raise :class:`InputError` unless the backbone's feature maps (B, C, H, W) have these channels."""
        found = [feature.shape[1] if hasattr(feature, "shape") else type(feature).__name__ for feature in features]
        if found != list(channels):
            raise InputError(
                f"{type(self).__name__} expects the feature maps that its backbone states, of {list(channels)} "
                f"channels, got {found}; choose another backbone"
            )
