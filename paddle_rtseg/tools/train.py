"""Train a model from a PaddleSeg config: ``python -m paddleseg.train --config FILE.yml``."""

import argparse

from rtseg_inference.arguments import Parser, whole_number

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddleseg.train", description="Train a model from a PaddleSeg config.")
    arguments.add_common(p)
    p.add_argument("--save_dir", default="./output", help="folder for checkpoints (default ./output)")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--iters", type=whole_number(1), help="number of iterations (default: from the config)")
    length.add_argument(
        "--epochs",
        type=whole_number(1, 1_000_000),
        metavar="N",
        help="passes through the training images, instead of --iters (default: as many as the iterations make)",
    )
    p.add_argument(
        "--batch_size", type=whole_number(1), help="images per iteration in each process (default: from the config)"
    )
    p.add_argument("--learning_rate", type=float, help="initial learning rate (default: from the config)")
    p.add_argument("--seed", type=whole_number(0, 2**32 - 1), help="seed for Paddle, NumPy and Python (default: none)")
    arguments.add_workers(p)
    p.add_argument("--do_eval", action="store_true", help="evaluate after each checkpoint")
    p.add_argument("--use_vdl", action="store_true", help="write VisualDL logs to save_dir")
    p.add_argument("--use_tb", action="store_true", help="write TensorBoard logs to save_dir")
    p.add_argument("--use_ema", action="store_true", help="also keep an exponential moving average of the weights")
    p.add_argument(
        "--save_interval", type=whole_number(1), default=1000, help="iterations between checkpoints (default 1000)"
    )
    p.add_argument(
        "--keep_checkpoint_max",
        type=whole_number(),
        default=5,
        help="maximum number of checkpoints to keep, 0 for all (default 5)",
    )
    p.add_argument("--log_iters", type=whole_number(1), default=10, help="iterations between log lines (default 10)")
    p.add_argument(
        "--resume_model",
        metavar="DIR",
        help="checkpoint to resume from, such as output/iter_1000; auto: the latest complete one in save_dir, if any "
        "(default: none)",
    )
    p.add_argument(
        "--precision",
        choices=["fp32", "fp16", "bf16"],
        default="fp32",
        help="fp16: automatic mixed precision on a GPU; bf16: convolutions on a CPU (default fp32)",
    )
    p.add_argument("--amp_level", choices=["O1", "O2"], help="Paddle's AMP level for fp16 (default O1)")
    p.add_argument(
        "--to_static_training",
        action="store_true",
        default=None,
        help="compile the model to a static graph and train that",
    )
    p.add_argument(
        "--data_format",
        choices=["NCHW", "NHWC"],
        default="NCHW",
        help="tensor layout; NHWC only for DeepLabV3P (default NCHW)",
    )
    p.add_argument(
        "--repeats",
        type=whole_number(1, 10_000),
        default=1,
        help="number of times each sample occurs in an epoch (default 1)",
    )
    p.add_argument(
        "--patience",
        type=whole_number(1),
        metavar="N",
        help="with --do_eval, stop after N evaluations in a row without a better score (default: never)",
    )
    p.add_argument(
        "--early_stop_intervals",
        dest="patience",
        type=whole_number(1),
        metavar="N",
        help="the same, as PaddleSeg calls it (default: never)",
    )
    arguments.add_multilabel(p)
    p.add_argument(
        "--profiler_options", help="options for PaddleSeg's profiler, such as batch_range=[10,20] (default: none)"
    )
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.config import load_config
    from paddle_rtseg.training import run

    options = dict(vars(args))
    overrides = {name: options.pop(name) for name in ("opts", "learning_rate", "iters", "batch_size")}
    run.train(load_config(options.pop("config"), **overrides), **options)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
