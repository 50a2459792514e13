"""Persons with keypoints, from COCO's JSON, as a dataset of PaddleSeg."""

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import paddle
from paddleseg.cvlibs import manager
from rtseg_inference.images import read_image
from rtseg_inference.pose import PADDING, STRIDE, Region, Size, crop, matrix, with_aspect

from ..errors import InputError
from ..pose.augmentation import Person, mirrored, random_half, random_region
from ..pose.heatmaps import targets
from ..pose.skeletons import Skeleton
from ..pose.skeletons import skeleton as parse_skeleton
from ..weights.limits import quote
from .json_files import objects_of, read_json

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
MAX_SIDE = 4096
MAX_VALUE = 1e6  # of a coordinate


class Annotation(NamedTuple):
    """A labelled person."""

    image: str  #: path
    image_id: Union[int, str]
    size: Tuple[int, int]  #: width and height of the image, as the file says
    box: np.ndarray  #: (4,) left, top, right, bottom, clipped to the image
    keypoints: np.ndarray  #: (K, 2)
    visible: np.ndarray  #: (K,)


@manager.DATASETS.add_component
class CocoKeypoints(paddle.io.Dataset):
    """Persons of a COCO keypoint file, cropped by their labelled boxes, with heatmaps to train with.

    In training, persons are mirrored, halved, moved, resized and turned as in SegFormer++'s published trainings
    (arXiv 2405.14467). Left out are crowds, persons without a visible keypoint, and boxes without an area.

    Args:
        annotations: COCO's JSON file.
        images: folder of the images.
        mode: "train" or "val".
        skeleton: "coco", "jbd", "lsp", a YAML file or a mapping; see :func:`paddle_rtseg.pose.skeletons.skeleton`.
        input_size: width and height of the network's input, multiples of 4.
        sigma: of the heatmaps' Gaussians, in cells of 4 pixels.
        flip_test: evaluate the mean of each person's heatmaps and those of the mirror image.

    Raises:
        InputError: the files or the arguments do not go together, or nobody is left.
    """

    #: What PaddleSeg's builder asks of a dataset. Keypoints are no classes, so nothing uses the number.
    NUM_CLASSES = 1
    IMG_CHANNELS = 3
    IGNORE_INDEX = 255

    def __init__(
        self,
        annotations: str,
        images: str,
        mode: str = "train",
        skeleton: Any = "coco",
        input_size: Sequence[int] = (288, 384),
        sigma: float = 3.0,
        flip_test: bool = True,
    ):
        super().__init__()
        self.skeleton, self.input_size, self.sigma = checked_settings(mode, skeleton, input_size, sigma)
        self.mode, self.flip_test = mode, bool(flip_test)
        self.file, self.num_classes = annotations, self.NUM_CLASSES
        self.persons, self.left_out = read_annotations(annotations, images, len(self.skeleton.names))
        if not self.persons:
            raise InputError(
                f"expected labelled persons in {annotations!r}, got none of {self.left_out} annotations; check the file"
            )
        self.file_list = [(person.image, None) for person in self.persons]

    def __len__(self) -> int:
        return len(self.file_list)  # which training repeats for --repeats

    def __getitem__(self, index: int) -> Dict[str, np.ndarray]:
        """The input (3, H, W), heatmaps (K, H / 4, W / 4), their weights (K,), and the region as center and scale."""
        person = self.persons[index % len(self.persons)]
        image = read_person_image(person, self.file)
        keypoints, visible, box, degrees = person.keypoints, person.visible, person.box, 0.0
        # Seeded by the training loop, for each sample.
        random = np.random.default_rng(np.random.randint(2**31)) if self.mode == "train" else None
        if random is not None and random.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            keypoints, visible, box = mirrored(keypoints, visible, box, image.shape[1], self.skeleton.flip_indices)
        region = Region((box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * PADDING)
        if random is not None:
            region = random_half(Person(keypoints, visible, region), self.skeleton, random).region
            region, degrees = random_region(region, random)
        region = with_aspect(region.center, region.scale, self.input_size)
        transform = matrix(region, self.input_size, degrees)
        pixels = crop(image, transform, self.input_size)[..., ::-1].astype(np.float32) / 255
        inside = keypoints @ transform[:, :2].T + transform[:, 2]
        heatmaps, weights = targets(inside, visible, self.input_size, self.sigma)
        return {
            "img": np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1)),
            "label": np.zeros(1, np.int64),  # PaddleSeg's loop asks for one
            "heatmaps": heatmaps,
            "weights": weights,
            "region": np.concatenate([region.center, region.scale]).astype(np.float64),
        }


