"""Compare the speed of networks: ``python -m paddle_rtseg.benchmark --models RTFormer_Slim RTFormer``."""

import argparse


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m paddle_rtseg.benchmark",
        description="Compare the speed of networks with random weights: medians of alternating runs in one process.",
    )
    p.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL[:KEY=VALUE,...]",
        help="any model registered with PaddleSeg, such as RTFormer_Slim, RTFormer:base_channels=32 or "
        "SegFormerPP:backbone.type=MiT_B2,backbone.token_merging=hq; ratios are relative to the first model",
    )
    p.add_argument(
        "--sizes", nargs="+", default=["512x1024"], metavar="HxW", help="image sizes in pixels (default 512x1024)"
    )
    p.add_argument(
        "--backends",
        nargs="+",
        default=["onednn"],
        metavar="MODE",
        help="dygraph, training, matching, native, onednn, openvino, onnxruntime, openvino_runtime (default onednn)",
    )
    p.add_argument(
        "--precision", choices=["fp32", "bf16"], default="fp32", help="precision of exported models (default fp32)"
    )
    p.add_argument("--num_classes", type=int, default=19, help="number of classes (default 19)")
    p.add_argument("--turns", type=int, default=11, help="measurements per model (default 11)")
    p.add_argument("--threads", type=int, default=0, help="threads for exported models (default: all cores)")
    p.add_argument("--save", metavar="FILE.md", help="also write the table to a file")
    p.add_argument("--plot", metavar="FILE.png", help="write a plot of milliseconds against multiply-accumulates")
    return p


def main(args: argparse.Namespace) -> None:
    import sys

    from paddle_rtseg.benchmark import timing
    from paddle_rtseg.files import atomic_path

    rows = timing.benchmark(
        args.models,
        [timing.parse_size(text) for text in args.sizes],
        args.backends,
        args.precision,
        args.num_classes,
        args.turns,
        args.threads,
        report=lambda line: print(line, file=sys.stderr),
    )
    table = timing.with_machine(rows, args.precision, args.turns)
    print(table)
    if args.save:
        with atomic_path(args.save) as path, open(path, "w", encoding="utf-8") as f:
            f.write(table)
    if args.plot:
        with atomic_path(args.plot) as path:
            timing.plot(rows, path)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
