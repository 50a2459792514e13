"""Evaluation of networks for poses, in place of PaddleSeg's ``evaluate``."""

import importlib.util
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import paddle
from paddleseg.utils import logger
from rtseg_inference.pose import Region, average_flipped, decode, region_of, to_image
from rtseg_inference.progress import Line

from ..data.keypoints import CocoKeypoints, coco_truth
from ..pose.metrics import average_precision, oks_nms, pck, pose_scores
from . import pose_report
from .loading import CheckedLoader

THRESHOLDS = (0.2, 0.1, 0.05)
BATCH = 16


class Found(NamedTuple):
    """The keypoints of all persons of a dataset."""

    keypoints: np.ndarray  #: (N, K, 2) in each person's image
    scores: np.ndarray  #: (N, K)


class Scores(NamedTuple):
    """How good they are."""

    means: Dict[float, float]  #: PCK by threshold
    each: Dict[float, np.ndarray]  #: (K,) of each keypoint; NaN where it is never visible
    average_precision: Dict[str, float]  #: COCO's figures; empty where they cannot be computed

    def __str__(self) -> str:
        shown = {f"PCK@{threshold:g}": mean for threshold, mean in self.means.items()}
        precision = {name: value for name, value in self.average_precision.items() if name == "AP"}
        return " ".join(f"{name}: {value:.4f}" for name, value in {**shown, **precision}.items())


def evaluate(
    model: paddle.nn.Layer, dataset: CocoKeypoints, num_workers: int = 0, **settings: Any
) -> Tuple[float, float, np.ndarray, np.ndarray, np.ndarray]:
    """Score a network on labelled boxes, and print the PCK of each keypoint.

    Each of several processes finds the keypoints of a part of the persons, and scores all. In training, the files of
    :mod:`.pose_report` are written too.

    Args:
        model: (B, 3, H, W) -> [(B, K, H / 4, W / 4)].
        dataset: of mode "val".
        num_workers: processes that load data.
        settings: of PaddleSeg's ``evaluate``; those for segmentation have no meaning here.

    Returns:
        In the places of PaddleSeg's mean IoU, accuracy and class IoU: PCK@.1, PCK@.05 and the PCK@.1 of each keypoint;
        then the (N, K, 2) keypoints in their images and their (N, K) scores.
    """
    plain, flipped = predict(model, dataset, num_workers)
    found = plain if flipped is None else flipped
    reason = _no_average_precision(dataset)
    scores = score(found, dataset, with_precision=not reason)
    logger.info(f"[EVAL] #Persons: {len(dataset)} {scores}" + (f"; no AP: {reason}" if reason else ""))
    if flipped is not None:
        logger.info(f"[EVAL] Without the flip test: {score(plain, dataset, with_precision=not reason)}")
    if not reason:
        logger.info("[EVAL] " + ", ".join(f"{name}: {value:.4f}" for name, value in scores.average_precision.items()))
    logger.info("[EVAL] in percent:\n" + _table(dataset, scores.each))
    display = getattr(dataset, "display", None)
    if display is not None and display.folder is not None and paddle.distributed.get_rank() == 0:
        pose_report.write(display, dataset, found.keypoints, scores.means, scores.each[0.1], scores.average_precision)
    return scores.means[0.1], scores.means[0.05], scores.each[0.1], found.keypoints, found.scores


