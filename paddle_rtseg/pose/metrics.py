"""How good poses are: PCK, OKS, and COCO's average precision, which pycocotools computes."""

import contextlib
import io
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from ..errors import InputError


def pck(
    predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray, boxes: np.ndarray, threshold: float
) -> Tuple[np.ndarray, float]:
    """Percentage of correct keypoints: those closer to the truth than a share of the longer side of the person's box.

    Args:
        predicted, truth: (N, K, 2) in pixels.
        visible: (N, K), above 0 where there is a truth.
        boxes: (N, 4) left, top, right, bottom, as labelled: neither padded nor in an aspect ratio.
        threshold: the share, such as 0.1.

    Returns:
        (K,) the share of correct ones for each keypoint, NaN where it is never visible, and the mean of the others.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    counts = (np.asarray(visible) > 0) & (sides.max(axis=1, initial=0) > 0)[:, None]
    longer = np.where(sides.max(axis=1, initial=0) > 0, sides.max(axis=1, initial=0), 1)
    distances = np.linalg.norm(np.asarray(predicted, np.float64) - truth, axis=2) / longer[:, None]
    total = counts.sum(axis=0)
    correct = ((distances < threshold) & counts).sum(axis=0)
    shares = np.divide(correct, total, out=np.full(len(total), np.nan), where=total > 0)
    return shares, float(np.nanmean(shares)) if total.any() else float("nan")


def oks(keypoints: np.ndarray, others: np.ndarray, area: float, areas: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Object keypoint similarity of one pose to others (cocodataset.org/#keypoints-eval), each over all its keypoints.

    Args:
        keypoints: (K, 2).
        others: (N, K, 2).
        area, areas: of the pose and of the others; their mean scales the distances.
        sigmas: (K,).

    Returns:
        (N,) from 0 to 1.
    """
    squared = ((others - keypoints) ** 2).sum(axis=2)
    scaled = squared / (2 * sigmas) ** 2 / ((area + areas)[:, None] / 2 + np.spacing(1)) / 2
    return np.asarray(np.exp(-scaled).mean(axis=1))


def oks_nms(
    keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray, sigmas: np.ndarray, threshold: float = 0.9
) -> List[int]:
    """The poses of one image that remain, best first, when those too similar to a better one are dropped.

    Args:
        keypoints: (N, K, 2).
        scores, areas: (N,).
        sigmas: (K,).
        threshold: the OKS above which two poses count as one.
    """
    order = list(np.argsort(scores)[::-1])
    kept: List[int] = []
    while order:
        best = order.pop(0)
        kept.append(int(best))
        if order:
            similar = oks(keypoints[best], keypoints[order], areas[best], areas[order], sigmas)
            order = [i for i, value in zip(order, similar) if value <= threshold]
    return kept


def pose_scores(box_scores: np.ndarray, keypoint_scores: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """(N,) the box's score times the mean of the (N, K) keypoints' scores above ``threshold``; 0 if none is."""
    counts = keypoint_scores > threshold
    sums, totals = np.where(counts, keypoint_scores, 0).sum(axis=1), counts.sum(axis=1)
    return np.asarray(box_scores * sums / np.maximum(1, totals))


def average_precision(
    truth: Dict[str, Any], results: Sequence[Dict[str, Any]], sigmas: Sequence[float]
) -> Dict[str, float]:
    """COCO's ten figures for keypoints.

    Args:
        truth: COCO keypoint annotations.
        results: COCO keypoint results: image_id, category_id, keypoints (3K numbers), score, and the person's bbox, by
            whose area pycocotools counts a result as medium or large.
        sigmas: of the K keypoints.

    Returns:
        AP, AP .5, AP .75, AP (M), AP (L), and the same for AR; -1 where nothing of that size is labelled.

    Raises:
        InputError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as e:
        raise InputError('expected pycocotools, got none; pip install "paddle_rtseg[coco]"') from e
    names = [f"{kind}{of}" for kind in ("AP", "AR") for of in ("", " .5", " .75", " (M)", " (L)")]
    if not results:
        return dict.fromkeys(names, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(list(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(names, map(float, evaluation.stats)))
