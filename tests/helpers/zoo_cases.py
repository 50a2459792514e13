"""A small instance of each registered model, for the tests that every model must pass."""

from typing import Any, Dict, NamedTuple


class Case(NamedTuple):
    """A registered model and keyword arguments that make it small."""

    model: str
    arguments: Dict[str, Any]


TINY_RTFORMER = {"base_channels": 8, "head_channels": 8, "spp_channels": 8, "cross_size": 3}
TINY_MIT = {"type": "MiT_B0", "embed_dims": [8, 16, 40, 64], "depths": [1, 1, 2, 1]}
BSM = {"q_mode": "bsm", "q_ratio": 0.6, "q_cell": 2}
TINY_LRFORMER = {"type": "LRFormer_T", "dims": [8, 16, 40, 64], "depths": [1, 1, 2, 1], "layer_scale": 1.0}

CASES = [
    Case("RTFormer_Slim", TINY_RTFORMER),
    Case("RTFormer_Base", {**TINY_RTFORMER, "layer_nums": [1, 2, 3, 2], "use_injection": [True, False]}),
    *(
        Case("SegFormerPP", {"backbone": {**TINY_MIT, "token_merging": merging}, "head_channels": 16})
        for merging in (None, "2x2", [{}, {}, BSM, BSM])
    ),
    Case("LRFormerSeg", {"backbone": TINY_LRFORMER, "head_channels": 32}),
]
