"""RTFormer: a convolutional network of two resolutions whose last two stages are transformer blocks of linear cost.

Wang et al., "RTFormer: Efficient Design for Real-Time Semantic Segmentation with Transformer", NeurIPS 2022,
arXiv 2210.07124. Parameters have the names and shapes of PaddleSeg's ``RTFormer`` (by the paper's authors): its
published weights load unchanged, and equal weights give equal logits and gradients.

Deviations from PaddleSeg's code:

- cross-resolution attention is two batched matrix products; PaddleSeg's grouped convolution, whose weights are
  computed at run time and whose group count is the batch size, cannot be exported with a free batch;
- attention scales the keys instead of the far more numerous scores;
- the pyramid's global average is added by broadcasting, which equals its bilinear resize from 1 x 1.
"""

from typing import List, Optional, Sequence, Tuple

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddleseg.cvlibs import manager

from ..errors import InputError
from ..weights import load_pretrained, read_state
from .base import SegmentationModel
from .layers import DropPath, spatial_size
from .resizing import resize

# As in PaddleSeg's configs for Cityscapes; on ADE20K, Slim has no second injection either.
# fmt: off
VARIANTS = {
    "Slim": {"base_channels": 32, "head_channels":  64, "use_injection": (True, True)},
    "Base": {"base_channels": 64, "head_channels": 128, "use_injection": (True, False)},
}
# fmt: on


