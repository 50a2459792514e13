"""Pack trained weights for release: half precision, with all metadata needed to use them.

python -m paddle_rtseg.release --config C.yml --model_path W.pdparams --save NAME.safetensors \\
    --note miou=57.9 --note terms=CC-BY-NC-4.0
"""

import argparse
import os

from rtseg_inference.arguments import Parser

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddle_rtseg.release", description=__doc__.splitlines()[0])
    arguments.add_common(p)
    arguments.add_weights(p, required=True)
    p.add_argument("--save", required=True, metavar="FILE.safetensors", help="file to write")
    p.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="KEY=TEXT",
        help="additional metadata, such as terms=CC-BY-NC-4.0 (default: none)",
    )
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.config import find_config, load_config
    from paddle_rtseg.weights.packing import pack

    config = load_config(args.config, opts=args.opts)
    print(pack(config, os.path.basename(find_config(args.config)), args.model_path, args.save, args.note))


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
