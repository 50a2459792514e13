"""Photographs with labels as people have them, made from the bundled CamVid frames."""

import json
import os
import pathlib
from typing import Any, Dict, List, Sequence

import cv2
import numpy as np
import yaml
from comparing import zip_strict
from rtseg_inference.results import coco_annotations, polygons

from paddle_rtseg.data.palettes import classes_and_palette

FRAMES = pathlib.Path(__file__).parents[1] / "data" / "camvid_mini"
LEAST = 4  # corners of a polygon


def frames(count: int) -> List[str]:
    """The names of the first frames, without suffix."""
    return sorted(path.stem for path in (FRAMES / "images").iterdir())[:count]


def image_and_label(name: str) -> Sequence[np.ndarray]:
    """(180, 240, 3) uint8 BGR, and (180, 240) uint8 with 255 where there is no label."""
    image = cv2.imread(str(FRAMES / "images" / f"{name}.jpg"))
    label = cv2.imread(str(FRAMES / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    return cv2.resize(image, (240, 180), interpolation=cv2.INTER_AREA), label[::2, ::2]


def write_photographs(folder: str, names: Sequence[str]) -> None:
    """Photographs in ``folder``, as JPEG files."""
    os.makedirs(folder, exist_ok=True)
    for name in names:
        cv2.imwrite(os.path.join(folder, f"{name}.jpg"), image_and_label(name)[0])


def write_labelme(folder: str, names: Sequence[str]) -> None:
    """A Labelme file beside each photograph: the large regions first, because later ones count."""
    classes, _ = classes_and_palette("CamVid")
    for name in names:
        label = image_and_label(name)[1]
        found = [p for p in polygons(label) if p.class_id < len(classes) and len(p.outline) >= LEAST]
        found.sort(key=lambda polygon: -cv2.contourArea(polygon.outline))
        shapes = [
            {"label": classes[p.class_id], "shape_type": "polygon", "points": p.outline.tolist(), "flags": {}}
            for p in found
        ]
        height, width = label.shape
        content = {"shapes": shapes, "imagePath": f"{name}.jpg", "imageHeight": height, "imageWidth": width}
        with open(os.path.join(folder, f"{name}.json"), "w") as file:
            json.dump(content, file)


def write_coco(path: str, names: Sequence[str]) -> None:
    """One COCO file for all photographs."""
    classes, _ = classes_and_palette("CamVid")
    images: List[Dict[str, Any]] = []
    annotations: List[Dict[str, Any]] = []
    for name in names:
        label = image_and_label(name)[1]
        images.append(
            {"id": len(images), "file_name": f"{name}.jpg", "height": label.shape[0], "width": label.shape[1]}
        )
        found = coco_annotations(label, images[-1]["id"], len(annotations) + 1)
        annotations += [a for a in found if a["category_id"] < len(classes)]
    categories = [{"id": i, "name": name} for i, name in enumerate(classes)]
    with open(path, "w") as file:
        json.dump({"images": images, "annotations": annotations, "categories": categories}, file)


def write_colours(folder: str, data: str, names: Sequence[str]) -> None:
    """Masks in CamVid's colours, and the file that says which is which."""
    classes, palette = classes_and_palette("CamVid")
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(palette)] = palette
    os.makedirs(folder, exist_ok=True)
    for name in names:
        cv2.imwrite(os.path.join(folder, f"{name}.png"), colours[image_and_label(name)[1]][:, :, ::-1])
    content = {"names": [*classes, "unlabelled"], "colors": [*palette.tolist(), [255, 255, 255]]}
    with open(data, "w") as file:
        yaml.safe_dump(content, file)


def write_binary(folder: str, names: Sequence[str]) -> None:
    """Masks that are 255 where the road is, and 0 elsewhere."""
    road = classes_and_palette("CamVid")[0].index("Road")
    os.makedirs(folder, exist_ok=True)
    for name in names:
        cv2.imwrite(os.path.join(folder, f"{name}.png"), np.uint8(255) * (image_and_label(name)[1] == road))


def write_video(path: str, names: Sequence[str]) -> None:
    """A video of a frame for each photograph."""
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (240, 180))
    for _, image in zip_strict(names, (image_and_label(name)[0] for name in names)):
        writer.write(image)
    writer.release()
