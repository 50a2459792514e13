"""The package's own weights as exported models, kept in the cache."""

import functools
import json
import os
from typing import Any, Dict

import paddle
from rtseg_inference.contract import read_contract
from rtseg_inference.files import cache_root, exclusive, partial_folder, writable_cache

from ..errors import InputError
from ..weights.released import Release
from ..zoo import create_model
from .exporter import export_model
from .onnx import obstacle
from .pose import from_dataset
from .preprocessing import from_transforms


def cached_export(release: Release) -> str:
    """The folder of the exported model; the first call makes it, as does one that finds it damaged.

    Raises:
        InputError: the cache cannot be written.
    """
    forms = "" if obstacle() else "-onnx"
    folder = os.path.join(cache_root(), f"{release.name}-{release.sha256[:16]}-paddle{paddle.__version__}{forms}")
    if _is_whole(folder):
        return folder
    with exclusive(writable_cache(cache_root(), "RTSEG_CACHE"), wait=True), partial_folder(cache_root()) as partial:
        if _is_whole(folder):  # another process was faster
            return folder
        again = os.path.lexists(folder)
        print(
            f"exporting {release.name} again, because {folder} is damaged"
            if again
            else f"exporting {release.name}, once"
        )
        made = _export(release, os.path.join(partial, release.name))
        if again:
            os.rename(folder, os.path.join(partial, "damaged"))
        os.rename(made, folder)
    return folder


def _is_whole(folder: str) -> bool:
    """Whether every file that the contract lists is there and has its checksum."""
    try:
        read_contract(folder)
    except InputError:
        return False
    return True


def _export(release: Release, folder: str) -> str:
    network = create_model(release.model, **release.arguments, pretrained=release.path)
    export = functools.partial(export_model, network, folder, **_surroundings(release))
    try:
        return export(format="pdmodel", onnx="if possible")  # for OpenVINO inside Paddle, the fastest on a CPU
    except InputError:  # not every Paddle 3 can write it
        return export()


def _surroundings(release: Release) -> Dict[str, Any]:
    """What surrounds the network: arguments of :func:`.export_model`."""
    if "persons" in release.metadata:
        pose, preprocessing = from_dataset(json.loads(release.metadata["persons"]), decode="quarter")
        return {"preprocessing": preprocessing, "pose": pose}
    transforms = json.loads(release.metadata["transforms"])
    return {
        "preprocessing": from_transforms(transforms),
        "output_op": "logits",
        "dataset": release.metadata["dataset"],
        "transforms": transforms,
    }
