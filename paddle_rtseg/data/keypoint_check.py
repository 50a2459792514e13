"""Checks for keypoint files: defective annotations and images, who is left out, and how often each keypoint is seen."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple
from typing import Counter as CounterOf

import numpy as np

from ..errors import InputError
from ..pose.skeletons import Skeleton
from ..weights.limits import quote
from .json_files import read_json
from .keypoints import Annotation, annotations_in, checked_settings, image_of, images_by_id, read_person_image


@dataclass
class KeypointReport:
    """The result of :func:`check_keypoints`."""

    skeleton: Skeleton
    #: One sentence for each annotation or image that would fail in training.
    defects: List[str]
    #: (K,) persons in whom each keypoint is visible, or labelled but occluded.
    visible: np.ndarray
    occluded: np.ndarray
    persons: int  #: that can be trained with
    file_list: List[Tuple[str, None]]  #: paths of all images that the file names
    #: How many annotations are left out, by reason.
    left_out: CounterOf[str] = field(default_factory=Counter)
    #: What is no defect, but worth a look.
    remarks: List[str] = field(default_factory=list)

    @property
    def absent(self) -> List[int]:
        """Keypoints that no person shows."""
        return np.flatnonzero(self.visible + self.occluded == 0).tolist()


def check_keypoints(
    settings: Dict[str, Any],
    progress: Callable[[Iterable, int], Iterable] = lambda images, total: images,
    threads: Optional[int] = None,
) -> KeypointReport:
    """Check every annotation of a keypoint file, and read every image with a person.

    Args:
        settings: the arguments of :class:`.keypoints.CocoKeypoints`.
        progress: wraps the iteration over the images, of which it gets the number.
        threads: number of reader threads; None for the number of processors.

    Raises:
        InputError: the settings are wrong, or the file has not the form of COCO's.
    """
    file, folder = settings["annotations"], settings["images"]
    known = {"mode": "train", "skeleton": "coco", "input_size": (288, 384), "sigma": 3.0, **settings}
    skeleton, _, _ = checked_settings(*(known[key] for key in ("mode", "skeleton", "input_size", "sigma")))
    content, defects = read_json(file), []
    found = list(annotations_in(content, file, folder, len(skeleton.names), defects))
    persons = [item for item in found if isinstance(item, Annotation)]
    states = np.stack([person.visible for person in persons]) if persons else np.zeros((0, len(skeleton.names)))
    report = KeypointReport(
        skeleton,
        defects,
        visible=(states > 1).sum(axis=0),
        occluded=((states > 0) & (states <= 1)).sum(axis=0),
        persons=len(persons),
        file_list=_named_images(content, file, folder, defects),
        left_out=Counter(item for item in found if isinstance(item, str)),
    )
    of_image = {person.image: person for person in persons}
    with ThreadPoolExecutor(threads) as pool:
        try:
            checked = pool.map(lambda person: _image_defect(person, file), of_image.values())
            for defect in progress(checked, len(of_image)):
                report.defects += [defect] if defect else []
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all files
            raise
    report.remarks += _remarks(content, persons, skeleton, len(report.file_list) - len(of_image))
    return report


def _named_images(content: Dict[str, Any], file: str, folder: str, defects: List[str]) -> List[Tuple[str, None]]:
    paths = []
    for image in images_by_id(content, file).values():
        try:
            paths.append((image_of(image, folder, file)[0], None))
        except InputError as e:
            if str(e) not in defects:  # which the image's annotations have, too
                defects.append(str(e))
    return paths


def _image_defect(person: Annotation, file: str) -> Optional[str]:
    try:
        read_person_image(person, file)
    except InputError as e:
        return str(e)
    return None


def _remarks(content: Dict[str, Any], persons: Sequence[Annotation], skeleton: Skeleton, alone: int) -> List[str]:
    remarks = []
    outside = sum(_is_outside(person) for person in persons)
    if outside:
        remarks.append(f"{outside} persons with a keypoint outside their image, which counts for nothing there")
    for category in content.get("categories") or []:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and names != list(skeleton.names):
            remarks.append(
                f"its keypoints are {quote(', '.join(map(str, names)))}, those of the skeleton "
                f"{quote(', '.join(skeleton.names))}: compare their order"
            )
    if alone > 0:
        remarks.append(f"{alone} images without a person that can be trained with, which were not read")
    return remarks


def _is_outside(person: Annotation) -> bool:
    points = person.keypoints[person.visible > 0]
    return bool(((points < 0) | (points >= person.size)).any())