def checked_settings(mode: Any, skeleton: Any, input_size: Any, sigma: Any) -> Tuple[Skeleton, Size, float]:
    """The settings of :class:`CocoKeypoints` that are not about its files.

    Raises:
        InputError: one of them is not as stated there.
    """
    if mode not in ("train", "val"):
        raise InputError(f"CocoKeypoints expects mode 'train' or 'val', got {quote(mode)!r}; correct the config")
    parsed, size = parse_skeleton(skeleton), _input_size(input_size)
    if not isinstance(sigma, (int, float)) or not 0 < sigma <= 100:
        raise InputError(f"expected a sigma above 0 and at most 100, got {quote(sigma)}; correct the config")
    return parsed, size, float(sigma)


def read_annotations(file: str, images: str, count: int) -> Tuple[List[Annotation], int]:
    """The persons of a COCO keypoint file that can be trained with, and the number of those left out.

    Args:
        file: the JSON file.
        images: folder of the images.
        count: number of keypoints.

    Raises:
        InputError: the file is defective, or has another number of keypoints.
    """
    content = read_json(file)
    found = list(annotations_in(content, file, images, count))
    persons = [item for item in found if isinstance(item, Annotation)]
    return persons, len(found) - len(persons)


def annotations_in(
    content: Dict[str, Any], file: str, images: str, count: int, refused: Optional[List[str]] = None
) -> Iterator[Union[Annotation, str]]:
    """The persons of a COCO keypoint file, or for one that cannot be trained with, the reason.

    Args:
        content: of the JSON file.
        file, images, count: as in :func:`read_annotations`.
        refused: gets a sentence for each annotation that is defective, which is then passed over; None to raise the
            first one.

    Raises:
        InputError: something is defective.
    """
    known = images_by_id(content, file)
    for number, item in enumerate(objects_of(content, "annotations", file)):
        try:
            yield _annotation(item, f"annotation {quote(item.get('id', number))}", known, images, file, count)
        except InputError as e:
            if refused is None:
                raise
            refused.append(str(e))


def images_by_id(content: Dict[str, Any], file: str) -> Dict[Union[int, str], Dict[str, Any]]:
    """The images of a COCO file.

    Raises:
        InputError: an id is missing, no number or text, or used twice.
    """
    known: Dict[Union[int, str], Dict[str, Any]] = {}
    for image in objects_of(content, "images", file):
        key = image.get("id")
        if type(key) not in (int, str) or key in known:
            raise InputError(f"expected images with an id of their own in {file!r}, got {quote(key)}; correct it")
        known[key] = image
    return known


