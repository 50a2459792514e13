"""The predictor for poses: an image and the boxes of its persons in, their keypoints out."""

import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Union, cast

import cv2
import numpy as np

from .contract import POSE, Contract
from .errors import InputError, quote
from .files import Array, write_image
from .images import read_image
from .loaded_model import LoadedModel, Path, Timings, Verification, shape_text
from .pose import STRIDE, Region, average_flipped, crop, decode, matrix, region_of, to_image
from .pose_contract import Pose
from .pose_drawing import draw
from .predictor import Image, as_pixels

COUNTED = 0.2  #: keypoints with a higher score count for a person's score
SHOWN = 0.3  #: keypoints with a higher score are drawn
PERSONS = 8  #: in a batch, unless told otherwise
DIGITS, SCORE_DIGITS = 3, 5  #: after the point in results

#: (B, H, W, 3) uint8 BGR crops -> (B, K, H / 4, W / 4) heatmaps of the network.
Run = Callable[[Sequence[Array]], Array]


@dataclass(frozen=True)
class Person:
    """The keypoints of one person."""

    box: Array  #: (4,) left, top, right, bottom as they were given, in pixels
    keypoints: Array  #: (K, 2) x and y in pixels of the image; of one that was not found, of no meaning
    scores: Array  #: (K,) of each keypoint: the maximum of its heatmap; not found at 0 or below
    box_score: float = 1.0  #: of the box

    @property
    def score(self) -> float:
        """The box's score times the mean of the keypoints' scores above 0.2, by which persons are ranked in COCO."""
        counted = self.scores[self.scores > COUNTED]
        return self.box_score * (float(counted.mean(dtype=np.float64)) if counted.size else 0.0)

    def coco(self, image_id: int, category_id: int = 1, file_name: Optional[str] = None) -> Dict[str, Any]:
        """The person in the form of COCO's results."""
        left, top, right, bottom = map(float, self.box)
        values = [
            round(float(number), digits)
            for (x, y), score in zip(self.keypoints, self.scores)
            for number, digits in ((x, DIGITS), (y, DIGITS), (score, SCORE_DIGITS))
        ]
        return {
            "image_id": image_id,
            **({} if file_name is None else {"file_name": file_name}),
            "category_id": category_id,
            "keypoints": values,
            "score": round(self.score, SCORE_DIGITS),
            "bbox": [round(number, DIGITS) for number in (left, top, right - left, bottom - top)],
        }


@dataclass(frozen=True)
class PoseResult:
    """The persons of one image."""

    persons: List[Person]  #: in the order of the boxes
    image: Array = field(repr=False)  #: (H, W, 3) uint8 BGR
    timings: Timings
    contract: Contract = field(repr=False)
    threshold: float = SHOWN  #: keypoints with a higher score are drawn

    def overlay(self) -> Array:
        """(H, W, 3) uint8 BGR: the image with the skeletons."""
        persons = [(person.keypoints, person.scores) for person in self.persons]
        return draw(self.image, persons, _pose_of(self.contract).links, self.threshold)

    def save(self, path: Path) -> None:
        """Write the overlay as an image.

        Raises:
            InputError: OpenCV does not know the suffix, or the file cannot be written.
        """
        write_image(str(path), self.overlay())

    def _repr_png_(self) -> bytes:
        """The overlay as a PNG, by which notebooks show a result."""
        return bytes(cv2.imencode(".png", self.overlay())[1].tobytes())

    def coco(self, image_id: int, category_id: int = 1, file_name: Optional[str] = None) -> List[Dict[str, Any]]:
        """The persons in the form of COCO's results."""
        return [person.coco(image_id, category_id, file_name) for person in self.persons]


