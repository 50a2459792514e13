"""The patches of PaddleSeg that concern datasets, how their files are read, and scores."""

from ..data import scores
from .patch import Patch

DATA_PATCHES = (
    Patch(
        name="definition of mean IoU",
        defect="evaluate() does not say that its mean IoU counts classes that occur nowhere",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.val:evaluate",
        changes=[
            (
                "logger.info(infor)\n",
                "logger.info(infor)\n        logger.info('[EVAL] ' + evaluation_in_words(class_iou, *metrics_input))\n",
            )
        ],
        names={"evaluation_in_words": scores.evaluation_in_words},
        seen="2026-11-27",
    ),
)
