"""The patches of PaddleSeg's networks: a small instance of each family learns, and does not without its patch."""

import contextlib
import sys
import types

import numpy as np
import paddle
import pytest
from paddleseg.cvlibs import manager

from paddle_rtseg.compat.patch import paddle_version
from paddle_rtseg.errors import InputError

SIZE = 64
VIT = {"img_size": SIZE, "embed_dim": 24, "depth": 2, "num_heads": 2}
ADAPTER = {"pretrain_size": SIZE, "deform_num_heads": 2, "conv_inplane": 8, "interaction_indexes": [[0, 0], [1, 1]] * 2}


def backbone(name, **arguments):
    return manager.BACKBONES[name](**arguments)


def sfnet():
    return manager.MODELS["SFNet"](3, backbone("ResNet18_vd", output_stride=8), [0, 1, 2, 3])


def decoupled_segnet():
    return manager.MODELS["DecoupledSegNet"](3, backbone("ResNet18_vd", output_stride=8), (0, 3))


def segmenter():
    return manager.MODELS["LinearSegmenter"](3, backbone("VisionTransformer", **VIT))


def cae():
    # UPerNetCAE takes backbones of 768 channels only.
    widths = {"channels": 16, "fpn_channels": 16, "head_channels": 768, "channels_fpn": [768] * 4}
    return manager.MODELS["UPerNetCAE"](3, backbone("CAE", img_size=SIZE, depth=4), [0, 1, 2, 3], **widths)


def vit_adapter():
    return manager.MODELS["UPerNetViTAdapter"](3, backbone("ViTAdapter", **VIT, **ADAPTER), [0, 1, 2, 3], channels=16)


def pidnet():
    return manager.MODELS["PIDNet"](3, backbone("PIDNet_Small"), 8)


def large_pidnet():
    return manager.MODELS["PIDNet"](3, backbone("PIDNet_Large"), 8)


FAMILIES = [
    (sfnet, "SFNet types", TypeError),
    (decoupled_segnet, "DecoupledSegNet types", TypeError),
    (segmenter, "VisionTransformer without pretrained weights", TypeError),
    (cae, "CAE without pretrained weights", TypeError),
    (cae, "batch norms of UPerNetCAE._init_fpn on a CPU", RuntimeError),
    (vit_adapter, "batch norms of ViTAdapter.__init__ on a CPU", RuntimeError),
    (vit_adapter, "batch norms of SpatialPriorModule.__init__ on a CPU", RuntimeError),
    (vit_adapter, "MSDeformAttn types", TypeError),
    (pidnet, "batch norms of DAPPM.__init__ on a CPU", RuntimeError),
    (pidnet, "batch norms of PAPPM.__init__ on a CPU", RuntimeError),
    (large_pidnet, "batch norms of Bag.__init__ on a CPU", RuntimeError),
    (pidnet, "batch norms of BasePIDHead.__init__ on a CPU", RuntimeError),
]


@pytest.mark.slow
@pytest.mark.parametrize("make, patch, error", FAMILIES, ids=[patch for _, patch, _ in FAMILIES])
def test_family_learns(make, patch, error, without, monkeypatch):
    monkeypatch.setitem(sys.modules, "ms_deform_attn", types.SimpleNamespace(ms_deform_attn=averages))
    if make in (pidnet, large_pidnet):
        pytest.importorskip("paddleseg.models.pidnet", reason="only PaddleSeg's develop branch has it")
    broken = paddle_version() >= (3, 0) or error is not TypeError or "types" not in patch
    with without(patch), pytest.raises(error) if broken else contextlib.nullcontext():
        learn(make())
    learn(make())


def test_missing_operator(without, monkeypatch):
    monkeypatch.setitem(sys.modules, "ms_deform_attn", None)  # cannot be imported
    with without("missing operator of MSDeformAttn"), pytest.raises(SystemExit):
        learn(vit_adapter())
    with pytest.raises(InputError, match="install ms_deform_attn"):
        learn(vit_adapter())


def averages(value, shapes, starts, locations, weights, step):
    """A stand-in for PaddleSeg's compiled operator, with its shapes: (B, N, heads, C), ... -> (B, M, heads * C)."""
    return value.mean(1, keepdim=True).flatten(2).tile([1, locations.shape[1], 1])


def learn(model):
    """A forward and a backward pass of two images."""
    model.train()
    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, SIZE, SIZE), "float32"))
    logits = flat(model(x))
    assert logits[0].shape[:2] == [2, 3]
    sum(output.mean() for output in logits).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def flat(outputs):
    """The tensors of outputs, which PaddleSeg nests in lists and tuples."""
    if isinstance(outputs, paddle.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in flat(output)]
