"""MiT, the encoder of SegFormer, with SegFormer++'s token merging.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", NeurIPS 2021, arXiv
2105.15203 (figure 2, the encoder; table 6, the variants); Kienzle et al., "Segformer++: Efficient Token-Merging
Strategies for High-Resolution Semantic Segmentation", MIPR 2024, arXiv 2405.14467. Parameters have the names, shapes
and LayerNorm epsilons of PaddleSeg's ``MixVisionTransformer``: its published weights load unchanged, and equal weights
give equal features.

Deviations from PaddleSeg's code:

- attention may merge tokens (see :mod:`.merging_schedule`);
- the linear layers of the Mix-FFN are 1x1 convolutions of the map, with the same weights, so that nothing wide is
  transposed around the depthwise convolution and oneDNN keeps its own layout throughout: half the time on a CPU;
- attention scales the queries instead of the far more numerous scores, and computes the scores in pieces (see
  :func:`.layers.attend`).
"""

import itertools
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddleseg.cvlibs import manager

from ..errors import InputError
from ..weights import load_weights, read_state
from .layers import (
    Constants,
    DropPath,
    Size,
    attend,
    init_vision_transformer,
    map_to_tokens,
    spatial_size,
    tokens_to_map,
)
from .merging_schedule import Matching, NoMerging, Schedule, StageMerging, merges_by_matching, parse_schedule
from .token_merging import counted, per_count

# Channels and blocks of the four stages.
# fmt: off
VARIANTS = {
    "B0": {"embed_dims": (32,  64, 160, 256), "depths": (2, 2,  2, 2)},
    "B1": {"embed_dims": (64, 128, 320, 512), "depths": (2, 2,  2, 2)},
    "B2": {"embed_dims": (64, 128, 320, 512), "depths": (3, 4,  6, 3)},
    "B3": {"embed_dims": (64, 128, 320, 512), "depths": (3, 4, 18, 3)},
    "B4": {"embed_dims": (64, 128, 320, 512), "depths": (3, 8, 27, 3)},
    "B5": {"embed_dims": (64, 128, 320, 512), "depths": (3, 6, 40, 3)},
}
# fmt: on


