"""Segment images, folders, videos and cameras with an exported model: ``python -m paddle_rtseg.infer --model D``.

The same program as ``python -m rtseg_inference``, which needs only Paddle, NumPy, OpenCV and PyYAML; it also knows the
models whose weights come with this package, and exports such a one when it is first used.
"""

import argparse
import functools
import json
import os
import tempfile

from rtseg_inference import cli
from rtseg_inference.files import cache_root, make_folder

from paddle_rtseg.errors import InputError
from paddle_rtseg.weights import released


def parser() -> argparse.ArgumentParser:
    names = ", ".join(released.SHA256)
    return cli.parser("python -m paddle_rtseg.infer", f"exported model, a folder with deploy.yaml, or one of {names}")


def main(args: argparse.Namespace) -> int:
    release = released.find(args.model)
    if release is not None:
        args.model = exported(release)
    return cli.main(args)


def exported(release: released.Release) -> str:
    """The model as a folder for Paddle Inference: made at the first call, and kept in the cache."""
    import paddle

    folder = os.path.join(cache_root(), f"{release.name}-{release.sha256[:16]}-paddle{paddle.__version__}")
    if os.path.isdir(folder):  # it came into being whole
        return folder
    print(f"exporting {release.name}, once")
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=make_folder(cache_root())) as partial:
        made = _export(release, os.path.join(partial, release.name))
        try:
            os.rename(made, folder)
        except OSError:
            if not os.path.isdir(folder):  # unless another process was faster
                raise
    return folder


def _export(release: released.Release, folder: str) -> str:
    from paddle_rtseg.export.exporter import export_model
    from paddle_rtseg.export.preprocessing import from_transforms
    from paddle_rtseg.zoo import create_model

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
        return export(format="pdmodel")  # which OpenVINO takes, the fastest on a CPU
    except InputError:  # not every Paddle 3 can write it
        return export()


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
