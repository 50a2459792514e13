"""LRFormer: a backbone whose self-attention works on a few hundred pooled tokens, and its segmentation head.

Wu et al., "Low-Resolution Self-Attention for Semantic Segmentation", arXiv 2310.05026. Whatever the image's size,
queries come from a grid with a short side of 16, keys and values from a pyramid of grids with short sides of 11, 8, 6
and 4; depthwise convolutions at full resolution carry the detail. The authors' implementation is in PyTorch
(github.com/yuhuan-wu/LRFormer); ``paddle_rtseg.weights`` reads its weights (family ``lrformer``).

Deviations from it:

- It takes images whose sides are multiples of 32 and crashes on others. Here an image is first enlarged (bilinear)
  to the next multiple of 32 on each side, as the authors do when they evaluate; multiples of 32 are not touched.
- Adaptive average pooling is two products with constant matrices. The result is the same, but pooling whose bins do
  not divide the map is wrong in several runtimes, and slow. The matrices depend on the image's size, so an exported
  graph has a fixed height and width (the batch stays free).
- The shortcut around a depthwise convolution is part of its kernels outside training, which spares a sum of maps.
- The scores of attention are computed in pieces. The tokens of an elongated image grow with its proportions, and all
  their scores at once would fill any memory: 16 GB for 32 x 512 pixels.
"""

from functools import partial
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddleseg.cvlibs import manager

from ..errors import InputError
from ..weights import load_pretrained, load_weights
from .base import SegmentationModel, check_backbone
from .layers import (
    ConvBNReLU,
    DropPath,
    LayerNorm2D,
    attend,
    init_classifier,
    init_vision_transformer,
    tokens_to_map,
)
from .macs import RESIZE_MACS
from .resizing import ResizeMatrices, average_to_grids, resize, resize_to_fixed

# Channels and blocks of the four stages, stochastic depth of the last block, width of the LRHead that was published.
# fmt: off
VARIANTS = {
    "T":  {"dims": (48,   96, 240, 384), "depths": (2, 2,  6, 3), "drop_path": 0.1, "head_channels": 256},
    "S":  {"dims": (64,  128, 320, 512), "depths": (3, 3, 12, 3), "drop_path": 0.2, "head_channels": 384},
    "B":  {"dims": (80,  160, 400, 512), "depths": (4, 4, 15, 8), "drop_path": 0.4, "head_channels": 512},
    "L":  {"dims": (96,  192, 480, 640), "depths": (4, 6, 18, 8), "drop_path": 0.6, "head_channels": 640},
    "XL": {"dims": (128, 256, 640, 768), "depths": (4, 8, 22, 8), "drop_path": 0.4, "pre_norm": (7, 15)},
}
# fmt: on
HEADS = (2, 4, 10, 16)
MLP_RATIOS = (8, 8, 4, 4)
STRIDE = 32  # of the last stage: image sides are brought to a multiple of it
MAX_SCORES = 2**22  # attention scores of an image held at a time; half of a square image's in the head