class BasicBlock(nn.Layer):
    """The residual block of ResNet-18; ``relu``: whether one follows the addition."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, relu: bool):
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2D(out_channels)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2D(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2D(out_channels))
        self.relu = relu

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x)) + shortcut
        return F.relu(x) if self.relu else x


def residual_stage(in_channels: int, out_channels: int, depth: int, stride: int = 1) -> nn.Sequential:
    """``depth`` residual blocks, the first with ``stride``; the last of several ends without a ReLU."""
    blocks = [BasicBlock(in_channels, out_channels, stride, relu=True)]
    for i in range(1, depth):
        blocks.append(BasicBlock(out_channels, out_channels, 1, relu=i < depth - 1))
    return nn.Sequential(*blocks)


class GPUFriendlyAttention(nn.Layer):
    """Attention to learned keys and values: two 1 x 1 convolutions around the "grouped double normalization".

    There are ``out_channels`` keys. Heads are only groups of them in the second normalisation, so that the products
    stay large.
    """

    def __init__(self, in_channels: int, out_channels: int, num_heads: int, stride: int):
        super().__init__()
        if out_channels % num_heads:
            raise InputError(
                f"expected a number of heads that divides the {out_channels} channels, got {num_heads}; change one"
            )
        self.num_heads = num_heads
        self.stride = stride
        self.norm = nn.BatchNorm2D(in_channels)
        init = nn.initializer.Normal(std=0.001)
        self.k = self.create_parameter([out_channels, in_channels, 1, 1], default_initializer=init)
        self.v = self.create_parameter([out_channels, out_channels, 1, 1], default_initializer=init)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h / stride, w / stride)."""
        scores = F.conv2d(self.norm(x), self.k, stride=self.stride)  # (B, out_channels, h, w)
        return F.conv2d(self._normalise(scores), self.v)

    def macs(self, inputs: tuple, output: paddle.Tensor) -> int:
        """Work of the two products, for :func:`.macs.count_macs`."""
        return output.size * (self.k.shape[1] + self.v.shape[1])

    def _normalise(self, scores: paddle.Tensor) -> paddle.Tensor:
        """Softmax over the pixels, then division by the sum over the keys of a head."""
        channels = scores.shape[1]
        weights = F.softmax(scores.reshape([0, self.num_heads, channels // self.num_heads, -1]), axis=-1)
        weights = weights / (weights.sum(axis=2, keepdim=True) + 1e-6)
        return weights.reshape([0, channels, *spatial_size(scores)])


class CrossResolutionAttention(nn.Layer):
    """Attention of the high resolution's pixels to keys and values pooled from the low one, in a single head."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor, keys: paddle.Tensor, values: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W), with keys and values (B, C, N) -> (B, C, H, W)."""
        queries = self.norm(x).flatten(2)  # (B, C, H, W) -> (B, C, H*W)
        scale = keys.shape[2] ** -0.5
        # A row for each pixel, so that the softmax, the costliest part, runs over neighbouring numbers.
        weights = F.softmax(paddle.matmul(queries, keys * scale, transpose_x=True), axis=-1)  # (B, H*W, N)
        out = paddle.matmul(values, weights, transpose_y=True)  # (B, C, H*W)
        return out.reshape([0, x.shape[1], *spatial_size(x)])

    def macs(self, inputs: tuple, output: paddle.Tensor) -> int:
        """Work of the two products, for :func:`.macs.count_macs`."""
        keys = inputs[1]
        return 2 * output.size * keys.shape[2]


class AdaptiveMaxPool(nn.Layer):
    """Adaptive max pooling: of n rows, cell i takes those from floor(i n / size) up to ceil((i + 1) n / size).

    Paddle's own operator, which TensorRT has no converter for, does it in dygraph and in training. Other graphs gather
    each cell's rows, repeating the last where a cell has fewer than another, and take their maximum; the indices are
    computed by integer operators, which become constants where height and width are known.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("cells", paddle.arange(size, dtype="int32"), persistable=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, h, w) -> (B, C, size, size)."""
        if self.training or paddle.in_dynamic_mode():
            return F.adaptive_max_pool2d(x, self.size)
        height, width = spatial_size(x)
        x = paddle.gather(x, self._members(width), axis=3)  # (B, C, h, size * members)
        x = x.reshape([0, 0, 0, self.size, -1]).max(axis=4)  # (B, C, h, size)
        x = paddle.gather(x, self._members(height), axis=2)  # (B, C, size * members, size)
        return x.reshape([0, 0, self.size, -1, self.size]).max(axis=3)

    def _members(self, length) -> paddle.Tensor:
        """(size * members,) indices of the rows of each cell, of ``length`` rows (an integer or a tensor)."""
        if not isinstance(length, int):
            length = length.astype("int32")
        first = self.cells * length // self.size
        last = ((self.cells + 1) * length - 1) // self.size
        offsets = paddle.arange((length - 1) // self.size + 2, dtype="int32")  # as many as any cell has
        return paddle.minimum(first.unsqueeze(1) + offsets, last.unsqueeze(1)).flatten()


class FeedForward(nn.Layer):
    """Feed-forward network: two 3 x 3 convolutions with a GELU between them, no wider inside than outside."""

    def __init__(self, channels: int, drop_rate: float):
        super().__init__()
        self.norm = nn.BatchNorm2D(channels, epsilon=1e-6)
        self.conv1 = conv(channels, channels, 3, bias=True)
        self.conv2 = conv(channels, channels, 3, bias=True)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = self.drop(F.gelu(self.conv1(self.norm(x))))
        return self.drop(self.conv2(x))


class RTFormerBlock(nn.Layer):
    """Attention and a feed-forward network, first on the low resolution, which then lends the high one keys and values.

    The low resolution is halved where its channels change.
    """

    def __init__(
        self,
        channels_high: int,
        in_channels_low: int,
        channels_low: int,
        num_heads: int,
        drop_rate: float,
        drop_path_rate: float,
        use_injection: bool,
        cross_size: int,
    ):
        super().__init__()
        stride = 1 if in_channels_low == channels_low else 2
        self.attn_shortcut_l = None
        if stride != 1:
            self.attn_shortcut_l = nn.Sequential(
                nn.BatchNorm2D(in_channels_low), conv(in_channels_low, channels_low, 1, stride)
            )
        self.attn_l = GPUFriendlyAttention(in_channels_low, channels_low, num_heads, stride)
        self.mlp_l = FeedForward(channels_low, drop_rate)
        self.drop_path = DropPath(drop_path_rate)
        self.compression = bn_relu_conv(channels_low, channels_high)
        self.attn_h = CrossResolutionAttention(channels_high)
        self.mlp_h = FeedForward(channels_high, drop_rate)
        self.cross_kv = nn.Sequential(
            nn.BatchNorm2D(channels_low),
            AdaptiveMaxPool(cross_size),
            conv(channels_low, 2 * channels_high, 1, init=nn.initializer.TruncatedNormal(std=0.02)),
        )
        self.down = None
        if use_injection:
            self.down = nn.Sequential(
                *bn_relu_conv(channels_high, channels_low // 2, 3, stride=2),
                *bn_relu_conv(channels_low // 2, channels_low, 3, stride=2),
            )

    def forward(self, high: paddle.Tensor, low: paddle.Tensor) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """(B, channels_high, H, W) and (B, in_channels_low, h, w) -> the same, low with channels_low channels."""
        shortcut = low if self.attn_shortcut_l is None else self.attn_shortcut_l(low)
        low = shortcut + self.drop_path(self.attn_l(low))
        low = low + self.drop_path(self.mlp_l(low))

        high = high + resize(self.compression(low), like=high)
        keys, values = paddle.split(self.cross_kv(low).flatten(2), 2, axis=1)  # (B, channels_high, cross_size^2)
        high = high + self.drop_path(self.attn_h(high, keys, values))
        high = high + self.drop_path(self.mlp_h(high))
        if self.down is not None:
            low = low + self.down(high)
        return high, low


class DAPPM(nn.Layer):
    """Deep aggregation pyramid pooling: context of five scales, each added to the one before.

    Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
    arXiv 2101.06085, section III-D.
    """

    def __init__(self, in_channels: int, inter_channels: int, out_channels: int, lr_mult: float):
        super().__init__()

        def project(in_channels, out_channels, kernel_size=1):
            return bn_relu_conv(in_channels, out_channels, kernel_size, lr_mult=lr_mult)

        def pooled(kernel_size, stride):
            pool = nn.AvgPool2D(kernel_size, stride, kernel_size // 2, exclusive=False)
            return nn.Sequential(pool, *project(in_channels, inter_channels))

        self.scale0 = project(in_channels, inter_channels)
        self.scale1 = pooled(5, 2)
        self.scale2 = pooled(9, 4)
        self.scale3 = pooled(17, 8)
        self.scale4 = nn.Sequential(nn.AdaptiveAvgPool2D(1), *project(in_channels, inter_channels))
        self.process1 = project(inter_channels, inter_channels, 3)
        self.process2 = project(inter_channels, inter_channels, 3)
        self.process3 = project(inter_channels, inter_channels, 3)
        self.process4 = project(inter_channels, inter_channels, 3)
        self.compression = project(5 * inter_channels, out_channels)
        self.shortcut = project(in_channels, out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)."""
        y0 = self.scale0(x)
        y1 = self.process1(resize(self.scale1(x), like=x) + y0)
        y2 = self.process2(resize(self.scale2(x), like=x) + y1)
        y3 = self.process3(resize(self.scale3(x), like=x) + y2)
        y4 = self.process4(self.scale4(x) + y3)
        return self.compression(paddle.concat([y0, y1, y2, y3, y4], axis=1)) + self.shortcut(x)


class SegHead(nn.Layer):
    """BN, ReLU, 3 x 3 convolution, BN, ReLU, 1 x 1 convolution to the classes."""

    def __init__(self, in_channels: int, inter_channels: int, num_classes: int, lr_mult: float):
        super().__init__()
        self.bn1 = batch_norm(in_channels, lr_mult)
        self.conv1 = conv(in_channels, inter_channels, 3, lr_mult=lr_mult)
        self.bn2 = batch_norm(inter_channels, lr_mult)
        self.conv2 = conv(inter_channels, num_classes, 1, bias=True, lr_mult=lr_mult)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_channels, H, W) -> (B, num_classes, H, W)."""
        x = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(x)))


def bn_relu_conv(
    in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, lr_mult: float = 1.0
) -> nn.Sequential:
    """Pre-activation convolution: batch norm, ReLU, convolution without bias."""
    return nn.Sequential(
        batch_norm(in_channels, lr_mult),
        nn.ReLU(),
        conv(in_channels, out_channels, kernel_size, stride, lr_mult=lr_mult),
    )


def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    bias: bool = False,
    lr_mult: float = 1.0,
    init: Optional[nn.initializer.Initializer] = None,
) -> nn.Conv2D:
    """Convolution with "same" padding, Kaiming-normal weights unless ``init`` says otherwise, zero bias."""
    weight_attr = paddle.ParamAttr(learning_rate=lr_mult, initializer=init or nn.initializer.KaimingNormal())
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=kernel_size // 2,
        weight_attr=weight_attr,
        bias_attr=paddle.ParamAttr(learning_rate=lr_mult) if bias else False,
    )


def batch_norm(channels: int, lr_mult: float) -> nn.BatchNorm2D:
    """Batch normalisation whose parameters learn ``lr_mult`` times as fast."""
    attr = paddle.ParamAttr(learning_rate=lr_mult)
    return nn.BatchNorm2D(channels, weight_attr=attr, bias_attr=attr)


class RTFormer(SegmentationModel):
    """RTFormer: stem, three convolutional stages, two stages of :class:`RTFormerBlock`, pyramid and head.

    Args:
        num_classes: number of classes.
        layer_nums: residual blocks in stages 1, 2 and 3; a fourth number is accepted, as in PaddleSeg, but unused.
        base_channels: channels C at 1/4; the branches of the last stages have 2C (high) and 8C (low resolution).
        spp_channels: channels inside the pyramid.
        num_heads: groups of GPU-friendly attention.
        head_channels: channels inside the auxiliary head; the main head has twice as many.
        drop_rate: dropout in the feed-forward networks.
        drop_path_rate: stochastic depth of the transformer blocks.
        use_aux_head: build the auxiliary head, whose logits follow the prediction in training.
        use_injection: for stages 4 and 5, whether the high resolution is fed back into the low one.
        lr_mult: learning rate factor of pyramid and heads.
        cross_size: cross-resolution attention has cross_size x cross_size keys.
        bn_momentum: share of the old value when batch norm updates its running statistics. PaddleSeg's value, the
            default, makes them nearly those of the last batch; with small batches 0.9 evaluates more steadily.
        in_channels: channels of the image.
        pretrained: weights to start from, of any number of classes, for the whole network or for all but pyramid and
            heads; see :func:`.load_pretrained`.
        pretrained_skip: layers, or parameters, that are not loaded from them.

    Raises:
        InputError: the weights do not fit.
    """

    def __init__(
        self,
        num_classes: int,
        layer_nums: Sequence[int] = (2, 2, 2, 2),
        base_channels: int = 64,
        spp_channels: int = 128,
        num_heads: int = 8,
        head_channels: int = 128,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.2,
        use_aux_head: bool = True,
        use_injection: Sequence[bool] = (True, True),
        lr_mult: float = 10.0,
        cross_size: int = 12,
        bn_momentum: float = 0.1,
        in_channels: int = 3,
        pretrained: Optional[str] = None,
        pretrained_skip: Sequence[str] = (),
    ):
        super().__init__()
        if len(layer_nums) < 3 or len(use_injection) != 2:
            raise InputError(
                "RTFormer expects layer_nums of 3 or 4 stages and use_injection of 2, got "
                f"{list(layer_nums)} and {list(use_injection)}; correct them"
            )
        c = base_channels
        self.conv1 = nn.Sequential(
            conv(in_channels, c, 3, stride=2, bias=True),
            nn.BatchNorm2D(c),
            nn.ReLU(),
            conv(c, c, 3, stride=2, bias=True),
            nn.BatchNorm2D(c),
            nn.ReLU(),
        )
        self.layer1 = residual_stage(c, c, layer_nums[0])
        self.layer2 = residual_stage(c, 2 * c, layer_nums[1], stride=2)
        self.layer3 = residual_stage(2 * c, 4 * c, layer_nums[2], stride=2)
        self.layer3_ = residual_stage(2 * c, 2 * c, 1)
        self.compression3 = bn_relu_conv(4 * c, 2 * c)
        block = {
            "num_heads": num_heads,
            "drop_rate": drop_rate,
            "drop_path_rate": drop_path_rate,
            "cross_size": cross_size,
        }
        self.layer4 = RTFormerBlock(2 * c, 4 * c, 8 * c, use_injection=use_injection[0], **block)
        self.layer5 = RTFormerBlock(2 * c, 8 * c, 8 * c, use_injection=use_injection[1], **block)
        self.spp = DAPPM(8 * c, spp_channels, 2 * c, lr_mult)
        self.seghead = SegHead(4 * c, 2 * head_channels, num_classes, lr_mult)
        self.use_aux_head = use_aux_head
        if use_aux_head:
            self.seghead_extra = SegHead(2 * c, head_channels, num_classes, lr_mult)
        for layer in self.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._momentum = bn_momentum
        if pretrained is not None:
            self._load(pretrained, pretrained_skip)

    def _load(self, path: str, skip: Sequence[str]) -> None:
        """Load weights strictly, except for parts that a network of another purpose has or lacks."""
        state, own = read_state(path), self.state_dict()
        optional = {"seghead_extra"}
        if not any(name.startswith("seghead.") for name in state):  # trained on ImageNet: another head
            optional |= {"spp", "seghead", "layer4.down", "layer5.down"}
            optional |= {name.split(".")[0] for name in state} - {name.split(".")[0] for name in own}

        def has(names, part):
            return any(name.startswith(part + ".") for name in names)

        load_pretrained(self, state, [*skip, *(part for part in optional if has(state, part) != has(own, part))])

    def low_resolution_logits(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, 3, H, W) -> [logits] or, in training, [logits, auxiliary logits], each (B, num_classes, H/8, W/8)."""
        x = self.layer1(self.conv1(x))  # (B, C, H/4, W/4)
        high = self.layer2(F.relu(x))  # (B, 2C, H/8, W/8)
        low = self.layer3(F.relu(high))  # (B, 4C, H/16, W/16)
        high = high + resize(self.compression3(low), like=high)
        auxiliary = high = self.layer3_(F.relu(high))
        high, low = self.layer4(F.relu(high), F.relu(low))  # low: (B, 8C, H/32, W/32)
        high, low = self.layer5(F.relu(high), F.relu(low))
        pyramid = resize(self.spp(low), like=high)  # (B, 2C, H/8, W/8)
        logits = [self.seghead(paddle.concat([high, pyramid], axis=1))]
        if self.training and self.use_aux_head:
            logits.append(self.seghead_extra(auxiliary))
        return logits


@manager.MODELS.add_component
def RTFormer_Slim(num_classes: int, **overrides) -> RTFormer:
    """RTFormer-Slim; ``overrides`` are any other arguments of :class:`RTFormer`."""
    return RTFormer(num_classes, **{**VARIANTS["Slim"], **overrides})


@manager.MODELS.add_component
def RTFormer_Base(num_classes: int, **overrides) -> RTFormer:
    """RTFormer-Base; ``overrides`` are any other arguments of :class:`RTFormer`."""
    return RTFormer(num_classes, **{**VARIANTS["Base"], **overrides})
