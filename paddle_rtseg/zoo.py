"""Models by name, through PaddleSeg's component manager."""

import collections.abc
import difflib
import inspect
import math
import numbers
import os
import typing
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Union

from .errors import InputError
from .weights import released
from .weights.limits import quote
from .weights.pretrained import skipping

#: Arguments that number something from 0, where others count.
_FROM_ZERO = ("pre_norm",)


def create_model(name: str, **overrides: Any):
    """Build a model, or a backbone, that PaddleSeg's component manager knows.

    Args:
        name: a registered name, such as "RTFormer_Slim"; see :func:`list_models`.
        overrides: the component's keyword arguments, such as ``num_classes=19``. A dict with a "type" is itself
            built first, as in YAML: ``backbone=dict(type="MiT_B0", token_merging="hq")``. ``pretrained`` is a file
            of weights, or the name of bundled ones, or the data that these were trained on: "camvid". With bundled
            weights, arguments that are not given are those of the network that was trained. If weights are for another
            number of classes, the classifiers start new, and the log names them; ``pretrained_skip`` lists further
            layers that are to be new. Whatever else does not fit is an error.

    Returns:
        The ``paddle.nn.Layer``, with random weights unless ``pretrained`` is given.

    Raises:
        InputError: no such component, or it does not take one of the arguments.
    """
    component = find_component(name)
    check_arguments(component, overrides)
    release = released.find_for(name, overrides.get("pretrained"))
    if release is not None:
        overrides = {**_updated(release.arguments, overrides), "pretrained": release.path}
    _check_complete(component, overrides)
    return construct(component, {key: _build(value) for key, value in overrides.items()})


def _updated(arguments: Mapping[str, Any], overrides: Mapping[str, Any]) -> Dict[str, Any]:
    """``arguments`` with others in their place; a backbone of the same type keeps the arguments that are not given."""
    result = {**arguments, **overrides}
    ours, theirs = arguments.get("backbone"), overrides.get("backbone")
    if ours and isinstance(theirs, dict) and theirs.get("type") == ours["type"]:
        result["backbone"] = {**ours, **theirs}
    return result


def construct(component: Callable, arguments: Mapping[str, Any]) -> Any:
    """``component(**arguments)``, where ``pretrained_skip`` works for PaddleSeg's networks as for this package's."""
    if "pretrained_skip" not in arguments or not _is_paddlesegs(component):
        return component(**arguments)
    rest = dict(arguments)
    with skipping(rest.pop("pretrained_skip")):
        return component(**rest)


def list_models() -> List[str]:
    """Names of this package's models, sorted."""
    from paddleseg.cvlibs import manager

    package = __name__.partition(".")[0]
    components = manager.MODELS.components_dict.items()
    return sorted(name for name, component in components if component.__module__.startswith(package + "."))


def find_component(name: str):
    """The registered class or function called ``name``, whichever of PaddleSeg's managers holds it.

    Raises:
        InputError: none does; the message suggests the nearest names.
    """
    managers = _managers()
    for manager in managers:  # the order of PaddleSeg's builder
        if isinstance(name, str) and name in manager.components_dict:
            return manager[name]
    known = [known for manager in managers for known in manager.components_dict]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "paddle_rtseg.list_models() names this package's models"
    raise InputError(f"expected the name of a registered component, got {quote(repr(name))}; {hint}")


def check_arguments(component: Callable, arguments: Mapping[str, Any]) -> None:
    """Check keywords against what ``component`` takes, itself or through what it hands its keywords to.

    That is the next class in its inheritance, and for a function the class that it says it returns. Values are checked
    against the type hints of this package; PaddleSeg has none.

    Raises:
        InputError: it does not take one of them, and the message names the nearest that it does; or a value has another
            type.
    """
    known, open_ended = set(), True
    for call in _chain(component):
        parameters = inspect.signature(call).parameters.values()
        known |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not open_ended:
            break
    if "pretrained" in known and _is_paddlesegs(component):
        known.add("pretrained_skip")  # see construct
    for name in arguments:
        if name not in known and not open_ended:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
            raise InputError(f"{component.__name__} does not take {name!r}; {hint}")
    _check_values(component, arguments)


