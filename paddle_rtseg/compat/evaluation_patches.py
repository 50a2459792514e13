"""The patches of PaddleSeg that let a training be watched: not defects, but what its loops do not show."""

from ..training import evaluation
from .patch import Patch

EVALUATION_PATCHES = (
    Patch(
        name="table of the classes",
        defect="evaluate() prints arrays of numbers without the names of the classes, and keeps nothing",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.val:evaluate",
        changes=[
            ("    model.eval()\n", "    model.eval()\n    watch = Watch(eval_dataset)\n"),
            (
                "            intersect_area, pred_area, label_area = metrics.calculate_area(",
                "            watch.add(pred, label)\n"
                "            intersect_area, pred_area, label_area = metrics.calculate_area(",
            ),
            (
                'logger.info("[EVAL] Class IoU: \\n" + str(np.round(class_iou, 4)))',
                'scores = {"IoU": class_iou, "precision": class_precision, "recall": class_recall}',
            ),
            (
                'logger.info("[EVAL] Class Precision: \\n" + str(\n            np.round(class_precision, 4)))',
                'logger.info("[EVAL] in percent:\\n" + watch.finish(miou, acc, scores, label_area_all))',
            ),
            ('logger.info("[EVAL] Class Recall: \\n" + str(np.round(class_recall, 4)))', "del watch"),
        ],
        names={"Watch": evaluation.Watch},
        seen="2026-11-27",
    ),
    Patch(
        name="one line while evaluating",
        defect="evaluate() fills a log file with a line for each image, and shows no images per second",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.val:evaluate",
        changes=[("progbar.Progbar(", "ProgressBar(")],
        names={"ProgressBar": evaluation.ProgressBar},
        seen="2026-11-27",
    ),
    Patch(
        name="curve of the loss",
        defect="train() keeps its losses only for VisualDL",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.train:train",
        changes=[
            (
                "                if use_vdl:\n                    log_writer.add_scalar('Train/loss'",
                "                record_loss(iter, avg_loss)\n"
                "                if use_vdl:\n                    log_writer.add_scalar('Train/loss'",
            )
        ],
        names={"record_loss": evaluation.record_loss},
        seen="2026-11-27",
    ),
)
