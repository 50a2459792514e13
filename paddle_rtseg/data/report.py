"""Check a config's datasets and print a report, for ``python -m paddle_rtseg.check_dataset``."""

from typing import Sequence

from paddleseg.cvlibs import Config
from rtseg_inference.progress import watched

from ..config import Builder, reporting
from .check import Report, check_dataset, unlisted_images
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
    defects, datasets = 0, []
    for name in ("train_dataset", "val_dataset"):
        if name not in config.dic:
            continue
        with reporting(f"the config's {name} cannot be read"):
            dataset = getattr(builder, name)
        datasets.append(dataset)
        total = len(dataset.file_list)
        report = check_dataset(dataset, lambda pairs: watched(pairs, total, name))  # noqa: B023
        print(f"\n{name}: {type(dataset).__name__}, {total} pairs, {len(report.defects)} with a defect")
        names, _ = classes_and_palette(config.dic.get("data") or type(dataset).__name__, dataset.num_classes)
        print(as_text(report, names, limit, dataset.ignore_index))
        defects += len(report.defects) + (len(report.absent) if name == "train_dataset" else 0)
    unlisted = unlisted_images(datasets)
    if unlisted:
        print(f"\n{_counted(unlisted, 'image')} in the same folders, named by none of these lists")
    return defects


def as_text(report: Report, classes: Sequence[str], limit: int, ignore_index: int = 255) -> str:
    """Up to ``limit`` defects, labels to look at, and the share of pixels and the number of images of each class."""
    lines = [f"  {defect}" for defect in report.defects[:limit]]
    if len(report.defects) > limit:
        lines.append(f"  ... and {len(report.defects) - limit} more (--limit)")
    if report.marked_as_ignored:
        lines.append(
            f"  {_counted(report.marked_as_ignored, 'label')} with only 0 and {ignore_index}, which is ignored: if "
            f"{ignore_index} marks an object, change it to 1, as import_labels does"
        )
    if report.empty:
        lines.append(
            f"  {_counted(report.empty, 'label')} with only {ignore_index}, which is ignored: nothing to learn"
        )
    total = max(1, report.pixels.sum())
    lines.append(f"  {'class':>22}  share of pixels  images")
    for i, name in enumerate(classes):
        found = f"{report.pixels[i] / total:15.3%}  {report.images[i]:6}" if report.pixels[i] else "never occurs"
        lines.append(f"  {i:5} {name:>16}  {found}")
    lines.append(f"  {'ignored':>22}  {report.ignored / (total + report.ignored):15.3%}")
    return "\n".join(lines)


def _counted(paths: Sequence[str], what: str) -> str:
    """Such as "2 labels ('a.png', ...)"."""
    return f"{len(paths)} {what}{'s' * (len(paths) > 1)} ({paths[0]!r}{', ...' * (len(paths) > 1)})"
