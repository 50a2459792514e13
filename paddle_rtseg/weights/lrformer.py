"""LRFormer checkpoints (mmseg's names) -> the state of ``LRFormerSeg``, or of a backbone alone.

The names are nearly the same. What differs: the depthwise convolutions of a stage's pooled maps have moved into the
layer that pools, and the head's query projection, a 1x1 convolution there, is a linear layer here.
"""

from typing import Mapping

import numpy as np

from .conversion import Rule, batch_norm, linear, rename
from .state import State

_KIND = r"\.(?P<kind>weight|bias)"  # what both parameters of a layer share
_BLOCK = r"(backbone\.block\d\.\d+|decode_head\.fuse_block\d)"

_RULES = (
    *batch_norm(r"(backbone\.patch_embed1\.conv1\.[147])", r"\1"),
    Rule(r"backbone\.patch_embed1\.(conv1\.[0369]|norm)" + _KIND, r"backbone.patch_embed1.\1.\g<kind>"),
    Rule(r"backbone\.patch_embed([234])\.(proj|norm)" + _KIND, r"backbone.patch_embed\1.\2.\g<kind>"),
    Rule(r"backbone\.d_convs(\d)\.(\d)" + _KIND, r"backbone.grids\1.convs.\2.\g<kind>"),
    Rule(r"backbone\.head" + _KIND, None),  # ImageNet's classifier
    *batch_norm(r"(backbone\.block3\.\d+\.pre_norm)", r"\1"),
    *batch_norm(r"(decode_head\.fuse_block\d\.norm[12])", r"\1"),
    Rule(_BLOCK + r"\.(norm[12]|cpe|attn\.norm|mlp\.(?:fc1|conv|fc2))" + _KIND, r"\1.\2.\g<kind>"),
    Rule(_BLOCK + r"\.(layer_scale_[12])", r"\1.\2"),
    *linear(_BLOCK + r"\.attn\.(q|kv)(?:\.0)?", r"\1.attn.\2"),
    *linear(_BLOCK + r"\.attn\.proj", r"\1.attn.proj"),
    Rule(r"decode_head\.(squeeze\d\.conv\.weight)", r"decode_head.\1"),
    *batch_norm(r"decode_head\.(squeeze\d\.bn)", r"decode_head.\1"),
    Rule(r"decode_head\.conv_seg" + _KIND, r"decode_head.conv_seg.\g<kind>"),
)


def convert(state: Mapping[str, np.ndarray]) -> State:
    return rename(state, _RULES)
