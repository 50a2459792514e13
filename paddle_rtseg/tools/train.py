"""Train a model from a PaddleSeg config: ``python -m paddleseg.train --config FILE.yml``."""

import argparse

from paddle_rtseg.errors import InputError
from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m paddleseg.train", description="Train a model from a PaddleSeg config.")
    arguments.add_common(p)
    p.add_argument("--save_dir", default="./output", help="folder for checkpoints (default ./output)")
    p.add_argument("--iters", type=int, help="iterations")
    p.add_argument("--batch_size", type=int, help="images per process and iteration")
    p.add_argument("--learning_rate", type=float)
    p.add_argument("--seed", type=int, help="seed of Paddle's, NumPy's and Python's random numbers")
    p.add_argument("--num_workers", type=int, default=0, help="processes that load data (default 0: none)")
    p.add_argument("--do_eval", action="store_true", help="evaluate whenever a checkpoint is written")
    p.add_argument("--use_vdl", action="store_true", help="write VisualDL logs into the save folder")
    p.add_argument("--use_ema", action="store_true", help="keep an exponential moving average of the weights too")
    p.add_argument("--save_interval", type=int, default=1000, help="iterations between checkpoints (default 1000)")
    p.add_argument("--keep_checkpoint_max", type=int, default=5, help="checkpoints to keep (default 5)")
    p.add_argument("--log_iters", type=int, default=10, help="iterations between log lines (default 10)")
    p.add_argument(
        "--resume_model",
        metavar="DIR",
        help="checkpoint to go on from, such as output/iter_1000; auto: the last whole one in save_dir, if any",
    )
    p.add_argument(
        "--precision",
        choices=["fp32", "fp16", "bf16"],
        default="fp32",
        help="fp16: automatic mixed precision on a GPU; bf16: convolutions on a CPU (default fp32)",
    )
    p.add_argument("--amp_level", choices=["O1", "O2"], default="O1")
    p.add_argument("--to_static_training", action="store_true", default=None, help="train the compiled graph")
    p.add_argument("--data_format", choices=["NCHW", "NHWC"], default="NCHW", help="NHWC: DeepLabV3P only")
    p.add_argument("--repeats", type=int, default=1, help="times that each sample occurs in an epoch (default 1)")
    p.add_argument("--early_stop_intervals", type=int, help="stop after so many evaluations without a gain")
    p.add_argument("--use_multilabel", action="store_true", default=None, help="multi-label segmentation")
    p.add_argument("--profiler_options", help="options of PaddleSeg's profiler")
    return p


def main(args: argparse.Namespace) -> None:
    import inspect

    from paddleseg.core import train
    from paddleseg.utils import utils
    from rtseg_inference import processor

    from paddle_rtseg.config import Builder, load_config, reporting, use_data_format
    from paddle_rtseg.files import make_folder
    from paddle_rtseg.training import checkpoints, onednn

    config = load_config(
        args.config,
        learning_rate=args.learning_rate,
        iters=args.iters,
        batch_size=args.batch_size,
        opts=args.opts,
    )
    if args.precision == "bf16":
        processor.require("bf16")
    device = arguments.set_device(args.device)
    make_folder(args.save_dir)
    if args.resume_model == "auto":
        args.resume_model = checkpoints.latest_whole_checkpoint(args.save_dir)
    elif args.resume_model:
        checkpoints.check_whole(args.resume_model)
    use_data_format(config, args.data_format)
    utils.show_env_info()
    utils.show_cfg_info(config)
    utils.set_seed(args.seed)
    utils.set_cv2_num_threads(args.num_workers)

    compiled = bool(args.to_static_training or config.to_static_training)
    if compiled and args.precision == "bf16":
        raise InputError("--precision bf16 cannot train a compiled graph; leave out --to_static_training")

    builder = Builder(config)
    with reporting("the config's model or datasets do not fit together"):
        model = utils.convert_sync_batchnorm(builder.model, device)
        if not compiled:  # a compiled graph has no place for oneDNN's own calls
            onednn.accelerate(model, "bf16" if args.precision == "bf16" else "fp32")
        train_dataset = builder.train_dataset
        val_dataset = builder.val_dataset if args.do_eval else None
    train_dataset.file_list *= args.repeats

    # What only some releases of PaddleSeg can do is passed on only when asked for.
    optional = {
        "early_stop_intervals": args.early_stop_intervals,
        "use_multilabel": args.use_multilabel,
    }
    optional = {name: value for name, value in optional.items() if value is not None}
    for name in optional.keys() - inspect.signature(train).parameters.keys():
        raise InputError(f"--{name} needs a newer PaddleSeg than the one installed; leave it out or install that")

    train(
        model,
        train_dataset,
        val_dataset=val_dataset,
        optimizer=builder.optimizer,
        losses=builder.loss,
        iters=config.iters,
        batch_size=config.batch_size,
        test_config=config.test_config,
        to_static_training=compiled,
        precision="fp16" if args.precision == "fp16" else "fp32",
        **{name: getattr(args, name) for name in _PASSED_ON},
        **optional,
    )


_PASSED_ON = (
    *("save_dir", "save_interval", "keep_checkpoint_max", "log_iters", "num_workers"),
    *("resume_model", "use_vdl", "use_ema", "amp_level", "profiler_options"),
)


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
