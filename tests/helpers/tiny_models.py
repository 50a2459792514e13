"""A small instance of every registered network, and images for it."""

import glob
import os
from typing import Any, Dict, List, NamedTuple

import numpy as np
import paddle

import paddle_rtseg
from paddle_rtseg.config import load_config

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TINY_RTFORMER = {"base_channels": 8, "head_channels": 8, "spp_channels": 8, "cross_size": 3}
#: Keyword arguments of the backbones' classes, without a variant's name.
TINY_MIT = {"embed_dims": [8, 16, 40, 64], "depths": [1, 1, 2, 1]}
TINY_LRFORMER = {"dims": [8, 16, 40, 64], "depths": [1, 1, 2, 1]}


#: Networks for poses, which have keypoints instead of classes, and tests of their own.
POSE = {"SegFormerPPPose"}


class Case(NamedTuple):
    """A registered network and the keyword arguments of an instance of it."""

    name: str  #: as the tests' ids show it
    model: str
    arguments: Dict[str, Any]


def _segformer_pp(name: str, token_merging: Any) -> Case:
    backbone = {"type": "MiT_B0", **TINY_MIT, "token_merging": token_merging}
    return Case(name, "SegFormerPP", {"backbone": backbone, "head_channels": 16})


def _cases() -> List[Case]:
    queries = {"q_mode": "bsm", "q_ratio": 0.6, "q_cell": 2}
    keys_too = {**queries, "kv_mode": "bsm", "kv_ratio": 0.6, "kv_cell": 2, "proportional": True}
    lrformer = {"type": "LRFormer_T", **TINY_LRFORMER, "layer_scale": 1.0}
    base = {**TINY_RTFORMER, "layer_nums": [1, 2, 3, 2], "use_injection": [True, False]}
    tiny = [
        Case("RTFormer_Slim", "RTFormer_Slim", TINY_RTFORMER),
        Case("RTFormer_Base", "RTFormer_Base", base),
        _segformer_pp("SegFormerPP", None),
        _segformer_pp("SegFormerPP 2x2", "2x2"),
        _segformer_pp("SegFormerPP matching", [{}, {}, {**queries, "match_every": 2}, keys_too]),
        Case("LRFormerSeg", "LRFormerSeg", {"backbone": lrformer, "head_channels": 32}),
    ]
    known = {case.model for case in tiny} | POSE
    return tiny + [Case(name, name, _arguments(name)) for name in paddle_rtseg.list_models() if name not in known]


def _arguments(model: str) -> Dict[str, Any]:
    """The keyword arguments of a network that has no tiny instance here: those in its first config."""
    for path in sorted(glob.glob(os.path.join(ROOT, "configs", "*", "*.yml"))):
        arguments = dict(load_config(path).model_cfg) if "_base_" not in path else {}
        if arguments.pop("type", None) == model:
            return {key: value for key, value in arguments.items() if key not in ("num_classes", "pretrained")}
    raise LookupError(f"{model} has neither a tiny instance here nor a config")


#: Every registered network: a tiny instance where one is given above, otherwise the network of its first config.
CASES = _cases()
#: The same, and the published token mergings, which need images of at least 128 x 128 pixels.
LARGE_CASES = [*CASES, *(_segformer_pp(f"SegFormerPP {mode}", mode) for mode in ("hq", "fast"))]


def create(case: Case, num_classes: int = 5, seed: int = 0) -> paddle.nn.Layer:
    """The case's network with random weights and plausible running statistics."""
    paddle.seed(seed)
    model = paddle_rtseg.create_model(case.model, num_classes=num_classes, **case.arguments)
    rng = np.random.default_rng(seed)
    for name, value in model.state_dict().items():
        if name.endswith("_variance"):
            value.set_value(rng.uniform(0.5, 2, value.shape).astype("float32"))
    return model


def images(batch: int, height: int, width: int) -> paddle.Tensor:
    """Standard normal images (batch, 3, height, width)."""
    return paddle.to_tensor(np.random.default_rng(0).standard_normal((batch, 3, height, width), "float32"))


def predict(model: paddle.nn.Layer, x: paddle.Tensor) -> np.ndarray:
    """The logits of ``x`` in evaluation."""
    model.eval()
    with paddle.no_grad():
        return model(x)[0].numpy()
