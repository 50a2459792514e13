"""Jump-broadcast's CSV files as COCO's JSON.

Ludwig et al., "All Keypoints You Need: Detecting Arbitrary Keypoints on the Body of Triple, High, and Long Jump
Athletes", CVSports 2023: athletes in frames that the user cuts from broadcasts. ``keypoints/train.csv`` and ``val.csv``
begin with a line on the number of athletes. Then they name their columns, separated by semicolons: event, frame_num,
athlete, slowmotion, and x, y and s of each keypoint; s is 0 where it is not visible. Boxes are no part of the dataset;
a file of them has the columns image_id, min_x, min_y, width and height, separated by commas.
"""

import csv
import itertools
import json
import math
import os
import re
import stat
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from rtseg_inference.errors import listed
from rtseg_inference.images import read_image

from ..errors import InputError
from ..files import atomic_path
from ..pose.skeletons import SKELETONS
from ..weights.limits import quote
from .json_files import MAX_BYTES
from .keypoints import MAX_VALUE

NAMES = SKELETONS["jbd"].names
COLUMNS = ("event", "frame_num", *(f"{name}_{part}" for name in NAMES for part in "xys"))
BOX_COLUMNS = ("image_id", "min_x", "min_y", "width", "height")
MARGIN = 0.1  #: of a box around the keypoints, as a share of its longer side


class Athlete(NamedTuple):
    """A row of the keypoints."""

    event: int
    frame: int
    keypoints: np.ndarray  #: (K, 3) x, y and s

    @property
    def name(self) -> str:
        """Of the frame, as the boxes name it."""
        return f"{self.event}_({self.frame:05d})"

    @property
    def file_name(self) -> str:
        return f"{self.event}/{self.name}.jpg"

    @property
    def image_id(self) -> int:
        return int(f"{self.event}{self.frame:05d}")


class Outcome(NamedTuple):
    """What was converted."""

    file: str
    visible: np.ndarray  #: (N, K) whether each keypoint of each person is visible
    images: int
    left_out: Dict[str, List[str]]  #: frames by the reason

    def __str__(self) -> str:
        persons, counts = len(self.visible), self.visible.sum(axis=0)
        lines = [f"{persons} persons in {self.images} images, described by {self.file}"]
        lines += [f"  {name:<6} {count:6}  {count / persons:6.1%}" for name, count in zip(NAMES, counts)]
        lines += [f"left out, {reason}: {listed(names)}" for reason, names in self.left_out.items()]
        return "\n".join(lines)


def convert(keypoints: str, images: str, save: str, boxes: Optional[str] = None) -> Outcome:
    """Write the persons of a CSV file as COCO's JSON, for :class:`.keypoints.CocoKeypoints` with the skeleton jbd.

    Left out are rows without a visible keypoint, without an image, and with ``boxes``, without a box.

    Args:
        keypoints: train.csv or val.csv.
        images: folder of the frames, ``EVENT/EVENT_(FRAME).jpg`` with five digits for the frame, such as
            ``3/3_(00120).jpg``. They stay where they are.
        save: the JSON file to write.
        boxes: CSV file of boxes; without one, a box is the extent of the visible keypoints and a tenth of its longer
            side around it. PCK, which is measured in boxes, is then not the published one.

    Raises:
        InputError: a file is not as described above, or no row is left.
    """
    known = None if boxes is None else dict(_boxes(boxes))
    annotations: List[Dict[str, Any]] = []
    images_by_id: Dict[int, Dict[str, Any]] = {}
    left_out: Dict[str, List[str]] = {}
    for athlete in _athletes(keypoints):
        path = os.path.join(images, athlete.file_name)
        reason = _obstacle(athlete, path, known)
        if reason:
            left_out.setdefault(reason, []).append(athlete.name)
            continue
        if athlete.image_id not in images_by_id:
            height, width = read_image(path).shape[:2]
            image = {"id": athlete.image_id, "file_name": athlete.file_name, "width": width, "height": height}
            images_by_id[athlete.image_id] = image
        box = _around(athlete.keypoints) if known is None else known[athlete.name]
        annotations.append(_annotation(len(annotations) + 1, athlete, box))
    if not annotations:
        why = "; ".join(f"{reason}: {len(names)}" for reason, names in left_out.items()) or "no rows"
        raise InputError(f"expected athletes in {keypoints!r}, got none that can be used ({why}); check the files")
    category = {"id": 1, "name": "person", "keypoints": NAMES}
    content = {"images": list(images_by_id.values()), "annotations": annotations, "categories": [category]}
    with atomic_path(save) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
    visible = np.array([item["keypoints"][2::3] for item in annotations]) > 0
    return Outcome(save, visible, len(images_by_id), left_out)


