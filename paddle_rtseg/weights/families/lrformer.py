"""LRFormer checkpoints (mmseg's names) -> the state of ``LRFormerSeg``, or of a backbone alone.

Most names are the same. Two things differ: the depthwise convolutions of a stage's pooled maps have moved into the
layer that pools, and the head's query projection, a 1x1 convolution there, is a linear layer here.
"""

import re
from typing import Set

from ..conversion import Rule, batch_norm, complete, linear, rename
from ..state import Arrays, State

_KIND = r"\.(?P<kind>weight|bias)"  # of a layer's parameter
_BLOCK = r"(backbone\.block\d\.\d+|decode_head\.fuse_block\d)"

RULES = (
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


def convert(state: Arrays) -> State:
    """Convert an LRFormer state; one without a decode head becomes the state of a backbone alone.

    Raises:
        InputError: an entry is unknown, missing or of an impossible shape.
    """
    state = {n if n.startswith(("backbone.", "decode_head.")) else "backbone." + n: a for n, a in state.items()}
    result = rename(state, RULES)
    return complete(result, _expected(result))


def _expected(state: State) -> Set[str]:
    """Every name that a complete state has, given its depths and whether it has a head."""
    layers = [f"backbone.patch_embed1.{name}" for name in ("conv1.0", "conv1.3", "conv1.6", "conv1.9", "norm")]
    norms = [f"backbone.patch_embed1.conv1.{i}" for i in (1, 4, 7)]  # batch norms
    layers += [f"backbone.patch_embed{stage}.{name}" for stage in (2, 3, 4) for name in ("proj", "norm")]
    layers += [f"backbone.grids{stage}.convs.{i}" for stage in (1, 2, 3, 4) for i in range(4)]
    blocks, names = [], set()
    for stage in (1, 2, 3, 4):
        found = (re.match(rf"backbone\.block{stage}\.(\d+)\.", name) for name in state)
        depth = 1 + max((int(m.group(1)) for m in found if m), default=0)
        blocks += [f"backbone.block{stage}.{i}" for i in range(depth)]
    layers += [f"{block}.norm{i}" for block in blocks for i in (1, 2)]
    norms += {name.rpartition(".")[0] for name in state if ".pre_norm." in name}
    if any(name.startswith("decode_head.") for name in state):
        heads = ["decode_head.fuse_block1", "decode_head.fuse_block2"]
        norms += [f"{block}.norm{i}" for block in heads for i in (1, 2)]
        norms += ["decode_head.squeeze1.bn", "decode_head.squeeze2.bn"]
        names |= {"decode_head.squeeze1.conv.weight", "decode_head.squeeze2.conv.weight"}
        layers.append("decode_head.conv_seg")
        blocks += heads
    parts = ("cpe", "attn.norm", "attn.q", "attn.kv", "attn.proj", "mlp.fc1", "mlp.conv", "mlp.fc2")
    layers += [f"{block}.{part}" for block in blocks for part in parts]
    scaled = [block for block in blocks if not block.startswith(("backbone.block1", "backbone.block2"))]
    names |= {f"{block}.layer_scale_{i}" for block in scaled for i in (1, 2)}
    names |= {f"{layer}.{kind}" for layer in layers + norms for kind in ("weight", "bias")}
    return names | {f"{norm}.{kind}" for norm in norms for kind in ("_mean", "_variance")}
