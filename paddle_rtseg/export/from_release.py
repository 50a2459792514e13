"""The package's own weights as exported models, kept in the cache."""

import functools
import json
import os
import tempfile

import paddle
from rtseg_inference.files import cache_root, make_folder

from ..errors import InputError
from ..weights.released import Release
from ..zoo import create_model
from .exporter import export_model
from .onnx import obstacle
from .preprocessing import from_transforms


def cached_export(release: Release) -> str:
    """The folder of the exported model; the first call makes it."""
    forms = "" if obstacle() else "-onnx"
    folder = os.path.join(cache_root(), f"{release.name}-{release.sha256[:16]}-paddle{paddle.__version__}{forms}")
    if os.path.isdir(folder):  # renamed into place, so it is complete
        return folder
    print(f"exporting {release.name}, once")
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=make_folder(cache_root())) as partial:
        made = _export(release, os.path.join(partial, release.name))
        try:
            os.rename(made, folder)
        except OSError:
            if not os.path.isdir(folder):  # another process may have been faster
                raise
    return folder


def _export(release: Release, folder: str) -> str:
    transforms = json.loads(release.metadata["transforms"])
    export = functools.partial(
        export_model,
        create_model(release.model, **release.arguments, pretrained=release.path),
        folder,
        from_transforms(transforms),
        output_op="logits",
        dataset=release.metadata["dataset"],
        transforms=transforms,
    )
    try:
        return export(format="pdmodel", onnx="if possible")  # for OpenVINO inside Paddle, the fastest on a CPU
    except InputError:  # not every Paddle 3 can write it
        return export()
