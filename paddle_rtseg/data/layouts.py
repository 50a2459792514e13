"""The files and folders that each of PaddleSeg's datasets consists of, checked before one is built."""

import os
from typing import Any, Dict, Mapping, Sequence

from rtseg_inference.errors import quote

from ..errors import InputError


def _for_modes(modes: Sequence[str], *paths: str) -> Dict[str, Sequence[str]]:
    return {mode: [path.format(mode) for path in paths] for mode in modes}


_TRAIN_VAL, _ALL = ("train", "val"), ("train", "val", "test")
_ADE = "images/{0}", "annotations/{0}"
_VOC = "VOC2012/ImageSets/Segmentation/{}.txt", "VOC2012/JPEGImages", "VOC2012/SegmentationClass"
_VOC_AUGMENTED = "VOC2012/ImageSets/Segmentation/aug.txt", "VOC2012/SegmentationClassAug"

#: Paths relative to ``dataset_root``, by type and mode.
_PATHS: Dict[str, Dict[str, Sequence[str]]] = {
    "ADE20K": {
        "train": [path.format("training") for path in _ADE],
        "val": [path.format("validation") for path in _ADE],
    },
    "CHASEDB1": _for_modes(_TRAIN_VAL, "{}_list.txt"),
    "Cityscapes": _for_modes(_ALL, "leftImg8bit/{0}", "gtFine/{0}"),
    "CocoStuff": _for_modes(_TRAIN_VAL, "images/{0}2017", "annotations/{0}2017"),
    "DRIVE": _for_modes(_TRAIN_VAL, "{}_list.txt"),
    "EG1800": {"train": ["eg1800_train.txt"], "val": ["eg1800_test.txt"]},
    "HRF": _for_modes(_TRAIN_VAL, "{}_list.txt"),
    "MiniDeepGlobeRoadExtraction": _for_modes(_TRAIN_VAL, "{}.txt"),
    "OpticDiscSeg": _for_modes(_ALL, "{}_list.txt"),
    "PPHumanSeg14K": _for_modes(_ALL, "{}.txt"),
    "PascalContext": _for_modes(
        ("train", "val", "trainval"), "ImageSets/Segmentation/{}_context.txt", "JPEGImages", "Context"
    ),
    "PascalVOC": {
        **_for_modes(("train", "val", "trainval"), *_VOC),
        "trainaug": [path.format("train") for path in _VOC + _VOC_AUGMENTED],
    },
    "STARE": _for_modes(_TRAIN_VAL, "{}_list.txt"),
    "SUPERVISELY": {"train": ["supervisely_face_train_easy.txt"], "val": ["supervisely_face_test_easy.txt"]},
}
#: Datasets that PaddleSeg downloads where ``dataset_root`` is missing.
_DOWNLOADED = {
    *("ADE20K", "CHASEDB1", "DRIVE", "EG1800", "HRF", "MiniDeepGlobeRoadExtraction", "OpticDiscSeg", "PascalVOC"),
    *("STARE", "SUPERVISELY"),
}
#: Scripts that complete a dataset.
_PREPARED = {
    "Cityscapes": "; PaddleSeg's convert_cityscapes.py writes the labels",
    "CocoStuff": "; PaddleSeg's convert_cocostuff.py writes the labels",
    "PascalContext": "; PaddleSeg's convert_voc2010.py writes the lists and labels",
    "PascalVOC": "; PaddleSeg's voc_augment.py writes those of trainaug",
}


def check_files(component: Mapping[str, Any]) -> None:
    """Refuse a dataset whose files are not there.

    Args:
        component: type and arguments of a component, as in a config. Only PaddleSeg's datasets are checked.

    Raises:
        InputError: the mode is unknown, or a file or folder is missing; the message lists what is expected.
    """
    kind, arguments = component.get("type"), component
    mode = str(arguments.get("mode", "train")).lower()
    if kind in ("Dataset", "SegDataset"):  # develop has both names for it
        _check_lists(arguments, mode)
    elif kind == "PSSLDataset":
        _require_mode(kind, mode, ("train",))
        for key, paths in (("pssl_root", ("train.txt", "imagenet_lsvrc_2015_synsets.txt")), ("imagenet_root", ())):
            _check_paths(kind, arguments, key, paths)
    elif kind in _PATHS:
        _require_mode(kind, mode, _PATHS[kind])
        root = arguments.get("dataset_root")
        if kind not in _DOWNLOADED or (root is not None and _exists(root)):
            _check_paths(kind, arguments, "dataset_root", _PATHS[kind][mode], _PREPARED.get(kind, ""))


def _check_lists(arguments: Mapping[str, Any], mode: str) -> None:
    _require_mode("Dataset", mode, _ALL)
    _check_paths("Dataset", arguments, "dataset_root", ())
    path = arguments.get(f"{mode}_path")
    if path is None or not _exists(path):
        raise InputError(
            f"a Dataset of mode {mode} expects {mode}_path, a text file that lists its images, got "
            f"{'none' if path is None else f'no file {path!r}'}; correct {mode}_path in the config"
        )


def _check_paths(kind: str, arguments: Mapping[str, Any], key: str, paths: Sequence[str], hint: str = "") -> None:
    root = arguments.get(key)
    inside = f" with {' and '.join(paths)}" if paths else ""
    missing = [path for path in ("", *paths) if root is None or not _exists(os.path.join(str(root), path))]
    if missing:
        got = "none" if root is None else f"no {os.path.join(str(root), missing[0])!r}"
        raise InputError(f"{kind} expects a folder{inside} as {key}, got {got}; correct {key} in the config{hint}")


def _require_mode(kind: str, mode: str, modes: Sequence[str]) -> None:
    if mode not in modes:
        raise InputError(f"{kind} expects a mode of {', '.join(modes)}, got {quote(mode)!r}; correct the config")


def _exists(path: Any) -> bool:
    return os.path.exists(str(path))
