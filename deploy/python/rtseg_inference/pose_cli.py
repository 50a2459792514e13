"""The command line for poses: persons of images, folders and videos, as COCO's results and as pictures."""

import argparse
import dataclasses
import json
import os
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union, cast

import cv2

from . import program
from .errors import InputError, first_line, quote
from .files import Array, atomic_path
from .loaded_model import Timings
from .media import Frame, ImageFiles, Source, Writer
from .pose_boxes import ImageBoxes, match, read_boxes, whole_images
from .pose_predictor import PosePredictor, PoseResult, checked_boxes
from .progress import Progress

RESULTS = "keypoints.json"


class Plan:
    """Which boxes each image has, by its place in the input.

    Raises:
        InputError: the file of boxes cannot be used for this input.
    """

    def __init__(self, args: argparse.Namespace, source: Source):
        self.names: Optional[List[str]] = source.files if isinstance(source, ImageFiles) else None
        self.images: List[ImageBoxes] = []
        if args.boxes is not None:
            if self.names is None:
                raise InputError(f"expected images with --boxes, got the video {args.input!r}; leave --boxes out")
            self.images, line = match(read_boxes(args.boxes), self.names, args.box_score, args.category)
            print(line)
        elif self.names is not None:
            self.images = whole_images(self.names)

    def of(self, place: int, frame: Frame) -> Tuple[ImageBoxes, str]:
        """The boxes of a frame, and its file name in the results."""
        if self.names is None:
            return ImageBoxes(place, None), frame.name
        return self.images[place], self.names[place]


class Job:
    """An image with its boxes, or the reason why there is no result."""

    def __init__(self, frame: Frame, plan: Plan, place: int):
        self.name, self.image, self.error = frame.name, frame.image, frame.error
        self.about, self.file_name = plan.of(place, frame)
        if self.image is not None:
            try:
                self.boxes = self._boxes(self.image)
            except InputError as e:
                self.error = str(e)

    def _boxes(self, image: Array) -> Array:
        found, stated = (image.shape[1], image.shape[0]), self.about.size
        if stated is not None and stated != found:
            raise InputError(
                f"expected the {stated[0]} x {stated[1]} pixels that --boxes states, got {found[0]} x {found[1]}; "
                "correct the file, or remove the image's orientation"
            )
        return checked_boxes(self.about.boxes, image)


def estimate(
    predictor: PosePredictor,
    frames: Iterator[Frame],
    writer: Writer,
    plan: Plan,
    args: argparse.Namespace,
    progress: Progress,
    not_taken: str = "",
) -> Tuple[int, List[Tuple[Timings, int]]]:
    """Find the persons of all frames and write the results; frames that fail are reported and skipped.

    Returns:
        The exit status, and the times that batches of images took.
    """
    timings: List[Tuple[Timings, int]] = []
    results: List[Dict[str, Any]] = []
    interrupted = False
    try:
        jobs = (Job(frame, plan, place) for place, frame in enumerate(frames))
        for group in batches(jobs, args.batch_size):
            for job, outcome in predict(predictor, group, args.batch_size):
                if isinstance(outcome, str):
                    progress.skipped(job.name, outcome)
                else:
                    results += outcome.coco(job.about.image_id, job.about.category, job.file_name)
                    writer.write(job.name, dataclasses.replace(outcome, threshold=args.keypoint_score))
                    timings.append((outcome.timings, len(group)))
                    progress.wrote()
    except KeyboardInterrupt:  # what has been found is still written
        program.stopping()
        progress.say("stopped")
        interrupted = True
    write_results(results, writer.folder)
    status = progress.close(writer.folder, not_taken)
    return program.INTERRUPTED if interrupted else status, timings


def batches(jobs: Iterator[Job], size: int) -> Iterator[List[Job]]:
    """Lists of images that together have ``size`` persons or a few more; an image that failed comes alone."""
    group: List[Job] = []
    persons = 0
    for job in jobs:
        if group and (job.error is not None or persons >= size or len(group) >= size):
            yield group
            group, persons = [], 0
        if job.error is not None:
            yield [job]
        else:
            group.append(job)
            persons += len(job.boxes)
    if group:
        yield group


def predict(
    predictor: PosePredictor, group: Sequence[Job], batch_size: int
) -> List[Tuple[Job, Union[PoseResult, str]]]:
    """Each image with its persons, or with the reason why there are none."""
    if group[0].error is not None:
        return [(group[0], group[0].error)]
    images = [cast(Array, job.image) for job in group]
    try:
        found = predictor.predict(images, [job.boxes for job in group], batch_size)
        return list(zip(group, cast(List[PoseResult], found)))
    except (InputError, cv2.error, MemoryError) as e:
        fix = "shrink it, or lower --batch_size"
        reason = str(e) if isinstance(e, InputError) else f"its persons cannot be found ({quote(first_line(e))}); {fix}"
        return [(job, reason) for job in group]


def write_results(results: List[Dict[str, Any]], folder: str) -> None:
    """Write COCO's results, also where nobody was found.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(os.path.join(folder, RESULTS)) as path, open(path, "w", encoding="utf-8") as f:
        json.dump(results, f, ensure_ascii=False)