def read_person_image(person: Annotation, file: str) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the image of a person of a keypoint file.

    Raises:
        InputError: it cannot be read, or has another size than the file states.
    """
    image = read_image(person.image)
    if image.shape[1::-1] != person.size:
        raise InputError(
            f"expected {person.image!r} to have the {person.size[0]} x {person.size[1]} pixels that {file!r} "
            f"states, got {image.shape[1]} x {image.shape[0]}; correct the file, or remove the image's orientation"
        )
    return image


def coco_truth(file: str) -> Tuple[Dict[str, Any], Dict[Union[int, str], int]]:
    """What COCO's evaluation compares poses with.

    Args:
        file: a keypoint file that :class:`CocoKeypoints` has accepted.

    Returns:
        COCO annotations of one category 1, all parts that pycocotools asks for filled in, with images numbered from 1;
        and the number of each image by its id in the file.
    """
    content = read_json(file)
    numbers = {key: number for number, key in enumerate(images_by_id(content, file), 1)}
    annotations = []
    for number, item in enumerate(content["annotations"], 1):
        area, (width, height) = item.get("area"), item["bbox"][2:]
        annotations.append(
            {
                "id": number,
                "image_id": numbers[item["image_id"]],
                "category_id": 1,
                "bbox": item["bbox"],
                "area": area if isinstance(area, (int, float)) and 0 < area < MAX_VALUE**2 else width * height,
                "iscrowd": int(bool(item.get("iscrowd"))),
                "num_keypoints": sum(v > 0 for v in item["keypoints"][2::3]),
                "keypoints": item["keypoints"],
            }
        )
    images = [{"id": number} for number in numbers.values()]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}, numbers


def _annotation(
    item: Dict[str, Any], name: str, known: Dict[Any, Dict[str, Any]], folder: str, file: str, count: int
) -> Union[Annotation, str]:
    key = item.get("image_id")
    if type(key) not in (int, str) or key not in known:
        raise InputError(f"expected the image of {name} in {file!r}, got image_id {quote(key)}; correct it")
    path, size = image_of(known[key], folder, file)
    values = _numbers(item.get("keypoints"), 3 * count, "keypoints", name, file).reshape(count, 3)
    left, top, width, height = _numbers(item.get("bbox"), 4, "bbox", name, file)
    box = np.array([left, top, left + width, top + height])
    box = np.clip(box, 0, np.array([size[0] - 1, size[1] - 1] * 2))
    if item.get("iscrowd"):
        return "a crowd"
    if not (values[:, 2] > 0).any() or values.max() <= 0:
        return "no visible keypoint"
    if width <= 0 or height <= 0:
        return "a box without an area"
    if not (box[2:] > box[:2]).all():
        return "a box outside the image"
    return Annotation(path, key, size, box, values[:, :2], values[:, 2])


def image_of(image: Dict[str, Any], folder: str, file: str) -> Tuple[str, Tuple[int, int]]:
    """The path of an image of a COCO file, and its width and height as the file states them.

    Raises:
        InputError: one of them is missing, or the path leads out of the folder.
    """
    name, width, height = (image.get(key) for key in ("file_name", "width", "height"))
    if not isinstance(name, str) or not all(type(n) is int and n > 0 for n in (width, height)):
        raise InputError(
            f"expected file_name, width and height of each image in {file!r}, got {quote(image)}; correct it"
        )
    path = os.path.normpath(os.path.join(folder, name))
    if os.path.isabs(name) or os.path.relpath(path, folder).startswith(".."):
        raise InputError(f"expected images in their folder in {file!r}, got {quote(name)!r}; correct it")
    return path, (width, height)


def _numbers(value: Any, count: int, key: str, name: str, file: str) -> np.ndarray:
    numeric = isinstance(value, list) and all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < MAX_VALUE for n in value
    )
    if not numeric or len(value) != count:
        lengths_differ = isinstance(value, list) and len(value) != count
        raise InputError(
            f"expected {count} numbers as {key} of {name} in {file!r}, got "
            f"{f'{len(value)} values' if lengths_differ else quote(value)}; correct the file"
            + (", or the config's skeleton" if lengths_differ and key == "keypoints" else "")
        )
    return np.array(value, np.float64)


def _input_size(value: Any) -> Size:
    valid = isinstance(value, (list, tuple)) and len(value) == 2
    if not valid or not all(type(n) is int and 0 < n <= MAX_SIDE and n % STRIDE == 0 for n in value):
        raise InputError(
            f"expected an input_size of width and height, multiples of 4, got {quote(value)}; correct the config"
        )
    return value[0], value[1]
