"""What the values of a config must satisfy before anything is built: ``CHECKS``, in the order in which they run.

Each takes the values, raises :class:`InputError` for what cannot work, and changes nothing.
"""

import inspect
import math
import re
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

import paddle
from paddleseg.cvlibs import manager

from .config_files import nearest, note
from .data.keypoints import CocoKeypoints
from .errors import InputError
from .pose.skeletons import skeleton
from .weights.limits import quote
from .zoo import check_arguments, find_component

Values = Dict[str, Any]

HEATMAP_LOSS = "HeatmapMSELoss"
MAX_SIDE = 1 << 16  # pixels
MAX_CLASSES = 1 << 16
MAX_STEPS = (1 << 31) - 1

#: Transforms of PaddleSeg that change the geometry of an image without noting how, so that no prediction can be mapped
#: back to it: those for training.
ONLY_TRAINING = (
    *("RandomHorizontalFlip", "RandomVerticalFlip", "RandomPaddingCrop", "RandomCenterCrop", "ScalePadding"),
    *("ResizeRangeScaling", "ResizeStepScaling", "RandomRotation", "RandomScaleAspect", "RandomAffine"),
    "RandomSelectAug",
)


class Range(NamedTuple):
    """The numbers from ``low`` to ``high``."""

    low: float
    high: float = math.inf
    whole: bool = False
    above: bool = False  #: without ``low`` itself

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        bounded = math.isfinite(self.high)
        if self.above:
            return f"{kind} above {self.low}" + (f" and up to {self.high}" if bounded else "")
        return f"{kind} from {self.low} to {self.high}" if bounded else f"{kind} of {self.low} or more"

    def __contains__(self, value: Any) -> bool:
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high


POSITIVE = Range(0, above=True)
NOT_NEGATIVE = Range(0)
SHARE = Range(0, 1)
STEPS = Range(1, MAX_STEPS, whole=True)
SIDE = Range(1, MAX_SIDE, whole=True)
CLASSES = Range(1, MAX_CLASSES, whole=True)

#: Keys whose value may be a list of numbers.
LISTS = (
    *("target_size", "crop_size", "stride", "size", "scales", "custom_color", "values", "coef", "weight", "std"),
    *("in_channels", "short_size"),
)
#: Numbers of a config by their key, in the section of that name or in a part of it.
TOP = {"batch_size": Range(1, MAX_STEPS, whole=True), "iters": STEPS}
SCHEDULE = {
    **dict.fromkeys(("learning_rate", "base_learning_rate", "max_learning_rate", "values"), POSITIVE),
    **dict.fromkeys(("power", "gamma", "factor", "divide_factor"), POSITIVE),
    **dict.fromkeys(("warmup_start_lr", "end_lr", "eta_min", "min_lr", "end_learning_rate"), NOT_NEGATIVE),
    **dict.fromkeys(("decay_steps", "step_size", "step_size_up", "step_size_down", "T_max", "T_0", "T_mult"), STEPS),
    **dict.fromkeys(("total_steps", "d_model"), STEPS),
    **dict.fromkeys(("warmup_iters", "patience", "cooldown"), Range(0, MAX_STEPS, whole=True)),
}
OPTIMIZER = {
    **dict.fromkeys(("momentum", "beta1", "beta2"), SHARE),
    **dict.fromkeys(("weight_decay", "layerwise_decay"), NOT_NEGATIVE),
    "epsilon": POSITIVE,
}
PARTS = {  # of the model, the datasets and the losses
    **dict.fromkeys(("num_classes", "num_class", "num_keypoints"), CLASSES),
    **dict.fromkeys(("in_channels", "img_channels"), Range(1, 1 << 10, whole=True)),
    "ignore_index": Range(-MAX_STEPS, MAX_STEPS, whole=True),
}
TRANSFORMS = {
    **dict.fromkeys(("target_size", "crop_size", "long_size", "short_size", "size", "size_divisor"), SIDE),
    **dict.fromkeys(("max_long", "min_long", "min_value", "max_value"), SIDE),
    **dict.fromkeys(("prob", "brightness_prob", "contrast_prob", "saturation_prob", "hue_prob"), SHARE),
    **dict.fromkeys(("min_scale_factor", "max_scale_factor", "std", "max_size"), POSITIVE),
}
TEST_TIME = {
    "scales": Range(0, 100, above=True),
    "crop_size": SIDE,
    "stride": SIDE,
    "custom_color": Range(0, 255, whole=True),
}
TEST_SWITCHES = (
    *("aug_eval", "aug_pred", "flip_horizontal", "flip_vertical", "is_slide", "auc_roc", "use_multilabel"),
)
#: Sections that name the type of what is built from them.
TYPED = ("model", "teacher", "train_dataset", "val_dataset", "optimizer", "lr_scheduler")
SWITCHES = ("to_static_training", "print_mem_info", "uniform_output_enabled")


