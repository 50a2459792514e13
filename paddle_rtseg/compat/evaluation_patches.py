"""The patches of PaddleSeg that let a training be watched: what its loops do not show, or call by a wrong name."""

from ..training import evaluation, hooks, scalar_logs, stopping
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
                'logger.info("[EVAL] in percent:\\n" + watch.finish(miou, acc, scores, *metrics_input))',
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
    Patch(
        name="names of the scores",
        defect="train() calls the score that chooses the best model mIoU, also where it is the PCK of keypoints",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.train:train",
        changes=[
            ("best validation mIoU ({:.4f}) was saved", "best validation {} ({:.4f}) was saved"),
            (".format(best_mean_iou,", ".format(score_names(val_dataset)[0], best_mean_iou,"),
            (".format(best_ema_mean_iou,", ".format(score_names(val_dataset)[0], best_ema_mean_iou,"),
            ("'Evaluate/mIoU'", "'Evaluate/' + score_names(val_dataset)[0]"),
            ("'Evaluate/Acc'", "'Evaluate/' + score_names(val_dataset)[1]"),
            ("'Evaluate/Ema_mIoU'", "'Evaluate/Ema_' + score_names(val_dataset)[0]"),
            ("'Evaluate/Ema_Acc'", "'Evaluate/Ema_' + score_names(val_dataset)[1]"),
        ],
        names={"score_names": hooks.score_names},
        seen="2026-11-27",
    ),
    Patch(
        name="logs of TensorBoard",
        defect="train() writes its scalars for VisualDL only",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.train:train",
        changes=[
            (
                "from visualdl import LogWriter\n        log_writer = LogWriter(save_dir)",
                "log_writer = open_logs(save_dir, train_dataset)",
            )
        ],
        names={"open_logs": scalar_logs.open_logs},
        seen="2026-11-27",
    ),
    Patch(
        name="early stop",
        defect="train() goes on when its scores no longer improve; since 2.9.1 it can stop, but forgets the best score "
        "when it is resumed",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.train:train",
        changes=[
            (
                "                model.train()\n",
                "                model.train()\n"
                "                iters = last_iteration(\n"
                "                    val_dataset, iter, iters, mean_iou, *([ema_mean_iou] if use_ema else []))\n",
            )
        ],
        names={"last_iteration": stopping.last_iteration},
        seen="2026-11-27",
    ),
)
