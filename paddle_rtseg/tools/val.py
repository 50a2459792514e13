"""Evaluate weights on a config's validation data: ``python -m paddleseg.val --config FILE.yml --model_path W``."""

import argparse

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m paddleseg.val", description="Evaluate weights on the validation data.")
    arguments.add_common(p)
    arguments.add_weights(p)
    p.add_argument("--num_workers", type=int, default=0, help="processes that load data (default 0: none)")
    arguments.add_test_time(p, "aug_eval")
    p.add_argument("--data_format", choices=["NCHW", "NHWC"], default="NCHW", help="NHWC: DeepLabV3P only")
    p.add_argument("--auc_roc", type=arguments.true_or_false, default=False, help="also the area under the ROC curve")
    return p


def main(args: argparse.Namespace) -> None:
    from paddleseg.core import evaluate
    from paddleseg.utils import utils

    from paddle_rtseg.config import Builder, load_config, load_model, reporting, use_data_format
    from paddle_rtseg.training import onednn

    config = load_config(args.config, opts=args.opts)
    settings = arguments.test_time_settings(args, config.test_config, "aug_eval")
    arguments.set_device(args.device)
    use_data_format(config, args.data_format)
    utils.show_env_info()
    utils.show_cfg_info(config)

    model = load_model(config, args.model_path)
    onednn.accelerate(model)
    with reporting("the config's validation data cannot be read"):
        dataset = Builder(config).val_dataset
    evaluate(model, dataset, num_workers=args.num_workers, auc_roc=args.auc_roc, **settings)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
