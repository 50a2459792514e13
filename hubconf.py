"""Networks for ``paddle.hub.load(FOLDER_OR_REPOSITORY, NAME, ...)``, in evaluation mode and with their weights.

``weights`` is a file of weights, such as ``python -m paddle_rtseg.convert`` writes from a published checkpoint, or the
name of bundled weights; None leaves random ones.
"""

import os
import sys

dependencies = ["paddle", "paddleseg", "numpy", "cv2", "yaml", "safetensors"]

_HERE = os.path.dirname(os.path.abspath(__file__))
for _folder in (os.path.join(_HERE, "deploy", "python"), _HERE):  # where this package is not installed
    if _folder not in sys.path:
        sys.path.append(_folder)


def segformer_plusplus(backbone="b0", token_merging=None, num_classes=19, weights=None, **arguments):
    """SegFormer++ (Kienzle et al., arXiv 2405.14467).

    Args:
        backbone: "b0" to "b5".
        token_merging: None, "hq", "fast" or "2x2", or what else ``MiT`` takes, such as a schedule with options.
        num_classes: of the weights, or of the network to train.
        weights: see above.
        arguments: further ones of ``SegFormerPP``.

    ``backbone="b0", num_classes=11, weights="segformerpp_b0_camvid"`` has the bundled weights for street scenes.

    Returns:
        The ``paddle.nn.Layer``: (B, 3, H, W) normalised RGB -> [(B, num_classes, H, W) logits].

    Raises:
        InputError: there is no such variant, or the weights do not fit.
    """
    part = {"type": f"MiT_{str(backbone).upper()}", "token_merging": token_merging}
    return _create("SegFormerPP", weights, num_classes=num_classes, backbone=part, **arguments)


def rtformer(variant="slim", num_classes=19, weights=None, **arguments):
    """RTFormer (Wang et al., arXiv 2210.07124), "slim" or "base"; otherwise as :func:`segformer_plusplus`.

    ``variant="slim", num_classes=11, weights="rtformer_slim_camvid"`` has the bundled weights for street scenes.
    """
    return _create(f"RTFormer_{str(variant).capitalize()}", weights, num_classes=num_classes, **arguments)


def lrformer(variant="t", num_classes=19, weights=None, **arguments):
    """LRFormer (Wu et al., arXiv 2310.05026), "t", "s", "b" or "l"; otherwise as :func:`segformer_plusplus`.

    ``variant="t", num_classes=11, weights="lrformer_t_camvid"`` has the bundled weights for street scenes.
    """
    part = {"type": f"LRFormer_{str(variant).upper()}"}
    return _create("LRFormerSeg", weights, num_classes=num_classes, backbone=part, **arguments)


def _create(name, weights, **arguments):
    import paddle_rtseg

    bundled = weights if isinstance(weights, str) and weights in paddle_rtseg.weights.released.SHA256 else None
    model = paddle_rtseg.create_model(name, pretrained=bundled, **arguments)  # with all that they were trained with
    if weights is not None:
        paddle_rtseg.load_weights(model, weights)
    model.eval()
    return model
