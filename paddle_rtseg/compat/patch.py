"""How a patch is applied: as a diff of a few expressions, to one function, in place.

Most defects are a missing cast in the middle of a long method. A replacement for the method would copy PaddleSeg and
hide the change, so a patch consists of the wrong text and the right text only. It replaces the function's code object,
not the function, so modules that imported the function earlier are patched too.

A patch applies only if the source contains the wrong text: PaddleSeg's git checkouts all report version 0.0.0.dev0,
so the version tells nothing.
"""

import importlib
import inspect
import linecache
import re
import textwrap
import types
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

_in_place = set()


@dataclass(frozen=True)
class Patch:
    """One correction of one function."""

    name: str
    #: What goes wrong without it.
    defect: str
    #: PaddleSeg versions whose source has the wrong text.
    paddleseg: str
    #: The function, as ``module:name`` or ``module:Class.name``.
    where: str
    #: (wrong, right) texts; each wrong text may stand in the function more than once.
    changes: Sequence[Tuple[str, str]]
    #: The first Paddle version on which it goes wrong, as (major, minor).
    paddle: Tuple[int, int] = (2, 5)
    #: Names that the right texts need in the function's module.
    names: Optional[Mapping[str, Any]] = None
    #: The day on which it was last seen to be needed.
    seen: str = "2026-11-21"

    def apply(self) -> bool:
        """Patch the function if it has the defect and is not patched yet; return whether it was patched now."""
        if self.name in _in_place or paddle_version() < self.paddle:
            return False
        function = _find(self.where)
        if function is None or not _rewrite(function, self.changes):
            return False
        function.__globals__.update(self.names or {})
        _in_place.add(self.name)
        return True

    def undo(self) -> bool:
        """Restore the wrong texts if :meth:`apply` has replaced them; return whether it had."""
        if self.name not in _in_place:
            return False
        _in_place.remove(self.name)
        return _rewrite(_find(self.where), [(right, wrong) for wrong, right in self.changes])


def paddle_version() -> Tuple[int, int]:
    """(major, minor) of the running Paddle; its development builds, which report 0.0, count as newer than all."""
    import paddle

    major, minor = re.match(r"(\d+)\.(\d+)", paddle.__version__).groups()
    return (int(major), int(minor)) if (major, minor) != ("0", "0") else (99, 0)


def _find(where: str) -> Optional[types.FunctionType]:
    """The function that ``where`` names, or None if this PaddleSeg does not have it."""
    module_name, _, path = where.partition(":")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if module_name.startswith(e.name):
            return None
        raise
    for name in path.split("."):
        found = inspect.getattr_static(found, name, None)
    return found.fget if isinstance(found, property) else found


def _rewrite(function: types.FunctionType, changes: Sequence[Tuple[str, str]]) -> bool:
    """Replace texts in the source of ``function`` and use the resulting code; False if a text is missing."""
    source = inspect.getsource(function)
    if not all(old in source for old, _ in changes):
        return False
    for old, new in changes:
        source = source.replace(old, new)
    # Tracebacks and `inspect` find the patched source in linecache under a file name of its own, at PaddleSeg's lines.
    filename = (
        f"<{function.__module__}.{function.__qualname__} patched by paddle_rtseg>"  # a comma would confuse Paddle 2.6
    )
    lines_before = function.__code__.co_firstlineno - 1
    lines = ["\n"] * lines_before + source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    module_code = compile("\n" * lines_before + textwrap.dedent(source), filename, "exec", dont_inherit=True)
    function.__code__ = next(c for c in module_code.co_consts if getattr(c, "co_name", None) == function.__name__)
    return True
