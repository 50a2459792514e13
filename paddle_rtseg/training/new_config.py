"""A config for a dataset of one's own, sized to its images, for ``python -m paddle_rtseg.new``."""

import os
from statistics import median
from typing import List, NamedTuple, Tuple

import numpy as np
from paddleseg.datasets import Dataset
from rtseg_inference.images import read_encoded

from ..data.check import check_dataset
from ..data.dataset_file import DatasetFile, read_dataset_file
from ..errors import InputError
from ..files import atomic_path
from ..weights.limits import quote
from ..zoo import find_component

LARGEST_SIDE = 720  #: images with a longer short side are shrunk to it
LARGEST_CROP = 512
SMALLEST_SIDE = 64
EPOCHS, FEWEST_STEPS, MOST_STEPS = 60, 1500, 40_000
#: Weights that networks start from, and which have classes of street scenes.
BUNDLED = {
    "RTFormer_Slim": "rtformer_slim_camvid",
    "SegFormerPP:MiT_B0": "segformerpp_b0_camvid",
    "LRFormerSeg:LRFormer_T": "lrformer_t_camvid",
}


class Network(NamedTuple):
    """What a config says of a network, besides the data."""

    model: str  #: lines of YAML
    coefs: str  #: of its losses
    learning_rate: float
    any_size: bool  #: whether its exports take images of any size
    note: str


class Statistics(NamedTuple):
    """What the training images are like."""

    count: int
    height: int  #: medians
    width: int
    shares: np.ndarray  #: of each class, of the pixels that count


def new_config(data: str, network: str, path: str) -> Tuple[str, List[str]]:
    """The text of a config that trains ``network`` on the dataset file ``data``.

    Args:
        network: "RTFormer_Slim", "RTFormer_Base", "SegFormerPP:BACKBONE" or "LRFormerSeg:BACKBONE".
        path: where the text is going to be saved, for the commands in it.

    Returns:
        The text, and what deserves a look before training.

    Raises:
        InputError: the dataset or the network is unknown or defective.
    """
    dataset = read_dataset_file(data)
    chosen = _network(network)
    statistics = _statistics(dataset)
    notes = [
        f"class {i} ({dataset.names[i]}) never occurs in the training labels"
        for i in np.flatnonzero(statistics.shares == 0)
    ]
    return _text(data, network, path, chosen, statistics), notes


def save_config(text: str, path: str) -> None:
    """Write a config that does not exist yet.

    Raises:
        InputError: it exists, or the folder cannot be written.
    """
    if os.path.exists(path):
        raise InputError(f"expected a config that does not exist yet, got {path!r}; choose another --save")
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def _network(name: str) -> Network:
    model, _, backbone = name.partition(":")
    if model in ("RTFormer_Slim", "RTFormer_Base") and not backbone:
        lines = f"  type: {model}\n  drop_path_rate: 0.0  # for a short training\n  bn_momentum: 0.9\n"
        network = Network(lines, "[1, 0.4]", 1e-3, True, "It starts from nothing: name weights with model.pretrained.")
        return _started(network, name)
    if model in ("SegFormerPP", "LRFormerSeg") and backbone.startswith(
        "MiT_B" if model == "SegFormerPP" else "LRFormer_"
    ):
        find_component(backbone)
        lines = f"  type: {model}\n  backbone:\n    type: {backbone}\n"
        if model == "SegFormerPP":
            lines += "    norm_eps: 1.0e-6\n"
            lines += "    token_merging: null  # or hq, fast, 2x2 ... (docs/merging.md): faster from 720 x 540 on\n"
        if name not in BUNDLED:
            lines += "    pretrained: null  # ImageNet weights, converted; a transformer needs them to become good\n"
        rate = 8e-4 if model == "SegFormerPP" else 4e-4
        note = "It starts from nothing: name ImageNet weights in the backbone."
        return _started(Network(lines, "[1]", rate, False, note), name)
    raise InputError(
        "expected a network such as RTFormer_Slim, RTFormer_Base, SegFormerPP:MiT_B0 or LRFormerSeg:LRFormer_T, got "
        f"{quote(name)!r}; choose one"
    )


def _started(network: Network, name: str) -> Network:
    """The same network started from bundled weights, if there are any."""
    if name not in BUNDLED:
        return network
    line = f"  pretrained: {BUNDLED[name]}  # for non-commercial use only; null starts from nothing\n"
    return network._replace(
        model=network.model + line,
        learning_rate=network.learning_rate / 2,
        note="It starts from the bundled weights for street scenes.",
    )


