"""Evaluate weights on a config's validation data: ``python -m paddleseg.val --config FILE.yml --model_path W``."""

import argparse

from rtseg_inference.arguments import Parser

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="python -m paddleseg.val", description="Evaluate weights on the validation data.")
    arguments.add_common(p)
    arguments.add_weights(p)
    arguments.add_workers(p)
    arguments.add_test_time(p, "aug_eval")
    p.add_argument(
        "--data_format",
        choices=["NCHW", "NHWC"],
        default="NCHW",
        help="tensor layout; NHWC only for DeepLabV3P (default NCHW)",
    )
    arguments.add_multilabel(p)
    p.add_argument(
        "--auc_roc",
        type=arguments.true_or_false,
        metavar="BOOL",
        help="also print the area under the ROC curve (True or False; default: the config's, or False)",
    )
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.config import load_config
    from paddle_rtseg.training import run

    options = dict(vars(args))
    config = load_config(options.pop("config"), opts=options.pop("opts"))
    run.evaluate(config, options.pop("model_path"), **options)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
