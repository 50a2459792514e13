"""Check a config's datasets and print a report, for ``python -m paddle_rtseg.check_dataset``."""

from typing import Any, List, Sequence, Tuple

from paddleseg.cvlibs import Config
from rtseg_inference.progress import watched

from ..config import Builder, reporting
from .check import Report, check_dataset, unlisted_images
from .keypoint_check import KeypointReport, check_keypoints
from .keypoints import CocoKeypoints
from .label_forms import advice, command
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
        check = _check_keypoints if config.dic[name]["type"] == CocoKeypoints.__name__ else _check_labels
        dataset, report = check(config, builder, name, limit)
        datasets.append(dataset)
        defects += len(report.defects) + (len(report.absent) if name == "train_dataset" else 0)
    unlisted = unlisted_images(datasets)
    if unlisted:
        print(f"\n{_counted(unlisted, 'image')} in the same folders, named by none of these lists")
    return defects


def _check_labels(config: Config, builder: Builder, name: str, limit: int) -> Tuple[Any, Report]:
    with reporting(f"the config's {name} cannot be read"):
        dataset = getattr(builder, name)
    total = len(dataset.file_list)
    report = check_dataset(dataset, lambda pairs: watched(pairs, total, name))
    print(f"\n{name}: {type(dataset).__name__}, {total} pairs, {len(report.defects)} with a defect")
    names, _ = classes_and_palette(config.dic.get("data") or type(dataset).__name__, dataset.num_classes)
    print(as_text(report, names, limit, dataset.ignore_index))
    print("".join(f"  {line}\n" for line in _labels_to_import(config, dataset, report)), end="")
    return dataset, report


def _labels_to_import(config: Config, dataset: Any, report: Report) -> List[str]:
    """What makes class ids of labels in another form."""
    lines = advice([pair for pair in report.defective if all(pair)], config.dic.get("data"))
    marked = set(report.marked_as_ignored)
    if marked:
        pairs = [(image, label) for image, label in dataset.file_list if label in marked]
        lines.append(f"if {dataset.ignore_index} marks an object, run: {command('binary', pairs)}")
    return lines


def _check_keypoints(config: Config, builder: Builder, name: str, limit: int) -> Tuple[Any, KeypointReport]:
    """The dataset itself cannot be built where an annotation is defective."""
    settings = {key: value for key, value in config.dic[name].items() if key != "type"}
    report = check_keypoints(settings, lambda images, total: watched(images, total, name))
    print(
        f"\n{name}: {CocoKeypoints.__name__}, {report.persons} persons to use in {len(report.file_list)} images, "
        f"{len(report.defects)} defects"
    )
    print(keypoints_as_text(report, limit))
    return report, report


def keypoints_as_text(report: KeypointReport, limit: int) -> str:
    """Up to ``limit`` defects, who is left out, and in how many persons each keypoint is visible."""
    lines = _first(report.defects, limit)
    lines += [f"  {count} annotations left out: {reason}" for reason, count in report.left_out.items()]
    lines += [f"  {remark}" for remark in report.remarks]
    lines.append(f"  {'keypoint':>22}   visible  occluded  of the persons")
    for i, name in enumerate(report.skeleton.names):
        visible, occluded = report.visible[i], report.occluded[i]
        share = (visible + occluded) / max(1, report.persons)
        found = f"{visible:8}  {occluded:8}  {share:14.1%}" if i not in report.absent else "never occurs"
        lines.append(f"  {i:5} {name:>16}  {found}")
    return "\n".join(lines)


def as_text(report: Report, classes: Sequence[str], limit: int, ignore_index: int = 255) -> str:
    """Up to ``limit`` defects, labels to look at, and the share of pixels and the number of images of each class."""
    lines = _first(report.defects, limit)
    if report.marked_as_ignored:
        lines.append(
            f"  {_counted(report.marked_as_ignored, 'label')} with only 0 and {ignore_index}, which is ignored: if "
            f"{ignore_index} marks an object, it must be 1"
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


def _first(defects: Sequence[str], limit: int) -> List[str]:
    """A line for each of the first ``limit`` defects, and one for the others."""
    more = [f"  ... and {len(defects) - limit} more (--limit)"] if len(defects) > limit else []
    return [f"  {defect}" for defect in defects[:limit]] + more


def _counted(paths: Sequence[str], what: str) -> str:
    """Such as "2 labels ('a.png', ...)"."""
    return f"{len(paths)} {what}{'s' * (len(paths) > 1)} ({paths[0]!r}{', ...' * (len(paths) > 1)})"