def check_config(values: Values) -> None:
    """Raise :class:`InputError` for the first check of ``CHECKS`` that fails, after :func:`check_mappings`."""
    for check in CHECKS:
        check(values)


def check_mappings(values: Values) -> None:
    """Sections are mappings."""
    for name in (*TYPED, "loss", "distill_loss", "test_config"):
        if name in values:
            _mapping(values[name], name)


def check_sections(values: Values) -> None:
    """Sections of a component name its type, and switches are true or false."""
    for name in TYPED:
        if name in values:
            _mapping(values[name], name, with_type=True)
    for name in ("train_dataset", "val_dataset"):
        transforms = values.get(name, {}).get("transforms") or []
        _expect(isinstance(transforms, list), f"a list as {name}.transforms", transforms)
        for transform in transforms:
            _mapping(transform, f"an item of {name}.transforms", with_type=True)
    for name in SWITCHES:
        _expect(isinstance(values.get(name, False), bool), f"true or false as {name}", values.get(name))
    shuffle = values.get("train_dataset", {}).get("shuffle", True)
    _expect(isinstance(shuffle, bool), "true or false as train_dataset.shuffle", shuffle)
    ranks = values.get("log_ranks", 0)
    text = ",".join(map(str, ranks)) if isinstance(ranks, list) else str(ranks)
    _expect(re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", text), "process numbers such as 0,1 as log_ranks", ranks)


def check_components(values: Values) -> None:
    """Every mapping with a "type" names a component and gives it arguments it takes."""
    for name, value in values.items():
        if name == "lr_scheduler":
            check_arguments(_schedule(value["type"]), _without(value, "type", "warmup_iters", "warmup_start_lr"))
            continue
        for component in _components(value):
            # shuffle: develop's PaddleSeg takes it out
            own = ("shuffle",) if component is value and name == "train_dataset" else ()
            check_arguments(find_component(_modern_name(component)), _without(component, "type", *own))


def check_numbers(values: Values) -> None:
    """Numbers are numbers, and in range."""
    _check_range(values, TOP, "")
    _check_range(values.get("lr_scheduler", {}), SCHEDULE, "lr_scheduler.")
    _check_range(values.get("optimizer", {}), OPTIMIZER, "optimizer.")
    for name in ("model", "teacher", "train_dataset", "val_dataset", "loss", "distill_loss"):
        for component in _components(values.get(name)):
            _check_range(component, PARTS, f"{component['type']}'s ")
        for transform in values.get(name, {}).get("transforms") or []:
            for component in _components(transform):
                _check_range(component, TRANSFORMS, f"{component['type']}'s ")
    schedule = values.get("lr_scheduler", {})
    if "warmup_iters" in schedule and not {"warmup_start_lr", "learning_rate"} <= schedule.keys():
        raise InputError(
            "expected warmup_start_lr and learning_rate with lr_scheduler.warmup_iters, got at most one; add them"
        )


def check_losses(values: Values) -> None:
    """A coefficient for each loss, and a weight for each class."""
    classes = num_classes(values)
    for name in ("loss", "distill_loss"):
        if name not in values:
            continue
        section = values[name]
        for key in section.keys() - {"types", "coef"}:
            raise InputError(f"{name} has an unknown key {quote(key)!r}; {nearest(key, ('types', 'coef'))}")
        types, coefs = section.get("types"), section.get("coef")
        for key, items in (("types", types), ("coef", coefs)):
            _expect(isinstance(items, list) and items, f"a list as {name}.{key}", items)
        for item in types:
            _mapping(item, f"an item of {name}.types", with_type=True)
        if len(types) not in (1, len(coefs)):
            raise InputError(
                f"expected as many items in {name}.coef as in {name}.types, {len(types)}, got {len(coefs)}; make them "
                "equal"
            )
        _check_range(section, {"coef": NOT_NEGATIVE}, f"{name}.")
        edges = has_edges(values)
        for component in _components(types):
            _check_loss(component, classes, edges)


def check_teacher(values: Values) -> None:
    """A trained network to learn from, and losses that compare two networks."""
    if "teacher" not in values:
        if "distill_loss" in values:
            note("distill_loss has no effect: the config has no teacher")
        return
    if not values["teacher"].get("pretrained"):
        raise InputError("expected trained weights of the teacher, got none; name them in teacher.pretrained")
    if "distill_loss" not in values:
        raise InputError("expected a distill_loss with the teacher, got none; add it, such as a KLLoss")
    ours, its = channels(values), channels({**values, "model": values["teacher"]})
    if ours != its:
        raise InputError(
            f"expected a teacher for images of {ours} channels, as the model takes, got {its}; choose another"
        )
    for loss in values["distill_loss"]["types"]:
        if loss["type"] != "KLLoss":
            raise InputError(f"expected KLLoss in distill_loss, got {quote(loss['type'])}; replace it")


def check_test_time(values: Values) -> None:
    """The keys and the values of ``test_config``."""
    check_test_config(values.get("test_config", {}), "test_config.")


def check_test_config(settings: Mapping[str, Any], prefix: str) -> None:
    """Check settings of evaluation or prediction; ``prefix`` is put before a key's name in messages.

    Raises:
        InputError: an unknown key, a value out of range, or a window without a size or smaller than its stride.
    """
    known = (*TEST_SWITCHES, *TEST_TIME)
    for key, value in settings.items():
        if key not in known:
            raise InputError(f"expected no {quote(prefix + key)!r}; {nearest(key, known)}")
        if key in TEST_SWITCHES:
            _expect(isinstance(value, bool), f"true or false as {prefix}{key}", value)
    _check_range(settings, TEST_TIME, prefix)
    colours = settings.get("custom_color", [])
    if not isinstance(colours, (list, tuple)) or len(colours) % 3 or len(colours) > 3 * 256:
        raise InputError(
            f"expected red, green and blue of each class as {prefix}custom_color, at most 256 times, got "
            f"{quote(colours)!r}; correct it"
        )
    if not settings.get("is_slide"):
        return
    crop, stride = (settings.get(key) for key in ("crop_size", "stride"))
    for key, pair in (("crop_size", crop), ("stride", stride)):
        _expect(isinstance(pair, (list, tuple)) and len(pair) == 2, f"width and height as {prefix}{key}", pair)
    if any(step > side for step, side in zip(stride, crop)):
        raise InputError(
            f"expected a {prefix}stride of at most the {prefix}crop_size, {crop[0]} x {crop[1]}, got {stride[0]} x "
            f"{stride[1]}, which leaves pixels out; lower it"
        )


def check_classes(values: Values) -> None:
    """The network and the data have the same number of classes."""
    counts = dict(_class_counts(values))
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise InputError(f"expected one number of classes in model and datasets, got {got}; make them equal")


def check_channels(values: Values) -> None:
    """The data have as many channels as the network takes."""
    expected = channels(values)
    for name in ("train_dataset", "val_dataset"):
        if name not in values:
            continue
        found = _data_channels(values[name])
        if found != expected:
            raise InputError(
                f"expected images of {expected} channels, as the model takes, got {found} in {name}; set its "
                "img_channels or the in_channels of the model's backbone"
            )
        for transform in values[name].get("transforms") or []:
            for key in ("mean", "std") if transform["type"] == "Normalize" else ():
                numbers = transform.get(key, [0.5])
                _expect(isinstance(numbers, list), f"a list as Normalize's {key}", numbers)
                if len(numbers) not in (1, expected):
                    raise InputError(
                        f"expected one {key} or {expected} in the Normalize of {name}, one for each channel, got "
                        f"{len(numbers)}; correct it"
                    )


def check_poses(values: Values) -> None:
    """A network for poses has persons as data, a heatmap for each of their keypoints, and a loss that compares them."""
    model = values.get("model", {})
    for name in ("train_dataset", "val_dataset"):
        dataset = values.get(name)
        if dataset is None or not model:
            continue
        of_persons = _is_of_persons(dataset)
        if of_persons != ("num_keypoints" in model):
            raise InputError(
                f"expected a network with num_keypoints for CocoKeypoints, and no other, got {model['type']} and "
                f"{dataset['type']} as {name}; change one of them"
            )
        count = len(skeleton(dataset.get("skeleton", "coco")).names) if of_persons else None
        if count != model.get("num_keypoints"):
            raise InputError(
                f"expected a heatmap for each of the {count} keypoints of {name}'s skeleton, got num_keypoints "
                f"{model['num_keypoints']}; correct it or the skeleton"
            )
    for loss in _components(values.get("loss", {}).get("types")) if model else ():
        if ("num_keypoints" in model) != (loss["type"] == HEATMAP_LOSS) and _is_builtin(loss["type"]):
            raise InputError(
                f"expected {HEATMAP_LOSS} for a network with num_keypoints, and for no other, got {loss['type']} for "
                f"{model['type']}; change the loss"
            )


CHECKS: Sequence[Callable[[Values], None]] = (
    *(check_sections, check_numbers, check_components, check_losses, check_teacher, check_test_time, check_poses),
    *(check_classes, check_channels),
)


def check_prediction(values: Values) -> None:
    """The transforms of ``val_dataset`` can be undone, which val, predict and export need.

    Raises:
        InputError: one of them changes the geometry, but is no resize or padding.
    """
    for component in _components(values.get("val_dataset", {}).get("transforms") or []):
        if component["type"] in ONLY_TRAINING:
            raise InputError(
                "expected the val_dataset's transforms to change the geometry by a resize and a padding only, got "
                f"{component['type']}, which is for training; remove it"
            )


def channels(values: Values) -> int:
    """Channels of the images that the config's network takes, by PaddleSeg's rule."""
    model = values.get("model", {})
    holder = model.get("backbone", model)
    stated = holder.get("in_channels") if isinstance(holder, dict) else None
    if isinstance(stated, int):
        return stated
    return next((_data_channels(values[n]) for n in ("train_dataset", "val_dataset") if n in values), 3)


def num_classes(values: Values) -> Optional[int]:
    """Number of classes, where the model or a dataset states it."""
    return next((count for _, count in _class_counts(values)), None)


def has_edges(values: Values) -> bool:
    """Whether the training data have labels of edges beside those of classes."""
    dataset = values.get("train_dataset", {})
    return bool(dataset.get("edge")) or any(c["type"] == "AddEdgeLabel" for c in _components(dataset))


def _class_counts(values: Values) -> Iterator[Tuple[str, int]]:
    for name in ("model", "teacher"):
        if "num_classes" in values.get(name, {}):
            yield name, values[name]["num_classes"]
    for name in ("train_dataset", "val_dataset"):
        if name in values:
            count = values[name].get("num_classes") or _dataset_attribute(values[name], "NUM_CLASSES")
            if count:
                yield name, count


def _data_channels(dataset: Values) -> int:
    return dataset.get("img_channels") or _dataset_attribute(dataset, "IMG_CHANNELS") or 3


def _dataset_attribute(dataset: Values, name: str) -> Optional[int]:
    found = manager.DATASETS.components_dict.get(dataset.get("type"))
    return getattr(found, name, None)


def _is_of_persons(dataset: Values) -> bool:
    found = manager.DATASETS.components_dict.get(dataset["type"])
    return isinstance(found, type) and issubclass(found, CocoKeypoints)


def _is_builtin(loss: str) -> bool:
    """Whether it is a loss of PaddleSeg or of this package."""
    module = getattr(manager.LOSSES.components_dict.get(loss), "__module__", "")
    return module.startswith(("paddleseg.", "paddle_rtseg."))


def _check_loss(loss: Values, classes: Optional[int], edges: bool) -> None:
    if loss.get("edge_label") and not edges:
        raise InputError(
            f"expected labels of edges for {loss['type']}'s edge_label, got none; set train_dataset.edge: true"
        )
    weight = loss.get("weight")
    if isinstance(weight, list):
        _check_range(loss, {"weight": NOT_NEGATIVE}, f"{loss['type']}'s ")
        if classes and len(weight) != classes:
            raise InputError(
                f"expected {classes} numbers as {loss['type']}'s weight, one for each class, got {len(weight)}; "
                "correct it or set it to null"
            )
    if loss["type"] == "MixedLoss":
        losses, coefs = loss.get("losses"), loss.get("coef")
        if not isinstance(losses, list) or not isinstance(coefs, list) or len(losses) != len(coefs):
            raise InputError(
                "expected lists of the same length as MixedLoss's losses and coef, got others; correct them"
            )


def _schedule(name: Any) -> Any:
    known = [key for key, item in vars(paddle.optimizer.lr).items() if _is_schedule(item)]
    if name not in known:
        raise InputError(
            f"expected a schedule of paddle.optimizer.lr as lr_scheduler.type, got {quote(name)!r}; "
            f"{nearest(name, known)}"
        )
    return getattr(paddle.optimizer.lr, name)


def _is_schedule(item: Any) -> bool:
    return inspect.isclass(item) and issubclass(item, paddle.optimizer.lr.LRScheduler)


def _modern_name(component: Values) -> Any:
    """PaddleSeg still accepts the optimizers' old names."""
    name = {"adam": "Adam", "sgd": "SGD"}.get(str(component["type"]), component["type"])
    return "Momentum" if name == "SGD" and "momentum" in component else name


def _components(value: Any) -> Iterator[Values]:
    """Every mapping with a "type" in ``value``, the outer ones first."""
    if isinstance(value, list):
        for item in value:
            yield from _components(item)
    elif isinstance(value, dict):
        if "type" in value:
            yield value
        for item in value.values():
            yield from _components(item)


def _without(values: Values, *keys: str) -> Values:
    return {key: value for key, value in values.items() if key not in keys}


def _check_range(values: Mapping[str, Any], ranges: Mapping[str, Range], prefix: str) -> None:
    for key in values.keys() & ranges.keys():
        is_list = isinstance(values[key], (list, tuple)) and key in LISTS
        for item in values[key] if is_list else [values[key]]:
            if item is not None and item not in ranges[key]:
                raise InputError(f"expected {ranges[key]} as {prefix}{key}, got {quote(item)!r}; {_how_to_write(item)}")


def _how_to_write(value: Any) -> str:
    """How to correct a number: PyYAML takes 1e-3, without a point, for text."""
    try:
        return f"write {float(value)!r}" if isinstance(value, str) and math.isfinite(float(value)) else "correct it"
    except ValueError:
        return "correct it"


def _mapping(value: Any, name: str, with_type: bool = False) -> None:
    _expect(isinstance(value, dict), f"keys and values as {name}", value)
    if with_type and not isinstance(value.get("type"), str):
        raise InputError(f"expected {name} to name its type, got {quote(value.get('type'))}; add 'type: NAME'")


def _expect(holds: Any, what: str, got: Any) -> None:
    if not holds:
        raise InputError(f"expected {what}, got {quote(got)!r}; correct it")
