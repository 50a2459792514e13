"""Models by name, through PaddleSeg's component manager."""

import collections.abc
import difflib
import inspect
import numbers
import typing
from typing import Any, Callable, Dict, Iterator, List, Mapping

from .errors import InputError
from .weights import released
from .weights.limits import quote


def create_model(name: str, **overrides: Any):
    """Build a model, or a backbone, that PaddleSeg's component manager knows.

    Args:
        name: a registered name, such as "RTFormer_Slim"; see :func:`list_models`.
        overrides: the component's keyword arguments, such as ``num_classes=19``. A dict with a "type" is itself
            built first, as in YAML: ``backbone=dict(type="MiT_B0", token_merging="hq")``. ``pretrained`` is a file
            of weights, or the data that this package's weights were trained on: "camvid" for RTFormer_Slim.

    Returns:
        The ``paddle.nn.Layer``, with random weights unless ``pretrained`` is given.

    Raises:
        InputError: no such component, or it does not take one of the arguments.
    """
    component = find_component(name)
    check_arguments(component, overrides)
    release = released.find(f"{name}_{overrides.get('pretrained')}".lower())
    if release is not None:
        overrides = {**release.arguments, **overrides, "pretrained": release.path}
    return component(**{key: _build(value) for key, value in overrides.items()})


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
        if name in manager.components_dict:
            return manager[name]
    known = [known for manager in managers for known in manager.components_dict]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "paddle_rtseg.list_models() names this package's models"
    raise InputError(f"expected the name of a registered component, got {name!r}; {hint}")


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
    for name in arguments:
        if name not in known and not open_ended:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
            raise InputError(f"{component.__name__} does not take {name!r}; {hint}")
    hints = _hints(component)
    for name, value in arguments.items():
        if name in hints and not _fits(value, hints[name]):
            expected = getattr(hints[name], "__name__", None) if inspect.isclass(hints[name]) else hints[name]
            raise InputError(
                f"{component.__name__} expects {name} to be {str(expected).replace('typing.', '')}, got "
                f"{quote(value)!r}; correct it"
            )


def _hints(component: Callable) -> Dict[str, Any]:
    """The type hints of this package's code for what ``component`` takes."""
    hints: Dict[str, Any] = {}
    for call in _chain(component):
        if call.__module__.partition(".")[0] == __name__.partition(".")[0]:
            hints = {**typing.get_type_hints(call), **hints}
    return hints


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of a config has the type of a hint, as far as the hint speaks of plain values."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind is typing.Union:
        return any(_fits(value, part) for part in parts)
    if kind is collections.abc.Sequence:
        return isinstance(value, (list, tuple)) and all(_fits(item, parts[0]) for item in value)
    if hint in (int, float):
        number = numbers.Integral if hint is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (bool, str, dict, type(None)) else True


def _chain(component: Callable) -> Iterator[Callable]:
    """The functions that keywords given to ``component`` may reach, the first one first."""
    if not inspect.isclass(component):
        yield component
        component = typing.get_type_hints(component).get("return")
    for level in getattr(component, "__mro__", ()):
        if "__init__" in vars(level) and level is not object:
            yield level.__init__


def _managers():
    from paddleseg.cvlibs import manager as m

    return [m.MODELS, m.BACKBONES, m.DATASETS, m.TRANSFORMS, m.LOSSES, m.OPTIMIZERS]


def _build(value: Any) -> Any:
    if isinstance(value, dict) and "type" in value:
        return create_model(value["type"], **{k: v for k, v in value.items() if k != "type"})
    return value