def _statistics(dataset: DatasetFile) -> Statistics:
    arguments = {key: value for key, value in dataset.as_config("train").items() if key != "type"}
    pairs = Dataset(transforms=[], **arguments)
    report = check_dataset(pairs)
    if report.defects:
        raise InputError(
            f"expected labels without defects, got {len(report.defects)} with one, first: {report.defects[0]}; "
            "python -m paddle_rtseg.check_dataset lists them all"
        )
    if not report.pixels.any():
        raise InputError(f"expected labels with classes in {dataset.train!r}, got only ignored pixels; check them")
    headers = [read_encoded(image)[1] for image, _ in pairs.file_list]
    height, width = (int(median(getattr(header, side) for header in headers)) for side in ("height", "width"))
    return Statistics(len(headers), height, width, report.pixels / report.pixels.sum())


def _text(data: str, name: str, path: str, network: Network, statistics: Statistics) -> str:
    height, width = _shrunk(statistics.height, statistics.width)
    crop_height, crop_width = (min(LARGEST_CROP, _multiple_of_32(side)) for side in (height, width))
    batch = max(1, min(statistics.count, 8 if crop_height * crop_width <= 384**2 else 4))
    steps = int(np.clip(round(EPOCHS * statistics.count / batch, -2), FEWEST_STEPS, MOST_STEPS))
    shrink = f"    - type: Resize\n      target_size: [{width}, {height}]  # width, height\n"
    is_shrunk = (height, width) != (statistics.height, statistics.width)
    if network.any_size:
        at_test = f"    - type: ResizeByShort\n      short_size: {min(height, width)}\n" if is_shrunk else ""
    else:
        fixed = _multiple_of_32(width), _multiple_of_32(height)
        at_test = (
            "    - type: Resize  # the exported network takes images of this size only\n"
            f"      target_size: {list(fixed)}\n"
        )
    losses = "\n".join(
        f"    - type: PixelCrossEntropyLoss\n      weight: {line}" for line in _weights(network, statistics)
    )
    return f"""# {name} on {data}. {network.note}
# Training images: {statistics.count}, of {statistics.width} x {statistics.height} pixels (medians).
#   python -m paddleseg.train --config {path} --do_eval --save_interval {max(100, steps // 20)} --save_dir output/mine
#   python -m paddleseg.export --config {path} --model_path output/mine/best_model/model.pdparams --save_dir exported/
#   python -m paddle_rtseg.infer --model exported/ --input IMAGES
# Written by python -m paddle_rtseg.new; change whatever you like.

data: {_quoted(data)}  # names, colours and lists

batch_size: {batch}  # lower it if memory does not suffice
iters: {steps}  # {steps * batch / statistics.count:.0f} times each image

model:
{network.model}
train_dataset:
  transforms:
{shrink if is_shrunk else ""}    - type: ResizeStepScaling
      min_scale_factor: 0.5
      max_scale_factor: 1.5
      scale_step_size: 0.25
    - type: RandomPaddingCrop
      crop_size: [{crop_width}, {crop_height}]  # width, height
    - type: RandomHorizontalFlip
    - type: RandomDistort
      brightness_range: 0.4
      contrast_range: 0.4
      saturation_range: 0.4
    - &normalize
      type: Normalize
      mean: [0.485, 0.456, 0.406]
      std: [0.229, 0.224, 0.225]

val_dataset:
  transforms:
{at_test}    - *normalize

loss:
  types:
{losses}
  coef: {network.coefs}

optimizer:
  type: AdamW
  beta1: 0.9
  beta2: 0.999
  weight_decay: 0.05

lr_scheduler:
  type: PolynomialDecay
  learning_rate: {network.learning_rate}
  power: 0.9
  end_lr: 0
  warmup_iters: {steps // 20}
  warmup_start_lr: 1.0e-6
"""


def _weights(network: Network, statistics: Statistics) -> List[str]:
    """The weights of the classes, (median share / share)^0.35 as in CamVid's configs, once for each loss."""
    shares = statistics.shares
    typical = np.median(shares[shares > 0])
    weights = [round(float((typical / share) ** 0.35), 2) if share else 1.0 for share in shares]
    lines = [f"&weight {weights}  # rare classes count more", "*weight"]
    return lines[: network.coefs.count(",") + 1]


def _shrunk(height: int, width: int) -> Tuple[int, int]:
    factor = min(1.0, LARGEST_SIDE / min(height, width))
    return round(height * factor), round(width * factor)


def _multiple_of_32(side: int) -> int:
    return max(SMALLEST_SIDE, side // 32 * 32)


def _quoted(text: str) -> str:
    """Text in YAML's single quotes, in which only they are special."""
    return "'" + text.replace("'", "''") + "'"
