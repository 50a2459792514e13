"""SegFormer checkpoints of three PyTorch publishers -> the state of our models and of PaddleSeg's SegFormer.

* mmseg's names (SegFormer++ and OpenMMLab): whole models become the state of ``SegFormerPP``. SegFormer++'s models for
  pose, whose head ends in ``final_layer``, become that of ``SegFormerPPPose``.
* NVlabs' names (the SegFormer authors): whole models become the state of PaddleSeg's ``SegFormer``.
* Hugging Face's names (``SegformerForSemanticSegmentation``): the same.

A file without a decode head becomes the state of a ``MiT`` backbone alone. An ImageNet classifier is dropped.
"""

import re
from typing import Match, Set

import numpy as np

from ...errors import InputError
from ..conversion import Rule, batch_norm, complete, linear, rename
from ..state import Arrays, State, shorten

_KIND = r"\.(?P<kind>weight|bias)"  # of a layer's parameter

# Two of the publishers count stages from 0: `<i>` in a target stands for the digit i + 1.
_STAGE = r"backbone\.layers\.(\d)"
_BLOCK = _STAGE + r"\.1\.(\d+)"
MMSEG = (
    Rule(_STAGE + r"\.0\.projection" + _KIND, r"backbone.patch_embed<\1>.proj.\g<kind>"),
    Rule(_STAGE + r"\.0\.norm" + _KIND, r"backbone.patch_embed<\1>.norm.\g<kind>"),
    Rule(_BLOCK + r"\.(norm[12]|attn\.sr|attn\.norm)" + _KIND, r"backbone.block<\1>.\2.\3.\g<kind>"),
    *linear(_BLOCK + r"\.attn\.attn\.(q|kv)", r"backbone.block<\1>.\2.attn.\3"),
    *linear(_BLOCK + r"\.attn\.attn\.out_proj", r"backbone.block<\1>.\2.attn.proj"),
    *linear(_BLOCK + r"\.ffn\.layers\.0", r"backbone.block<\1>.\2.mlp.fc1"),
    Rule(_BLOCK + r"\.ffn\.layers\.1" + _KIND, r"backbone.block<\1>.\2.mlp.dwconv.dwconv.\g<kind>"),
    *linear(_BLOCK + r"\.ffn\.layers\.4", r"backbone.block<\1>.\2.mlp.fc2"),
    Rule(_STAGE + r"\.2" + _KIND, r"backbone.norm<\1>.\g<kind>"),
    Rule(r"decode_head\.(convs\.\d\.conv|fusion\.\d)\.weight", r"head.\1.weight"),
    *batch_norm(r"decode_head\.(convs\.\d\.bn)", r"head.\1"),
    *batch_norm(r"decode_head\.fusion_conv\.bn", "head.bn"),
    Rule(r"decode_head\.conv_seg" + _KIND, r"head.classifier.\g<kind>"),
)
NVLABS = (
    Rule(r"(backbone\.patch_embed\d\.(?:proj|norm)" + _KIND + ")", r"\1"),
    Rule(r"(backbone\.block\d\.\d+\.(?:norm[12]|attn\.sr|attn\.norm|mlp\.dwconv\.dwconv)" + _KIND + ")", r"\1"),
    *linear(r"(backbone\.block\d\.\d+\.(?:attn\.(?:q|kv|proj)|mlp\.fc[12]))", r"\1"),
    Rule(r"(backbone\.norm\d" + _KIND + ")", r"\1"),
    Rule(r"backbone\.head" + _KIND, None),  # ImageNet's classifier
    *linear(r"decode_head\.(linear_c\d\.proj)", r"\1"),
    Rule(r"decode_head\.linear_fuse\.conv\.weight", "linear_fuse._conv.weight"),
    *batch_norm(r"decode_head\.linear_fuse\.bn", "linear_fuse._batch_norm"),
    Rule(r"decode_head\.(linear_pred)" + _KIND, r"\1.\g<kind>"),
    Rule(r"decode_head\.conv_seg" + _KIND, None),  # inherited from mmseg's base class, and unused
)
_ENCODER = r"segformer\.encoder"
_BLOCK = _ENCODER + r"\.block\.(\d)\.(\d+)"
HUGGING_FACE = (
    Rule(_ENCODER + r"\.patch_embeddings\.(\d)\.proj" + _KIND, r"backbone.patch_embed<\1>.proj.\g<kind>"),
    Rule(_ENCODER + r"\.patch_embeddings\.(\d)\.layer_norm" + _KIND, r"backbone.patch_embed<\1>.norm.\g<kind>"),
    Rule(_BLOCK + r"\.layer_norm_([12])" + _KIND, r"backbone.block<\1>.\2.norm\3.\g<kind>"),
    *linear(_BLOCK + r"\.attention\.self\.query", r"backbone.block<\1>.\2.attn.q"),
    *linear(_BLOCK + r"\.attention\.self\.(key|value)", r"backbone.block<\1>.\2.attn.\3"),
    Rule(_BLOCK + r"\.attention\.self\.sr" + _KIND, r"backbone.block<\1>.\2.attn.sr.\g<kind>"),
    Rule(_BLOCK + r"\.attention\.self\.layer_norm" + _KIND, r"backbone.block<\1>.\2.attn.norm.\g<kind>"),
    *linear(_BLOCK + r"\.attention\.output\.dense", r"backbone.block<\1>.\2.attn.proj"),
    *linear(_BLOCK + r"\.mlp\.dense([12])", r"backbone.block<\1>.\2.mlp.fc\3"),
    Rule(_BLOCK + r"\.(mlp\.dwconv\.dwconv)" + _KIND, r"backbone.block<\1>.\2.\3.\g<kind>"),
    Rule(_ENCODER + r"\.layer_norm\.(\d)" + _KIND, r"backbone.norm<\1>.\g<kind>"),
    Rule(r"classifier" + _KIND, None),  # ImageNet's
    *linear(r"decode_head\.linear_c\.(\d)\.proj", r"linear_c<\1>.proj"),
    Rule(r"decode_head\.linear_fuse\.weight", "linear_fuse._conv.weight"),
    *batch_norm(r"decode_head\.batch_norm", "linear_fuse._batch_norm"),
    Rule(r"decode_head\.classifier" + _KIND, r"linear_pred.\g<kind>"),
)