class PosePredictor(LoadedModel):
    """A model for poses, ready to run; :class:`.LoadedModel` has the arguments."""

    TASK = POSE

    def predict(
        self,
        images: Union[Image, Sequence[Image]],
        boxes: Optional[Sequence[Any]] = None,
        batch_size: int = PERSONS,
    ) -> Union[PoseResult, List[PoseResult]]:
        """Find the keypoints of the persons in an image, or in each of a list of images.

        Args:
            images: a path or an (H, W, 3) uint8 BGR array, or a list or tuple of these.
            boxes: (N, 4) left, top, right and bottom of each person in pixels, or (N, 5) with the scores of the boxes;
                for a list of images a list of these. Without boxes, each image is taken for one person.
            batch_size: persons that the network takes at once, from any of the images.

        Returns:
            A :class:`PoseResult`, or a list of them. An image without a box has no persons.

        Raises:
            InputError: an image is of another kind or cannot be read, or a box has no area inside its image.
        """
        several = isinstance(images, (list, tuple))
        batch = [as_pixels(i) for i in (cast(Sequence[Image], images) if several else [cast(Image, images)])]
        given: Sequence[Any] = [None] * len(batch)
        if boxes is not None:
            given = boxes if several else [boxes]
        if len(given) != len(batch):
            raise InputError(f"expected boxes for {len(batch)} images, got {len(given)}; give a list for each image")
        found = self._predict(batch, [checked_boxes(b, image) for b, image in zip(given, batch)], batch_size)
        return found if several else found[0]

    def _predict(self, images: Sequence[Array], boxes: Sequence[Array], batch_size: int) -> List[PoseResult]:
        pose, start = _pose_of(self.contract), time.perf_counter()
        most = self.preprocess.shape.max[0]
        size = max(1, batch_size if most < 0 else min(batch_size, most))
        everyone = [(index, box) for index, those in enumerate(boxes) for box in those]
        persons: List[List[Person]] = [[] for _ in images]
        self._spent = {"pre": 0.0, "run": 0.0}
        for first in range(0, len(everyone), size):
            part = everyone[first : first + size]
            cutting = time.perf_counter()
            crops = [cut_out(images[i], box, pose) for i, box in part]
            self._spent["pre"] += 1e3 * (time.perf_counter() - cutting)
            found = estimate(crops, self._run, pose)
            for (index, _), person in zip(part, found):
                persons[index].append(person)
        total = 1e3 * (time.perf_counter() - start)
        timings = Timings(self._spent["pre"], self._spent["run"], total - sum(self._spent.values()))
        return [PoseResult(those, image, timings, self.contract) for those, image in zip(persons, images)]

    def _run(self, crops: Sequence[Array]) -> Array:
        outputs, pre, run = self.run(crops)
        self._spent["pre"] += pre
        self._spent["run"] += run
        return outputs[: len(crops)]

    def verify(self) -> Verification:
        """Find the golden person and compare it with what the network gave before its export."""
        golden, pose = self.contract.golden, _pose_of(self.contract)
        tolerance = golden.tolerance_of(self.configuration.precision)
        assert golden.person is not None and tolerance.pixels is not None
        image = read_image(self.contract.path(golden.image))
        box = checked_boxes([golden.person.box], image)
        (person,) = self._predict([image], [box], 1)[0].persons
        (output,) = self._run([cut_out(image, box[0], pose).pixels])
        error = self.rms_error(output)
        expected = np.array(golden.person.keypoints)
        lost, unknown = person.scores <= 0, expected[:, 2] <= 0
        near = np.linalg.norm(person.keypoints - expected[:, :2], axis=1) <= tolerance.pixels
        agreement = float(np.where(lost | unknown, lost & unknown, near).mean())
        passed = agreement >= tolerance.agreement and error is not None and error <= tolerance.rms_error
        return Verification(error, agreement, passed, "keypoints")


class Crop(NamedTuple):
    """A person as the network sees it."""

    pixels: Array  #: (H, W, 3) uint8 BGR at the size of the network's input
    region: Region  #: of the image
    box: Array  #: (5,) left, top, right, bottom and score


def cut_out(image: Array, box: Array, pose: Pose) -> Crop:
    """The person in a (5,) box of an image."""
    region = region_of(clipped(box[:4], image).tolist(), pose.input_size, pose.padding)
    return Crop(crop(image, matrix(region, pose.input_size), pose.input_size), region, box)


def estimate(crops: Sequence[Crop], run: Run, pose: Pose) -> List[Person]:
    """The keypoints of persons, as one batch of the network.

    Raises:
        InputError: the network's output is not what the contract states.
    """
    heatmaps = _checked(run([crop.pixels for crop in crops]), len(crops), pose)
    if pose.flip_test:
        mirrored = [np.ascontiguousarray(crop.pixels[:, ::-1]) for crop in crops]
        heatmaps = average_flipped(heatmaps, _checked(run(mirrored), len(crops), pose), pose.flip_indices, pose.shift)
    found = []
    for maps, (_, region, box) in zip(heatmaps, crops):
        keypoints, scores = decode(maps, pose.decode)
        found.append(Person(box[:4], to_image(keypoints, region, pose.input_size), scores, float(box[4])))
    return found


def checked_boxes(boxes: Any, image: Array) -> Array:
    """(N, 5) left, top, right, bottom and score of the boxes in an image; the whole image if they are None.

    Raises:
        InputError: they are of another kind, or one has no area inside the image.
    """
    height, width = image.shape[:2]
    if boxes is None:
        return np.array([[0.0, 0.0, width, height, 1.0]])
    if len(boxes) == 0:
        return np.empty((0, 5))
    try:
        values = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 2 or values.shape[1] not in (4, 5):
        raise InputError(
            f"expected boxes of left, top, right, bottom and perhaps a score, got {quote(repr(boxes))}; correct them"
        )
    for box in values[:, :4]:
        left, top, right, bottom = clipped(box, image)
        if not (np.isfinite(box).all() and right > left and bottom > top):
            raise InputError(
                f"expected a box with an area inside the image of {width} x {height} pixels, got "
                f"{', '.join(f'{n:g}' for n in box)} (left, top, right, bottom); correct it"
            )
    if not np.isfinite(values).all():
        raise InputError("expected scores of boxes that are numbers, got others; correct them")
    return values if values.shape[1] == 5 else np.column_stack([values, np.ones(len(values))])


def clipped(box: Array, image: Array) -> Array:
    """A box cut off at the first and last pixels of its image."""
    height, width = image.shape[:2]
    return np.clip(box, 0, [width - 1, height - 1, width - 1, height - 1])


def _checked(heatmaps: Array, count: int, pose: Pose) -> Array:
    """The network's output, if it is what the contract states."""
    width, height = pose.input_size
    expected = (count, len(pose.keypoints), height // STRIDE, width // STRIDE)
    if heatmaps.shape != expected:
        raise InputError(
            f"expected heatmaps of {'x'.join(map(str, expected))} of the network, got {shape_text(heatmaps)}; export "
            "the model again"
        )
    if not np.isfinite(heatmaps).all():
        raise InputError("expected finite heatmaps of the network, got others; choose another --precision")
    return heatmaps


def _pose_of(contract: Contract) -> Pose:
    assert contract.pose is not None  # LoadedModel sees to it
    return contract.pose
