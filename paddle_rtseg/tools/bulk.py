"""Segment images and videos with many processes or machines: ``python -m paddle_rtseg.bulk --model D --input F``.

It takes the flags of ``infer`` and writes the same files, with a table of all inputs. Ray runs the processes, on this
machine or on a cluster, and the same command finishes what was interrupted.
"""

import argparse

from rtseg_inference import cli
from rtseg_inference.arguments import MOST_BATCH, MOST_THREADS, Parser, whole_number

from paddle_rtseg.bulk.table import FORMATS
from paddle_rtseg.tools import infer
from paddle_rtseg.weights import released

MOST_WORKERS = 100_000
DESCRIPTION = """Segment images and videos with many processes, on this machine or a cluster. The files are those of
infer. The same command finishes a run that was interrupted."""


def parser() -> argparse.ArgumentParser:
    # The flags that are added here replace those of infer.
    p = Parser(
        prog="python -m paddle_rtseg.bulk",
        description=DESCRIPTION,
        epilog=cli.EPILOG,
        parents=[infer.parser()],
        conflict_handler="resolve",
    )
    p.add_argument(
        "--input",
        nargs="+",
        action="extend",
        required=True,
        metavar="PATH",
        help="folders, images, videos, lists of paths (.txt), patterns such as 'a/*.jpg', or addresses such as s3://...",
    )
    p.add_argument("--save_dir", default="./output/bulk", help="folder or address to write (default ./output/bulk)")
    p.add_argument(
        "--batch",
        "--batch_size",
        dest="batch_size",
        type=whole_number(1, MOST_BATCH),
        default=1,
        metavar="N",
        help="images of one size per batch (default 1)",
    )
    p.add_argument(
        "--threads",
        type=whole_number(0, MOST_THREADS),
        default=0,
        metavar="N",
        help="processor threads of a worker; 0 is its share of the cores, without --workers one (default 0)",
    )
    p.add_argument(
        "--address", help="auto, HOST:PORT or ray://HOST:PORT of a Ray cluster (default: this machine alone)"
    )
    p.add_argument(
        "--workers",
        type=whole_number(1, MOST_WORKERS),
        metavar="N",
        help="processes that segment (default: as many as have room)",
    )
    p.add_argument(
        "--max_frames",
        type=whole_number(1),
        metavar="N",
        help="take N inputs, of which a video is one (default: all)",
    )
    p.add_argument("--table", choices=FORMATS, default=FORMATS[0], help="format of the table (default jsonl)")
    return p


def main(args: argparse.Namespace) -> int:
    from paddle_rtseg.bulk.job import run

    if args.verify:
        return infer.main(args)
    args.model = released.exported(args.model)
    return run(args, cli.written_kinds(args.write))


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