def convert(state: Arrays) -> State:
    """Convert a SegFormer state; its names tell which of the three publishers it is from.

    Raises:
        InputError: none of the three, or an entry is unknown, missing or of an impossible shape.
    """
    names = list(state)
    if any("patch_embed1." in n for n in names):
        rules = NVLABS
        state = {n if n.startswith(("backbone.", "decode_head.")) else "backbone." + n: a for n, a in state.items()}
        _refuse_paddle(state)
    elif any("patch_embeddings.0." in n for n in names):
        rules = HUGGING_FACE
        state = {"segformer." + n if n.startswith("encoder.") else n: a for n, a in state.items()}
    elif any("layers.0.0.projection." in n for n in names):
        rules = MMSEG
        if any(n.startswith("head.final_layer.") for n in names):
            state = {_of_pose(n): a for n, a in state.items()}
        state = _split_packed({"backbone." + n if n.startswith("layers.") else n: a for n, a in state.items()})
    else:
        raise InputError(
            "expected a SegFormer with the names of mmseg (layers.0.0.projection...), NVlabs (patch_embed1...) or "
            f"Hugging Face (patch_embeddings.0...), got {shorten(names)}; check the file and the family"
        )
    result = {re.sub(r"<(\d)>", _one_based, name): array for name, array in rename(state, rules).items()}
    result = _joined_key_value(result)
    return complete(result, _expected(result))


def _of_pose(name: str) -> str:
    """mmseg's name for a parameter of mmpose's head, which is the same but for its own name and its last layer's."""
    return re.sub(r"^head\.(final_layer\.)?", lambda match: f"decode_head.{'conv_seg.' if match[1] else ''}", name)


def _one_based(match: Match[str]) -> str:
    return str(int(match.group(1)) + 1)


def _split_packed(state: Arrays) -> State:
    """mmseg's packed projection -> query, and key with value; its fusion convolution -> one for each of four maps."""
    result = {}
    for name, array in state.items():
        layer, packed, kind = name.partition("in_proj_")
        if packed:
            channels = len(array) // 3
            result[f"{layer}q.{kind}"], result[f"{layer}kv.{kind}"] = array[:channels], array[channels:]
        elif name == "decode_head.fusion_conv.conv.weight":
            slices = np.split(array, 4, axis=1)
            result.update({f"decode_head.fusion.{k}.weight": part for k, part in enumerate(slices)})
        else:
            result[name] = array
    return result


def _joined_key_value(state: Arrays) -> State:
    """Hugging Face's separate key and value -> kv, key first; both are (in, out) or (out) here."""
    result = dict(state)
    for name in state:
        value = name.replace(".attn.key.", ".attn.value.")
        if value != name and value in state:
            joined = np.concatenate([result.pop(name), result.pop(value)], axis=-1)
            result[name.replace(".attn.key.", ".attn.kv.")] = joined
    return result


def _refuse_paddle(state: Arrays) -> None:
    """NVlabs' names are Paddle's too, and square matrices look alike: the MLP's widening layer tells them apart."""
    widening = state.get("backbone.block1.0.mlp.fc1.weight")
    if widening is not None and widening.ndim == 2 and widening.shape[0] < widening.shape[1]:
        raise InputError("these weights already have Paddle's layout; use the file as it is")


def _expected(state: State) -> Set[str]:
    """Every name that a complete state has, given its depths and its kind of head."""
    both = [".weight", ".bias"]
    statistics = [*both, "._mean", "._variance"]
    names = set()
    for stage in "1234":
        blocks = {m.group(1) for m in (re.match(rf"backbone\.block{stage}\.(\d+)\.", n) for n in state) if m}
        depth = 1 + max(map(int, blocks), default=0)
        parts = ["norm1", "norm2", "attn.q", "attn.kv", "attn.proj", "mlp.fc1", "mlp.fc2", "mlp.dwconv.dwconv"]
        parts += ["attn.sr", "attn.norm"] if stage != "4" else []
        layers = [f"patch_embed{stage}.proj", f"patch_embed{stage}.norm", f"norm{stage}"]
        layers += [f"block{stage}.{j}.{part}" for j in range(depth) for part in parts]
        names |= {f"backbone.{layer}{kind}" for layer in layers for kind in both}
    if any(n.startswith("head.") for n in state):
        for k in range(4):
            names |= {f"head.convs.{k}.conv.weight", f"head.fusion.{k}.weight"}
            names |= {f"head.convs.{k}.bn{kind}" for kind in statistics}
        names |= {f"head.bn{kind}" for kind in statistics} | {f"head.classifier{kind}" for kind in both}
    elif any(n.startswith("linear_") for n in state):
        names |= {f"linear_c{stage}.proj{kind}" for stage in "1234" for kind in both}
        names |= {"linear_fuse._conv.weight", "linear_pred.weight", "linear_pred.bias"}
        names |= {f"linear_fuse._batch_norm{kind}" for kind in statistics}
    return names
