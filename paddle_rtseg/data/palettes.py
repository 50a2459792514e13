"""Names and colours of a dataset's classes."""

from typing import List, Optional, Sequence, Tuple

import numpy as np
from rtseg_inference.drawing import BACKGROUND

from ..errors import InputError
from .dataset_file import read_classes

# The CamVid colours of SegNet's authors.
CAMVID = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}

# The official colours of the 19 Cityscapes training classes.
CITYSCAPES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

#: Colours that people with any form of colour blindness tell apart: the eight of Okabe and Ito ("Color Universal
#: Design", 2008) without black, then six of Paul Tol's "muted" scheme.
DISTINCT = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    *((51, 34, 136), (153, 153, 51), (136, 34, 85), (221, 204, 119), (17, 119, 51), (136, 204, 238)),
)

_KNOWN = {"CamVid": CAMVID, "Cityscapes": CITYSCAPES}


def classes_and_palette(dataset: Optional[str], num_classes: Optional[int] = None) -> Tuple[List[str], np.ndarray]:
    """Names and colours of the classes of a dataset.

    Args:
        dataset: PaddleSeg's name for it, of which CamVid and Cityscapes have known names and colours, or a dataset
            file; see :mod:`.dataset_file`.
        num_classes: number of classes of the model. For other datasets, or if the number differs from the dataset's,
            names are the class ids and colours are :func:`bit_colours`, as in PaddleSeg's predictions, or for
            PaddleSeg's ``Dataset``, which may be any, and for None :func:`distinct_colours`.

    Returns:
        Names, and (num_classes, 3) uint8 RGB.

    Raises:
        InputError: the dataset is unknown and the number of classes is not given, or the dataset file is defective or
            for another number of classes.
    """
    if dataset is not None and dataset.endswith((".yml", ".yaml")):
        names, colours = read_classes(dataset)
        if num_classes not in (None, len(names)):
            raise InputError(
                f"expected {num_classes} names in {dataset!r}, one for each class of the model, got "
                f"{len(names)}; name the file that the model was trained with"
            )
        return list(names), distinct_colours(names) if colours is None else colours
    known = _KNOWN.get(dataset, {})
    if known and num_classes in (None, len(known)):
        return list(known), np.array(list(known.values()), np.uint8)
    if num_classes is None:
        raise InputError(f"expected a dataset of {', '.join(_KNOWN)}, got {dataset!r}; or give the number of classes")
    names = [str(i) for i in range(num_classes)]
    return names, distinct_colours(names) if dataset in (None, "Dataset") else bit_colours(num_classes)


def bit_colours(num_classes: int) -> np.ndarray:
    """Distinct colours for any number of classes; the colours of PaddleSeg's predictions.

    The bits of i + 1 become, in turn, bits of the red, green and blue of class i, starting with the lowest bit of i + 1
    and the highest bit of each colour. PASCAL VOC's palette does the same with i.

    Returns:
        (num_classes, 3) uint8 RGB.
    """
    numbers = np.arange(1, num_classes + 1)
    colours = np.zeros((num_classes, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def distinct_colours(names: Sequence[str]) -> np.ndarray:
    """Colours for named classes: black for the background, if the first class is called that, then :data:`DISTINCT`.

    Where those do not suffice, :func:`bit_colours` continues them. The same names always get the same colours.

    Returns:
        (num_classes, 3) uint8 RGB.
    """
    background = [(0, 0, 0)] if names[0].lower() in BACKGROUND else []
    more = [tuple(colour) for colour in bit_colours(2 * len(names)).tolist() if tuple(colour) not in DISTINCT]
    return np.array([*background, *DISTINCT, *more][: len(names)], np.uint8)