def predict(model: paddle.nn.Layer, dataset: CocoKeypoints, num_workers: int = 0) -> Tuple[Found, Optional[Found]]:
    """The keypoints of each person from its crop, and from the mean with the mirror image if there is a flip test."""
    model.eval()
    rank, processes = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
    # As many for each process, so that they can be gathered: the first persons occur twice.
    part = [i % len(dataset) for i in range(rank, -(-len(dataset) // processes) * processes, processes)]
    batches: List[np.ndarray] = []  # (B, 1 or 2, K, 3): x, y and score
    line = Line(len(part), "evaluation")
    with paddle.no_grad():
        loader = CheckedLoader(paddle.io.Subset(dataset, part), batch_size=BATCH, num_workers=num_workers)
        for batch in loader:
            variants = [model(batch["img"])[0].numpy()]
            if dataset.flip_test:
                mirrored = model(batch["img"].flip(axis=3))[0].numpy()
                variants.append(average_flipped(variants[0], mirrored, dataset.skeleton.flip_indices))
            regions = [Region(region[:2], region[2:]) for region in batch["region"].numpy()]
            batches.append(np.stack([_decoded(maps, regions, dataset) for maps in variants], axis=1))
            line.step(len(batches[-1]))
    line.clear()
    everyone = _gathered(np.concatenate(batches), processes)[: len(dataset)]
    found = [Found(poses[..., :2], poses[..., 2]) for poses in everyone.swapaxes(0, 1)]
    return found[0], found[1] if dataset.flip_test else None


def score(found: Found, dataset: CocoKeypoints, with_precision: bool = True) -> Scores:
    """Compare keypoints with the labels of a dataset.

    Args:
        with_precision: also compute COCO's average precision, which needs pycocotools and the skeleton's sigmas.
    """
    truth = np.stack([person.keypoints for person in dataset.persons])
    visible = np.stack([person.visible for person in dataset.persons])
    boxes = np.stack([person.box for person in dataset.persons])
    shares = {threshold: pck(found.keypoints, truth, visible, boxes, threshold) for threshold in THRESHOLDS}
    return Scores(
        {threshold: mean for threshold, (_, mean) in shares.items()},
        {threshold: each for threshold, (each, _) in shares.items()},
        _average_precision(found, dataset) if with_precision else {},
    )


def _decoded(heatmaps: np.ndarray, regions: Sequence[Region], dataset: CocoKeypoints) -> np.ndarray:
    """(B, K, h, w) heatmaps -> (B, K, 3): x and y in the persons' images, and scores."""
    poses = []
    for maps, region in zip(heatmaps, regions):
        cells, values = decode(maps)
        poses.append(np.column_stack([to_image(cells, region, dataset.input_size), values]))
    return np.stack(poses)


def _gathered(part: np.ndarray, processes: int) -> np.ndarray:
    """The persons of all processes, which took one after the other in turn."""
    if processes == 1:
        return part
    parts: List[paddle.Tensor] = []
    paddle.distributed.all_gather(parts, paddle.to_tensor(part))
    stacked = np.stack([tensor.numpy() for tensor in parts], axis=1)  # (N / processes, processes, ...)
    return stacked.reshape(-1, *part.shape[1:])


def _no_average_precision(dataset: CocoKeypoints) -> str:
    """Why COCO's average precision is not computed; empty if it is."""
    if dataset.skeleton.sigmas is None:
        return "the skeleton has no sigmas"
    if importlib.util.find_spec("pycocotools") is None:
        return 'it needs pycocotools, pip install "paddle_rtseg[coco]"'
    return ""


def _average_precision(found: Found, dataset: CocoKeypoints) -> Dict[str, float]:
    """COCO's figures, with the steps of the published evaluation: similar poses in an image count once."""
    truth, numbers = coco_truth(dataset.file)
    scores = pose_scores(np.ones(len(found.scores)), found.scores)
    areas = np.array([np.prod(region_of(person.box, dataset.input_size).scale) for person in dataset.persons])
    sigmas = np.array(dataset.skeleton.sigmas)
    of_image: Dict[int, List[int]] = {}
    for i, person in enumerate(dataset.persons):
        of_image.setdefault(numbers[person.image_id], []).append(i)
    results = []
    for image, those in of_image.items():
        for k in oks_nms(found.keypoints[those], scores[those], areas[those], sigmas):
            i = those[k]
            left, top, right, bottom = map(float, dataset.persons[i].box)
            keypoints = np.column_stack([found.keypoints[i], found.scores[i]]).ravel().tolist()
            bbox = [left, top, right - left, bottom - top]
            results.append(
                {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": float(scores[i]), "bbox": bbox}
            )
    return average_precision(truth, results, dataset.skeleton.sigmas)


def _table(dataset: CocoKeypoints, shares: Dict[float, np.ndarray]) -> str:
    """A line for each keypoint: its PCK in percent, and the number of persons in whom it is visible."""
    names = dataset.skeleton.names
    width = max(8, *map(len, names))
    visible = sum((person.visible > 0).astype(int) for person in dataset.persons)
    lines = [f"{'keypoint':{width}}" + "".join(f"{f'PCK@{t:g}':>10}" for t in shares) + f"{'persons':>10}"]
    for k, name in enumerate(names):
        columns = "".join(f"{100 * each[k]:10.2f}" for each in shares.values())
        lines.append(f"{name:{width}}{columns}{visible[k]:10}")
    return "\n".join(lines)