def _annotation(number: int, athlete: Athlete, box: List[float]) -> Dict[str, Any]:
    return {
        "id": number,
        "image_id": athlete.image_id,
        "category_id": 1,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "num_keypoints": int((athlete.keypoints[:, 2] > 0).sum()),
        "keypoints": athlete.keypoints.ravel().tolist(),
    }


def _obstacle(athlete: Athlete, path: str, boxes: Optional[Dict[str, List[float]]]) -> str:
    """Why a row is left out; empty if it is not."""
    if not (athlete.keypoints[:, 2] > 0).any():
        return "no visible keypoint"
    if boxes is not None and athlete.name not in boxes:
        return "no box"
    return "" if os.path.isfile(path) else "no image"


def _around(keypoints: np.ndarray) -> List[float]:
    """The box around the visible ones."""
    points = keypoints[keypoints[:, 2] > 0, :2]
    size = points.max(axis=0) - points.min(axis=0)
    margin = max(1.0, MARGIN * size.max())
    return [*(points.min(axis=0) - margin).tolist(), *(size + 2 * margin).tolist()]


def _athletes(path: str) -> Iterator[Athlete]:
    for place, row in _rows(path, ";", COLUMNS, skipped=1):
        event, frame = _whole(row["event"], place), _whole(row["frame_num"], place)
        values = [_number(row[column], f"{column} of {place}") for column in COLUMNS[2:]]
        yield Athlete(event, frame, np.array(values).reshape(-1, 3))


def _boxes(path: str) -> Iterator[Tuple[str, List[float]]]:
    for place, row in _rows(path, ",", BOX_COLUMNS):
        yield row["image_id"], [_number(row[column], f"{column} of {place}") for column in BOX_COLUMNS[1:]]


def _rows(path: str, separator: str, columns: Sequence[str], skipped: int = 0) -> Iterator[Tuple[str, Dict[str, str]]]:
    """The rows of a CSV file with ``columns`` and others, and how to call each in a message."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait
            raise InputError(f"expected a CSV file, got {path!r}, which is not a file; check the path")
        if status.st_size > MAX_BYTES:
            raise InputError(f"expected a CSV file of at most {MAX_BYTES >> 20} MiB, got {path!r}; split it")
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(itertools.islice(file, skipped, None), delimiter=separator)
            head = [name.strip() for name in next(lines, [])]
            missing = [column for column in columns if column not in head]
            if missing:
                raise InputError(
                    f"expected the columns {', '.join(columns[:3])}, ... in {path!r}, separated by {separator!r}, got "
                    f"none named {quote(missing[0])}; check the file"
                )
            for line in lines:
                place = f"line {lines.line_num + skipped} of {path!r}"
                if len(line) != len(head):
                    raise InputError(f"expected {len(head)} values in {place}, got {len(line)}; correct it")
                yield place, {name: value.strip() for name, value in zip(head, line)}
    except OSError as e:
        raise InputError(f"cannot read {path!r} ({e.strerror}); check the path") from e
    except (csv.Error, UnicodeDecodeError) as e:
        raise InputError(f"expected a CSV file, got {path!r} ({quote(e)}); save it again") from e


def _whole(text: str, place: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise InputError(f"expected event and frame_num as whole numbers in {place}, got {quote(text)!r}; correct it")
    return int(text)


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < MAX_VALUE:
        raise InputError(f"expected a number as {place}, got {quote(text)!r}; correct it")
    return value
