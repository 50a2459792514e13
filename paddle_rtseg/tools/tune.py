"""Find the fastest or most accurate way to run weights: ``python -m paddle_rtseg.tune --config C --budget_ms 40``.

Token merging, the size of the input, backend and precision are tried for trained weights, which stay as they are.
"""

import argparse
import re
from typing import Callable

from rtseg_inference.arguments import MOST_THREADS, Parser, share, whole_number
from rtseg_inference.configuration import BACKENDS
from rtseg_inference.contract import PRECISIONS

from paddle_rtseg.tools import arguments

SCALES = (0.1, 4.0)
MOST_MILLISECONDS = 1e6


def number(low: float, high: float) -> Callable[[str], float]:
    """Argument type for a number from ``low`` to ``high``, in digits with at most one point."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}([.][0-9]{0,9})?", text) or not low <= float(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a number from {low:g} to {high:g}, got {text[:100]!r}")
        return float(text)

    return parse


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m paddle_rtseg.tune",
        description="Search for the fastest or most accurate way to run trained weights on this machine, without "
        "training: token merging, input size, backend and precision. Exits with status 1 if nothing meets the goal.",
    )
    arguments.add_config(p)
    arguments.add_weights(p)
    goal = p.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--budget_ms",
        type=number(0.001, MOST_MILLISECONDS),
        metavar="MS",
        help="find the best mean IoU within this time from an image to its mask (default: none)",
    )
    goal.add_argument(
        "--min_miou",
        type=share,
        metavar="SHARE",
        help="find the least time with at least this mean IoU, from 0 to 1 (default: none)",
    )
    goal.add_argument(
        "--max_drop",
        type=number(0, 100),
        metavar="POINTS",
        help="find the least time with a mean IoU that is at most this many points (hundredths) below the original's, "
        "by the 95 %% interval of the difference (default: none)",
    )
    p.add_argument("--device", choices=list(BACKENDS), default="cpu", help="cpu or gpu (default cpu)")
    p.add_argument(
        "--threads",
        type=whole_number(0, MOST_THREADS),
        default=0,
        metavar="N",
        help="processor threads (default: all cores)",
    )
    p.add_argument("--save_dir", default="./output/tune", help="output folder (default ./output/tune)")
    p.add_argument(
        "--frames",
        type=whole_number(1),
        metavar="N",
        help="how many images of the val_dataset to use, evenly spread: half of them to choose by, the others to "
        "report on (default: all)",
    )
    p.add_argument(
        "--token_merging", nargs="+", metavar="NAME", help="token mergings to try, such as none 2x2 (default: all)"
    )
    p.add_argument(
        "--scales",
        nargs="+",
        type=number(*SCALES),
        metavar="X",
        help="scales of the network's input to try, 1 for the config's (default: 0.5 0.67 0.83 1)",
    )
    p.add_argument("--backend", nargs="+", metavar="BACKEND", help="backends to try (default: all that are installed)")
    p.add_argument(
        "--precision",
        nargs="+",
        choices=list(PRECISIONS),
        metavar="PRECISION",
        help="precisions to try, any of fp32, tf32, fp16, bf16 and int8 (default: all that the machine computes in)",
    )
    p.add_argument(
        "--calibration",
        metavar="PATH",
        help="for INT8, a folder of images or a dataset file to calibrate with (default: the config's train_dataset)",
    )
    p.add_argument(
        "--samples", type=whole_number(1), metavar="N", help="for INT8, images to calibrate with (default 32)"
    )
    return p


def main(args: argparse.Namespace) -> int:
    from paddle_rtseg.tune.calibration import Calibration
    from paddle_rtseg.tune.candidates import SCALES
    from paddle_rtseg.tune.search import Budget, Drop, Floor
    from paddle_rtseg.tune.tuning import Space, tune

    goals = {Budget: args.budget_ms, Floor: args.min_miou, Drop: args.max_drop}
    goal = next(kind(value) for kind, value in goals.items() if value is not None)
    return tune(
        *(args.config, args.model_path, args.save_dir, goal),
        opts=args.opts or (),
        device=args.device,
        threads=args.threads,
        frames=args.frames,
        space=Space(
            args.token_merging,
            args.scales or SCALES,
            args.backend,
            args.precision,
            Calibration(args.calibration, args.samples),
        ),
    )


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