class Stem(nn.Layer):
    """Four 3x3 convolutions to a quarter of the resolution, and a layer norm."""

    def __init__(self, in_channels: int, dim: int):
        super().__init__()
        layers = []
        for source, target, stride in ((in_channels, dim // 2, 2), (dim // 2, dim // 2, 1), (dim // 2, dim, 2)):
            layers += [nn.Conv2D(source, target, 3, stride, padding=1), nn.BatchNorm2D(target), nn.GELU()]
        self.conv1 = nn.Sequential(*layers, nn.Conv2D(dim, dim, 3, padding=1))
        self.norm = LayerNorm2D(dim, epsilon=1e-6)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, H, W) -> (B, C, H / 4, W / 4)."""
        return self.norm(self.conv1(x))


class PatchEmbed(nn.Layer):
    """A 3x3 convolution to half the resolution, and a layer norm."""

    def __init__(self, in_channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2D(in_channels, dim, 3, 2, padding=1)
        self.norm = LayerNorm2D(dim, epsilon=1e-6)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, H, W) -> (B, C, H / 2, W / 2)."""
        return self.norm(self.proj(x))


class Grids(nn.Layer):
    """The low-resolution grids of one stage's attention; shared by the stage's blocks.

    Args:
        dim: channels C.
        query_side: short side of the query grid.
        key_value_sides: short sides of the grids in the key/value pyramid.
        convolve: add to each key/value grid its 3x3 depthwise convolution.
    """

    def __init__(self, dim: int, query_side: int, key_value_sides: Sequence[int], convolve: bool):
        super().__init__()
        self.sides = (query_side, *key_value_sides)
        self.convs = nn.LayerList([ShortcutConv(dim) for _ in key_value_sides] if convolve else [])
        self.constants = ResizeMatrices()

    def sizes(self, height: int, width: int) -> List[Tuple[int, int]]:
        """Height and width of each grid of a height x width map, that of the queries first."""
        return [grid_size(side, height, width) for side in self.sides]

    def forward(self, x: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """(B, H, W, C) -> queries (B, N, C) and keys/values (B, M, C), averages over the cells of their grids."""
        query, *pyramid = average_to_grids(x, self.sizes(*x.shape[1:3]), self.constants)  # (B, h, w, C) each
        if len(self.convs):
            pyramid = [grid.transpose([0, 3, 1, 2]) for grid in pyramid]  # (B, C, h, w) each
            pyramid = [conv(grid).transpose([0, 2, 3, 1]) for grid, conv in zip(pyramid, self.convs)]
        return query.flatten(1, 2), paddle.concat([grid.flatten(1, 2) for grid in pyramid], axis=1)

    def enlarge(self, x: paddle.Tensor, height: int, width: int) -> paddle.Tensor:
        """Query tokens (B, N, C) of a height x width map -> (B, C, height, width), bilinear."""
        x = tokens_to_map(x, grid_size(self.sides[0], height, width))  # (B, C, h, w)
        return resize_to_fixed(x, height, width, self.constants)

    def macs(self, inputs: Sequence[paddle.Tensor], output) -> int:
        """Work of adaptive pooling, and of the resize back, for :func:`.macs.count_macs`."""
        return inputs[0].size * (len(self.sides) + RESIZE_MACS)


class ShortcutConv(nn.Conv2D):
    """3x3 depthwise convolution with a shortcut, ``x + conv(x)``.

    Outside training a 1 in the centre of each kernel takes the shortcut's place.
    """

    def __init__(self, dim: int):
        super().__init__(dim, dim, 3, padding=1, groups=dim)
        shortcut = np.zeros((1, 1, 3, 3), "float32")
        shortcut[..., 1, 1] = 1
        self.register_buffer("shortcut", paddle.to_tensor(shortcut), persistable=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.training:
            return x + super().forward(x)
        return F.conv2d(x, self.weight + self.shortcut, self.bias, padding=1, groups=x.shape[1])


def grid_size(short_side: int, height: int, width: int) -> Tuple[int, int]:
    """Height and width of the grid with this short side and about the proportions of a height x width map."""
    long_side = round(short_side * max(height, width) / min(height, width) + 0.001)
    return (short_side, long_side) if height <= width else (long_side, short_side)


class LowResolutionSelfAttention(nn.Layer):
    """LRSA: multi-head self-attention between a map's low-resolution grids, enlarged back to the map."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim, epsilon=1e-5)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: paddle.Tensor, grids: Grids, scale: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """Attention over a map.

        Args:
            x: (B, C, H, W).
            grids: those of the stage.
            scale: (C,) factors of the result, applied while it is small.

        Returns:
            (B, C, H, W).
        """
        dim, height, width = x.shape[1:]
        query, key_value = grids(x.transpose([0, 2, 3, 1]))  # (B, N, C), (B, M, C)
        head_dim = dim // self.num_heads
        q = self._split_heads(self.q(query) * head_dim**-0.5)  # (B * heads, N, head_dim)
        kv = self.kv(self.norm(key_value)).reshape([-1, key_value.shape[1], 2, dim])
        k, v = (self._split_heads(part) for part in paddle.split(kv, 2, axis=2))  # (B * heads, M, head_dim)
        y = attend(q, k, v, MAX_SCORES // self.num_heads)
        y = y.reshape([-1, self.num_heads, query.shape[1], head_dim]).transpose([0, 2, 1, 3])
        y = self.proj(y.reshape([-1, query.shape[1], dim]))  # (B, N, C)
        if scale is not None:
            y = y * scale
        return grids.enlarge(y, height, width)

    def _split_heads(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, N, C) or (B, N, 1, C) -> (B * heads, N, C / heads)."""
        tokens, head_dim = x.shape[1], x.shape[-1] // self.num_heads
        x = x.reshape([-1, tokens, self.num_heads, head_dim]).transpose([0, 2, 1, 3])
        return x.reshape([-1, tokens, head_dim])

    def macs(self, inputs: tuple, output: paddle.Tensor) -> int:
        """Work of attention's two products, for :func:`.macs.count_macs`."""
        x, grids = inputs[:2]
        query, *key_value = [h * w for h, w in grids.sizes(*x.shape[2:])]
        return 2 * x.shape[0] * x.shape[1] * query * sum(key_value)


class FeedForward(nn.Layer):
    """Feed-forward network: 1x1 convolution, GELU, depthwise 3x3 convolution with a shortcut, 1x1 convolution."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Conv2D(dim, hidden, 1)
        self.conv = ShortcutConv(hidden)
        self.fc2 = nn.Conv2D(hidden, dim, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = F.gelu(self.fc1(x))  # (B, hidden, H, W)
        return self.fc2(self.conv(x))


class Block(nn.Layer):
    """Positional convolution, low-resolution self-attention, feed-forward network: each added to its input.

    Args:
        dim: channels C.
        num_heads: attention heads.
        mlp_ratio: expansion of the feed-forward network.
        norm: makes the layer that normalises (B, C, H, W) maps.
        layer_scale: initial factor of the two residual branches, learned per channel; None for no factor.
        drop_path: stochastic depth of the two residual branches.
        pre_norm: begin with a batch norm.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: int,
        norm: Callable[[int], nn.Layer],
        layer_scale: Optional[float],
        drop_path: float = 0.0,
        pre_norm: bool = False,
    ):
        super().__init__()
        self.pre_norm = nn.BatchNorm2D(dim) if pre_norm else nn.Identity()
        self.cpe = ShortcutConv(dim)
        self.norm1 = norm(dim)
        self.attn = LowResolutionSelfAttention(dim, num_heads)
        self.norm2 = norm(dim)
        self.mlp = FeedForward(dim, dim * mlp_ratio)
        self.drop_path = DropPath(drop_path)
        self.layer_scale_1 = self.layer_scale_2 = None
        if layer_scale is not None:
            scale = nn.initializer.Constant(layer_scale)
            self.layer_scale_1 = self.create_parameter([dim], default_initializer=scale)
            self.layer_scale_2 = self.create_parameter([dim], default_initializer=scale)

    def forward(self, x: paddle.Tensor, grids: Grids) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = self.pre_norm(x)
        x = self.cpe(x)
        x = x + self.drop_path(self.attn(self.norm1(x), grids, self.layer_scale_1))
        y = self.mlp(self.norm2(x))
        if self.layer_scale_2 is not None:
            y = y * self.layer_scale_2.reshape([-1, 1, 1])
        return x + self.drop_path(y)


@paddle.jit.not_to_static
def enlarge_to_stride(x: paddle.Tensor) -> paddle.Tensor:
    """(B, C, H, W) -> the image resized (bilinear) to the next multiple of 32 on each side; ``x`` where it is one.

    Raises:
        InputError: height or width is unknown, as in an export that leaves them free.
    """
    size = list(x.shape[2:])
    if -1 in size:
        raise InputError(
            f"LRFormer is exported at a fixed height and width, got {size[0]} x {size[1]} (-1: free); give both"
        )
    target = [-(-n // STRIDE) * STRIDE for n in size]
    return x if target == size else F.interpolate(x, target, mode="bilinear", align_corners=False)


class LRFormer(nn.Layer):
    """The encoder: four stages at strides 4, 8, 16 and 32.

    Args:
        dims: channels of the stages.
        depths: blocks of the stages.
        num_heads, mlp_ratios: attention heads and expansion of the feed-forward networks of the stages.
        drop_path: stochastic depth of the last block; it rises linearly from 0 in the first.
        pre_norm: indices of the blocks of stage 3 that begin with a batch norm.
        layer_scale: initial layer scale of stages 3 and 4 (stages 1 and 2 have none).
        head_channels: width of the LRHead that goes with the backbone; None where none was published.
        in_channels: channels of the image.
        pretrained: path of weights for the backbone, loaded strictly.
    """

    def __init__(
        self,
        dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int] = HEADS,
        mlp_ratios: Sequence[int] = MLP_RATIOS,
        drop_path: float = 0.1,
        pre_norm: Sequence[int] = (),
        layer_scale: float = 1e-6,
        head_channels: Optional[int] = None,
        in_channels: int = 3,
        pretrained: Optional[str] = None,
    ):
        super().__init__()
        if not len(dims) == len(depths) == 4:
            raise InputError(
                f"LRFormer expects dims and depths of 4 stages, got {list(dims)} and {list(depths)}; give 4 of each"
            )
        for what, values in (("num_heads", num_heads), ("mlp_ratios", mlp_ratios)):
            if len(values) != 4:
                raise InputError(f"LRFormer expects {what} of 4 stages, got {list(values)}; give 4")
        if any(dim % heads for dim, heads in zip(dims, num_heads)):
            raise InputError(
                f"LRFormer expects dims that are multiples of num_heads, got {list(dims)} and {list(num_heads)}; "
                "change one of them"
            )
        self.feat_channels = list(dims)
        self.head_channels = head_channels
        drop_paths = iter(np.linspace(0, drop_path, sum(depths)).tolist())
        for i, (dim, depth) in enumerate(zip(dims, depths)):
            stage = i + 1
            blocks = [
                Block(
                    dim,
                    num_heads[i],
                    mlp_ratios[i],
                    norm=partial(LayerNorm2D, epsilon=1e-6),
                    layer_scale=layer_scale if stage >= 3 else None,
                    drop_path=next(drop_paths),
                    pre_norm=stage == 3 and n in pre_norm,
                )
                for n in range(depth)
            ]
            embed = Stem(in_channels, dim) if stage == 1 else PatchEmbed(dims[i - 1], dim)
            setattr(self, f"patch_embed{stage}", embed)
            setattr(self, f"grids{stage}", Grids(dim, 16, (11, 8, 6, 4), convolve=True))
            setattr(self, f"block{stage}", nn.LayerList(blocks))
        self.apply(init_vision_transformer)
        if pretrained is not None:
            load_weights(self, pretrained)

    def forward(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, in_channels, H, W) -> four maps (B, dims[i], ceil(H / 32) * 32 / stride, the same for W).

        Raises:
            InputError: the height or width is not known, as in an export with free height and width.
        """
        x = enlarge_to_stride(x)
        features = []
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"patch_embed{stage}")(x)
            grids = getattr(self, f"grids{stage}")
            for block in getattr(self, f"block{stage}"):
                x = block(x, grids)
            features.append(x)
        return features


class LRHead(nn.Layer):
    """The published head: stages 2 to 4 at 1/8 of the image, fused by two low-resolution blocks."""

    def __init__(self, feat_channels: Sequence[int], channels: int, num_classes: int):
        super().__init__()
        self.squeeze1 = ConvBNReLU(sum(feat_channels[1:]), channels)
        self.squeeze2 = ConvBNReLU(channels + feat_channels[3], channels)
        self.grids = Grids(channels, 32, (22, 16, 12, 8), convolve=False)
        block = {"num_heads": 8, "mlp_ratio": 4, "norm": nn.BatchNorm2D, "layer_scale": 1e-6}
        self.fuse_block1 = Block(channels, **block)
        self.fuse_block2 = Block(channels, **block)
        self.dropout = nn.Dropout2D(0.1)
        self.conv_seg = nn.Conv2D(channels, num_classes, 1)
        self.apply(init_vision_transformer)
        init_classifier(self.conv_seg)

    def forward(self, features: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """The backbone's four maps -> (B, num_classes, H / 8, W / 8)."""
        maps = [resize(feature, like=features[1]) for feature in features[1:]]
        x = self.fuse_block1(self.squeeze1(paddle.concat(maps, axis=1)), self.grids)
        x = self.fuse_block2(self.squeeze2(paddle.concat([x, maps[-1]], axis=1)), self.grids)
        return self.conv_seg(self.dropout(x))

    def macs(self, inputs: Sequence[Sequence[paddle.Tensor]], output) -> int:
        """Work of resizing the feature maps."""
        features = inputs[0][1:]
        return RESIZE_MACS * sum(feature.shape[1] for feature in features) * features[0][:, 0].size


@manager.MODELS.add_component
class LRFormerSeg(SegmentationModel):
    """LRFormer with LRHead.

    Args:
        num_classes: classes to tell apart.
        backbone: an ``LRFormer_*`` backbone, or another with ``feat_channels`` at strides 4, 8, 16 and 32.
        head_channels: width of the head, a multiple of 8; by default the one published for the backbone.
        pretrained: weights to start from, of any number of classes; see :func:`.load_pretrained`.
        pretrained_skip: layers, or parameters, that are not loaded from them.

    Raises:
        InputError: the backbone does not have four feature maps, or no head width is known for it, or it is not a
            multiple of 8.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Layer,
        head_channels: Optional[int] = None,
        pretrained: Optional[str] = None,
        pretrained_skip: Sequence[str] = (),
    ):
        super().__init__()
        check_backbone(backbone, "LRFormerSeg")
        head_channels = head_channels or getattr(backbone, "head_channels", None)
        if not head_channels or head_channels % 8:
            raise InputError(
                f"expected head_channels to be a multiple of 8, got {head_channels}; pass head_channels "
                "(LRFormer_T, S, B and L have a default of 256, 384, 512 and 640)"
            )
        self.backbone = backbone
        self.decode_head = LRHead(backbone.feat_channels, head_channels, num_classes)
        if pretrained is not None:
            load_pretrained(self, pretrained, pretrained_skip)

    @property
    def fixed_size_reason(self) -> Optional[str]:
        return "LRFormer's attention pools the image with matrices that are computed from its height and width"

    def low_resolution_logits(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        features = self.backbone(x)
        self.check_features(features, self.backbone.feat_channels)
        return [self.decode_head(features)]


@manager.BACKBONES.add_component
def LRFormer_T(**overrides) -> LRFormer:
    """LRFormer-T; ``overrides`` are any other arguments of :class:`LRFormer`."""
    return LRFormer(**{**VARIANTS["T"], **overrides})


@manager.BACKBONES.add_component
def LRFormer_S(**overrides) -> LRFormer:
    """LRFormer-S; ``overrides`` are any other arguments of :class:`LRFormer`."""
    return LRFormer(**{**VARIANTS["S"], **overrides})


@manager.BACKBONES.add_component
def LRFormer_B(**overrides) -> LRFormer:
    """LRFormer-B; ``overrides`` are any other arguments of :class:`LRFormer`."""
    return LRFormer(**{**VARIANTS["B"], **overrides})


@manager.BACKBONES.add_component
def LRFormer_L(**overrides) -> LRFormer:
    """LRFormer-L; ``overrides`` are any other arguments of :class:`LRFormer`."""
    return LRFormer(**{**VARIANTS["L"], **overrides})


@manager.BACKBONES.add_component
def LRFormer_XL(**overrides) -> LRFormer:
    """LRFormer-XL, published without an LRHead; ``overrides`` are any other arguments of :class:`LRFormer`."""
    return LRFormer(**{**VARIANTS["XL"], **overrides})