def _check_values(component: Callable, arguments: Mapping[str, Any]) -> None:
    """Check values against the types that this package's components declare, and that PaddleSeg's defaults show.

    A network's whole numbers count channels, heads, classes or blocks, and are 1 or more; its fractions are not
    negative.
    """
    package = __name__.partition(".")[0] + "."
    is_network = component.__module__.startswith(package + "models.")
    declared: Dict[str, Any] = {}
    defaults: Dict[str, Any] = {}
    for call in _chain(component):
        if call.__module__.startswith(package):
            declared = {**typing.get_type_hints(call), **declared}
        else:
            defaults = {**{p.name: p.default for p in inspect.signature(call).parameters.values()}, **defaults}
    declared.setdefault("pretrained_skip", Sequence[str])
    for name, value in arguments.items():
        least = 0 if name in _FROM_ZERO else 1
        expected = _mismatch(declared.get(name, Any), name, value, least if is_network else None)
        if name not in declared:
            expected = _unlike(defaults.get(name), value)
        if expected:
            raise InputError(
                f"expected {name} of {component.__name__} to be {expected}, got {quote(repr(value))}; correct it"
            )


def _unlike(default: Any, value: Any) -> Optional[str]:
    """What ``value`` should be to be of a default's kind, in words, for code without type hints; None if it is."""

    def is_number(item: Any) -> bool:
        return item is None or isinstance(item, numbers.Real)  # which True and False are

    if isinstance(default, bool):
        return None if is_number(value) else "true or false"
    if isinstance(default, (int, float)):
        fits = all(map(is_number, value)) if isinstance(value, (list, tuple)) else is_number(value)
        return None if fits else "a number"
    return None


def _mismatch(kind: Any, name: str, value: Any, least: Optional[int]) -> Optional[str]:
    """What ``value`` should be to be of a declared type, in words; None if it is.

    Args:
        least: the smallest whole number; None for a component whose numbers have no common range.
    """
    options = typing.get_args(kind)
    if typing.get_origin(kind) is Union:  # Optional
        wanted = [option for option in options if option is not type(None)]
        if len(wanted) > 1 or (value is None and len(options) > len(wanted)):
            return None  # checked where it is used
        return _mismatch(wanted[0], name, value, least)
    if typing.get_origin(kind) is collections.abc.Sequence:
        fits = isinstance(value, (list, tuple)) and not any(_mismatch(options[0], name, v, least) for v in value)
        return None if fits else f"a list, each item {_mismatch(options[0], name, None, least)}"
    if kind is bool:
        return None if isinstance(value, bool) else "True or False"
    if kind is str:
        return None if isinstance(value, (str, os.PathLike)) else "a text or a path"
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        fits = whole and (least is None or least <= value < 2**31)
        return None if fits else "a whole number" + ("" if least is None else f" of {least} or more")
    if kind is float:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        most = 1 if "drop" in name else math.inf  # a share
        if number and (least is None or 0 <= value < most):
            return None
        return "a number" if least is None else "a number from 0 to below 1" if most == 1 else "a number of 0 or more"
    return None


def _check_complete(component: Callable, arguments: Mapping[str, Any]) -> None:
    """Every argument without a default must be given."""
    parameters = inspect.signature(component).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    for name in needed:
        if name not in arguments:
            example = {"num_classes": "19", "num_keypoints": "17", "backbone": 'dict(type="MiT_B0")'}.get(name, "...")
            raise InputError(f"{component.__name__} needs {name}, got none; pass {name}={example}")


def _chain(component: Callable) -> Iterator[Callable]:
    """The functions that keywords given to ``component`` may reach, the first one first."""
    if not inspect.isclass(component):
        yield component
        component = typing.get_type_hints(component).get("return")
    for level in getattr(component, "__mro__", ()):
        if "__init__" in vars(level) and level is not object:
            yield level.__init__


def _is_paddlesegs(component: Callable) -> bool:
    return component.__module__.startswith("paddleseg.models.")


def _managers():
    from paddleseg.cvlibs import manager as m

    return [m.MODELS, m.BACKBONES, m.DATASETS, m.TRANSFORMS, m.LOSSES, m.OPTIMIZERS]


def _build(value: Any) -> Any:
    if isinstance(value, dict) and "type" in value:
        return create_model(value["type"], **{k: v for k, v in value.items() if k != "type"})
    return value
