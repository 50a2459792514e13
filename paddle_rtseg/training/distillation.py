"""Training a network with the predictions of a trained one beside the labels.

Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2: with PaddleSeg's ``KLLoss``, the
divergence of the student's class probabilities at each pixel from the teacher's.
"""

from typing import Any, Dict, List, Mapping

import paddle
from paddleseg.core.train import loss_computation

from ..config import Builder, reporting
from ..errors import InputError


class Distillation:
    """The losses of a student with those against its teacher; PaddleSeg's loop calls it as ``loss_computation``.

    Args:
        teacher: (B, C, H, W) images -> list of logits, the first of which count.
        losses: PaddleSeg's "types" and "coef" for the student's and the teacher's logits.
    """

    def __init__(self, teacher: paddle.nn.Layer, losses: Mapping[str, List[Any]]):
        self.teacher, self.losses = teacher, losses
        teacher.eval()

    def __call__(
        self, outputs: List[paddle.Tensor], losses: Mapping[str, List[Any]], data: Mapping[str, paddle.Tensor]
    ) -> List[paddle.Tensor]:
        """The losses of a student's ``outputs`` for a batch, to be summed.

        Args:
            outputs: (B, C, H, W) each.
            losses: PaddleSeg's "types" and "coef" for the labels.
            data: "img", "label", and "edge" where the dataset has it.
        """
        labels, edges = data["label"].astype("int64"), data.get("edge")
        found = loss_computation(
            logits_list=outputs, labels=labels, losses=losses, edges=None if edges is None else edges.astype("int64")
        )
        with paddle.no_grad():
            soft = self.teacher(data["img"])[0]
        types, coefs = self.losses["types"], self.losses["coef"]
        return found + [coef * loss(outputs[0], soft, labels) for loss, coef in zip(types, coefs)]

    def __deepcopy__(self, memo: Dict[int, Any]) -> "Distillation":
        return self  # a copy of the student, for the average of its weights, needs no teacher of its own


def distillation(builder: Builder) -> Distillation:
    """What a config's ``teacher`` and ``distill_loss`` describe; the model is built first.

    Raises:
        InputError: they cannot be built.
    """
    config = builder.config.dic
    if hasattr(builder.model, "loss_computation"):
        raise InputError(
            f"expected a model whose losses are those of the config, got {config['model']['type']}, which computes its "
            "own; remove the teacher"
        )
    with reporting("the config's teacher does not match"):
        teacher = builder.build_component({"num_classes": config["model"]["num_classes"], **config["teacher"]})
        return Distillation(teacher, builder.distill_loss)
