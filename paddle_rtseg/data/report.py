"""Check a config's datasets and print a report, for ``python -m paddle_rtseg.check_dataset``."""

from typing import Sequence

from paddleseg.cvlibs import Config
from tqdm import tqdm

from ..config import Builder, reporting
from .check import Report, check_dataset
from .palettes import classes_and_palette


def check_config(config: Config, limit: int = 20) -> int:
    """Check the training and validation data of a config, and print the results.

    Args:
        config: from :func:`paddle_rtseg.config.load_config`.
        limit: maximum number of defects to print for each dataset.

    Returns:
        The number of problems: defects, and classes that never occur in the training data.

    Raises:
        InputError: a dataset cannot be built, for example because its file list is missing.
    """
    builder = Builder(config)
    defects = 0
    for name in ("train_dataset", "val_dataset"):
        if name not in config.dic:
            continue
        with reporting(f"the config's {name} cannot be read"):
            dataset = getattr(builder, name)
        total = len(dataset.file_list)
        report = check_dataset(dataset, lambda pairs: tqdm(pairs, name, total, leave=False))  # noqa: B023
        print(f"\n{name}: {type(dataset).__name__}, {total} pairs, {len(report.defects)} with a defect")
        names, _ = classes_and_palette(config.dic.get("data") or type(dataset).__name__, dataset.num_classes)
        print(as_text(report, names, limit))
        defects += len(report.defects) + (len(report.absent) if name == "train_dataset" else 0)
    return defects


def as_text(report: Report, classes: Sequence[str], limit: int) -> str:
    """Up to ``limit`` defects, and the share of pixels and the number of images of each class."""
    lines = [f"  {defect}" for defect in report.defects[:limit]]
    if len(report.defects) > limit:
        lines.append(f"  ... and {len(report.defects) - limit} more (--limit)")
    total = max(1, report.pixels.sum())
    lines.append(f"  {'class':>22}  share of pixels  images")
    for i, name in enumerate(classes):
        found = f"{report.pixels[i] / total:15.3%}  {report.images[i]:6}" if report.pixels[i] else "never occurs"
        lines.append(f"  {i:5} {name:>16}  {found}")
    lines.append(f"  {'ignored':>22}  {report.ignored / (total + report.ignored):15.3%}")
    return "\n".join(lines)