class OverlapPatchEmbed(nn.Layer):
    """Overlapping patches: a strided convolution and a layer norm."""

    def __init__(self, in_channels: int, dim: int, kernel: int, stride: int, eps: float):
        super().__init__()
        self.proj = nn.Conv2D(in_channels, dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(dim, eps)

    def forward(self, x: paddle.Tensor) -> Tuple[paddle.Tensor, Size]:
        """(B, C', H, W) -> tokens (B, N, C) in raster order, and the height and width of their map."""
        x = self.proj(x)
        return self.norm(map_to_tokens(x)), spatial_size(x)


class EfficientSelfAttention(nn.Layer):
    """Self-attention whose keys and values come from a spatially reduced map.

    ``merging`` is the stage's token merging; :meth:`MixTransformer.set_token_merging` replaces it.

    Args:
        dim: channels C.
        num_heads: attention heads.
        sr_ratio: by how much keys and values are reduced, in height and in width.
        eps: epsilon of the layer norm after the reduction.
        max_scores: how many attention scores of an image to hold at a time; None for all.
    """

    def __init__(self, dim: int, num_heads: int, sr_ratio: int, eps: float, max_scores: Optional[int]):
        super().__init__()
        if dim % num_heads:
            raise InputError(
                f"expected channels that {num_heads} heads divide, got {dim}; change embed_dims or num_heads"
            )
        self.dim, self.num_heads = dim, num_heads
        self.max_scores_per_head = None if max_scores is None else max_scores // num_heads
        self.merging = StageMerging(NoMerging(), NoMerging(), Constants())
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2D(dim, dim, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(dim, eps)

    def forward(
        self, x: paddle.Tensor, size: Size, earlier: Optional[Matching] = None
    ) -> Tuple[paddle.Tensor, Matching]:
        """(B, N, C) -> (B, N, C).

        Args:
            size: height and width of the map.
            earlier: the matching to use; None to match these tokens.

        Returns:
            The tokens, and the matching that was used.
        """
        source, source_size = x, size
        if self.sr_ratio > 1:
            source = self.sr(tokens_to_map(x, size))  # (B, C, H / sr, W / sr)
            source_size = spatial_size(source)
            source = self.norm(map_to_tokens(source))  # (B, M, C)
        matching = earlier or self.merging.match(x, size, source, source_size)
        query, key_value = matching
        source = key_value.merge(source)  # (B, m, C)

        heads, width = self.num_heads, self.dim // self.num_heads
        q = self._split_heads(self.q(query.merge(x)) * width**-0.5, heads).flatten(0, 1)  # (B * heads, n, width)
        kv = self._split_heads(self.kv(source), 2 * heads)  # (B, 2 * heads, m, width)
        k, v = kv[:, :heads].flatten(0, 1), kv[:, heads:]
        proportional = self.merging.proportional and key_value.sizes is not None
        v = counted(v, key_value.sizes()) if proportional else v  # (B, heads, m, width), or one more
        x = attend(q, k, v.flatten(0, 1), self.max_scores_per_head)
        x = per_count(x) if proportional else x  # (B * heads, n, width)
        x = x.reshape([-1, heads, _length(x), width]).transpose([0, 2, 1, 3]).flatten(2)  # -> (B, n, C)
        return query.unmerge(self.proj(x)), matching

    def macs(self, inputs: tuple, output: Tuple[paddle.Tensor, Matching]) -> int:
        """Work of matching and of attention's two products, for :func:`.macs.count_macs`."""
        x, size, *earlier = inputs
        matches = not any(earlier)
        reduced = [side // self.sr_ratio for side in size]
        query, key_value = self.merging.query, self.merging.key_value
        products = query.tokens_kept(*size) * key_value.tokens_kept(*reduced)
        merging = query.macs(*size, matches) + key_value.macs(*reduced, matches)
        sums_of_sizes = products * self.num_heads * self.merging.proportional
        return x.shape[0] * (self.dim * (2 * products + merging) + sums_of_sizes)

    def _split_heads(self, x: paddle.Tensor, heads: int) -> paddle.Tensor:
        """(B, n, heads * width) -> (B, heads, n, width)."""
        return x.reshape([-1, _length(x), heads, self.dim // self.num_heads]).transpose([0, 2, 1, 3])


@paddle.jit.not_to_static
def _length(x: paddle.Tensor) -> Union[int, paddle.Tensor]:
    """Number of tokens of (B, n, C): an integer, or an integer tensor where it is free in an exported graph."""
    return x.shape[1] if x.shape[1] >= 0 else paddle.shape(x)[1]


class MixFFN(nn.Layer):
    """Feed-forward network with a depthwise 3x3 convolution between its two layers."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = MapLinear(dim, hidden)
        self.dwconv = nn.Layer()  # PaddleSeg wraps the convolution once more
        self.dwconv.dwconv = nn.Conv2D(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = MapLinear(hidden, dim)

    def forward(self, x: paddle.Tensor, size: Size) -> paddle.Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = self.fc1(tokens_to_map(x, size))  # (B, hidden, H, W)
        return map_to_tokens(self.fc2(F.gelu(self.dwconv.dwconv(x))))


class MapLinear(nn.Linear):
    """A linear layer over the channels of a map: the state of ``nn.Linear``, the computation of a 1x1 convolution."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, in_features, H, W) -> (B, out_features, H, W)."""
        return F.conv2d(x, self.weight.transpose([1, 0]).unsqueeze([2, 3]), self.bias)


class Block(nn.Layer):
    """Transformer block: self-attention, then the Mix-FFN, each after a layer norm and added to its input."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        sr_ratio: int,
        mlp_ratio: int,
        drop_path: float,
        eps: float,
        inner_eps: float,
        max_scores: Optional[int],
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = EfficientSelfAttention(dim, num_heads, sr_ratio, inner_eps, max_scores)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = MixFFN(dim, mlp_ratio * dim)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: paddle.Tensor, size: Size, earlier: Optional[Matching] = None
    ) -> Tuple[paddle.Tensor, Matching]:
        """(B, N, C) -> (B, N, C), and the matching that was used; ``earlier`` as for the attention."""
        attention, matching = self.attn(self.norm1(x), size, earlier)
        x = x + self.drop_path(attention)
        return x + self.drop_path(self.mlp(self.norm2(x), size)), matching


class MixTransformer(nn.Layer):
    """MiT.

    Args:
        embed_dims: channels of the four stages.
        depths: blocks of the four stages.
        token_merging: None; "hq", "fast" or "2x2", the paper's schedules; one of these with options, such as
            {"schedule": "hq", "match_every": 2}; or four dicts, see :func:`.merging_schedule.parse_schedule`.
            :meth:`set_token_merging` changes it later.
        norm_eps: epsilon of every LayerNorm. None means PaddleSeg's: 1e-5 after patch embeddings and spatial
            reductions, 1e-6 elsewhere. mmseg's weights, SegFormer++'s among them, need 1e-6; Hugging Face's 1e-5.
        attention_piece: how many attention scores of an image to hold at a time; None for all. The results are equal.
            The default's 16 MiB stay in a CPU's cache, which makes MiT-B2 a fifth faster at 1024 x 1024 and saves
            most of attention's memory, and leave a GPU large products. It has no effect in a graph exported with free
            height and width.
        input_scale: 1, or 1/k to use every k-th row and column of the image; 0.5 is the paper's "downsampling".
        num_heads: attention heads of the four stages.
        sr_ratios: by how much keys and values are reduced, in height and in width, in the four stages.
        mlp_ratio: expansion of the Mix-FFNs.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
        in_channels: channels of the image.
        pretrained: path, or URL#sha256=HEX, of backbone weights; an ImageNet classifier in it is left out.

    Raises:
        InputError: not four stages, an invalid schedule, or weights that do not fit.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        token_merging: Schedule = None,
        norm_eps: Optional[float] = None,
        attention_piece: Optional[int] = 2**22,
        input_scale: float = 1.0,
        num_heads: Sequence[int] = (1, 2, 5, 8),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        mlp_ratio: int = 4,
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        pretrained: Optional[str] = None,
    ):
        super().__init__()
        if {len(embed_dims), len(depths), len(num_heads), len(sr_ratios)} != {4}:
            raise InputError(
                f"expected embed_dims, depths, num_heads and sr_ratios of four stages, got {embed_dims}, {depths}, "
                f"{num_heads} and {sr_ratios}; correct them"
            )
        self.feat_channels = list(embed_dims)
        self.sr_ratios = list(sr_ratios)
        self.input_stride = round(1 / input_scale) if 0 < input_scale <= 1 else 0
        if self.input_stride * input_scale != 1:
            raise InputError(f"expected input_scale 1, 1/2, 1/3 ..., got {input_scale}; choose one")
        eps, inner_eps = (1e-6, 1e-5) if norm_eps is None else (norm_eps, norm_eps)
        rates = iter(np.linspace(0, drop_path_rate, sum(depths)).tolist())
        channels = [in_channels, *embed_dims]
        for i, (source, dim) in enumerate(zip(channels, channels[1:])):
            kernel, stride = (7, 4) if i == 0 else (3, 2)
            blocks = [
                Block(dim, num_heads[i], sr_ratios[i], mlp_ratio, next(rates), eps, inner_eps, attention_piece)
                for _ in range(depths[i])
            ]
            self.add_sublayer(f"patch_embed{i + 1}", OverlapPatchEmbed(source, dim, kernel, stride, inner_eps))
            self.add_sublayer(f"block{i + 1}", nn.LayerList(blocks))
            self.add_sublayer(f"norm{i + 1}", nn.LayerNorm(dim, eps))
        self.set_token_merging(token_merging)
        self.apply(init_vision_transformer)
        if pretrained is not None:
            state = read_state(pretrained)
            load_weights(self, {name: array for name, array in state.items() if not name.startswith("head.")})

    def set_token_merging(self, schedule: Schedule) -> None:
        """Switch merging on or off, or to another schedule; the weights stay. Values as for the constructor."""
        self.merging = nn.LayerList(parse_schedule(schedule))
        for i, merging in enumerate(self.merging, start=1):
            for block in getattr(self, f"block{i}"):
                block.attn.merging = merging

    @property
    def fixed_size_reason(self) -> Optional[str]:
        """Why an exported graph must have a fixed height and width; None where both may stay free."""
        if merges_by_matching(self):
            return "bsm token merging counts tokens and keeps index tables when the graph is made"
        return None

    @property
    def min_input_size(self) -> int:
        """Smallest image height and width, in pixels, at which every stage has a token and what its merging needs."""
        return next(side for side in itertools.count(31 * self.input_stride + 1) if self._accepts(side))

    def _accepts(self, side: int) -> bool:
        side = -(-side // (4 * self.input_stride))  # of the first map
        for merging, sr_ratio in zip(self.merging, self.sr_ratios):
            reduced = side // sr_ratio
            if not merging.query.fits(side, side) or not merging.key_value.fits(reduced, reduced):
                return False
            side = -(-side // 2)
        return True

    @paddle.jit.not_to_static  # plain tracing suffices: nothing branches on values
    def forward(self, x: paddle.Tensor) -> List[paddle.Tensor]:
        """(B, 3, H, W) -> features at 1/4, 1/8, 1/16 and 1/32 of the (scaled) image, (B, C_i, H_i, W_i).

        Raises:
            InputError: the image is too small for the merging schedule.
        """
        if self.input_stride > 1:
            x = x[:, :, :: self.input_stride, :: self.input_stride]
        features = []
        for i in (1, 2, 3, 4):
            x, size = getattr(self, f"patch_embed{i}")(x)  # (B, N, C)
            matching = None
            for j, block in enumerate(getattr(self, f"block{i}")):
                matching = matching if j % self.merging[i - 1].match_every else None
                x, matching = block(x, size, matching)
            x = tokens_to_map(getattr(self, f"norm{i}")(x), size)  # (B, N, C) -> (B, C, H_i, W_i)
            features.append(x)
        return features


@manager.BACKBONES.add_component
def MiT_B0(**overrides) -> MixTransformer:
    """MiT-B0; ``overrides`` are any other arguments of :class:`MixTransformer`."""
    return MixTransformer(**{**VARIANTS["B0"], **overrides})


@manager.BACKBONES.add_component
def MiT_B1(**overrides) -> MixTransformer:
    """MiT-B1; ``overrides`` are any other arguments of :class:`MixTransformer`."""
    return MixTransformer(**{**VARIANTS["B1"], **overrides})


@manager.BACKBONES.add_component
def MiT_B2(**overrides) -> MixTransformer:
    """MiT-B2; ``overrides`` are any other arguments of :class:`MixTransformer`."""
    return MixTransformer(**{**VARIANTS["B2"], **overrides})


@manager.BACKBONES.add_component
def MiT_B3(**overrides) -> MixTransformer:
    """MiT-B3; ``overrides`` are any other arguments of :class:`MixTransformer`."""
    return MixTransformer(**{**VARIANTS["B3"], **overrides})


@manager.BACKBONES.add_component
def MiT_B4(**overrides) -> MixTransformer:
    """MiT-B4; ``overrides`` are any other arguments of :class:`MixTransformer`."""
    return MixTransformer(**{**VARIANTS["B4"], **overrides})


@manager.BACKBONES.add_component
def MiT_B5(**overrides) -> MixTransformer:
    """MiT-B5; ``overrides`` are any other arguments of :class:`MixTransformer`."""
    return MixTransformer(**{**VARIANTS["B5"], **overrides})
