"""Convert a published PyTorch checkpoint to Paddle, without PyTorch.

python -m paddle_rtseg.convert --family segformer --input X.pth --output Y.safetensors
"""

import argparse

from rtseg_inference.arguments import Parser

from paddle_rtseg.weights import FAMILIES, convert, read_state, save_state

#: Printed after a conversion: terms of the published weights of a family, which converting does not change.
TERMS = {
    "segformer": "SegFormer weights published by NVIDIA, and any derived from them, are for non-commercial use only "
    "(NVIDIA Source Code License for SegFormer)",
}


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddle_rtseg.convert", description=__doc__.splitlines()[0])
    p.add_argument("--family", required=True, choices=sorted(FAMILIES), help="model family of the checkpoint")
    p.add_argument("--input", required=True, metavar="FILE", help=".pth, .pt or .safetensors file, or URL#sha256=HEX")
    p.add_argument("--output", required=True, metavar="FILE", help=".safetensors or .pdparams file to write")
    return p


def main(args: argparse.Namespace) -> None:
    state = convert(read_state(args.input), args.family)
    save_state(state, args.output)
    print(f"{args.output}: {len(state)} tensors, {sum(a.size for a in state.values()) / 1e6:.2f} M values")
    if args.family in TERMS:
        print(TERMS[args.family])


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
