"""Check every image and label of a config's datasets: ``python -m paddle_rtseg.check_dataset --config FILE.yml``."""

import argparse

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m paddle_rtseg.check_dataset",
        description="Read every image and label of a config's datasets. The status is 1 if training would stumble.",
    )
    arguments.add_config(p)
    p.add_argument("--limit", type=int, default=20, help="defects to print for each dataset (default 20)")
    return p


def main(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from paddle_rtseg.config import Builder, load_config, reporting
    from paddle_rtseg.data.check import check_dataset
    from paddle_rtseg.data.palettes import classes_and_palette

    config = load_config(args.config, opts=args.opts)
    builder = Builder(config)
    defects = 0
    for name in ("train_dataset", "val_dataset"):
        if name not in config.dic:
            continue
        with reporting(f"the config's {name} cannot be read"):
            dataset = getattr(builder, name)
        report = check_dataset(dataset, lambda pairs: tqdm(pairs, name, len(dataset.file_list), leave=False))  # noqa: B023
        classes, _ = classes_and_palette(type(dataset).__name__, dataset.num_classes)

        print(
            f"\n{name}: {type(dataset).__name__}, {len(dataset.file_list)} pairs, {len(report.defects)} with a defect"
        )
        for defect in report.defects[: args.limit]:
            print(f"  {defect}")
        if len(report.defects) > args.limit:
            print(f"  ... and {len(report.defects) - args.limit} more (--limit)")

        total = max(1, report.pixels.sum())
        print(f"  {'class':>22}  share of pixels  images")
        for i, class_name in enumerate(classes):
            found = f"{report.pixels[i] / total:15.3%}  {report.images[i]:6}" if report.pixels[i] else "never occurs"
            print(f"  {i:5} {class_name:>16}  {found}")
        print(f"  {'ignored':>22}  {report.ignored / (total + report.ignored):15.3%}")
        defects += len(report.defects) + (len(report.absent) if name == "train_dataset" else 0)
    return 1 if defects else 0


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
