"""Segment images, folders, videos and cameras with an exported model: ``python -m paddle_rtseg.infer --model D``.

The same program as ``python -m rtseg_inference``, which needs neither PaddleSeg nor this package. It also accepts the
names of bundled models, and exports them on first use.
"""

import argparse

from rtseg_inference import cli

from paddle_rtseg.weights import released


def parser() -> argparse.ArgumentParser:
    names = ", ".join(released.SHA256)
    return cli.parser(
        "python -m paddle_rtseg.infer", f"folder of an exported model (with deploy.yaml), or one of {names}"
    )


def main(args: argparse.Namespace) -> int:
    args.model = exported(args.model)
    return cli.main(args)


def exported(model: str) -> str:
    """The folder of an exported model, or of that of a bundled name, which is exported on first use."""
    release = released.find(model)
    if release is None:
        return model
    from paddle_rtseg.export.from_release import cached_export

    return cached_export(release)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
