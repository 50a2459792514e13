"""How a patch is applied: as a diff of a few expressions, to one function, in place.

Most of what is wrong is a missing cast in the middle of a long method. Writing the method anew would copy PaddleSeg
and hide the change; a patch here is only the text that is wrong and the text that is right. The function's code
object is replaced, not the function, so whoever imported it already has the mended one too.

A patch looks at the source text and applies only where the wrong text stands: PaddleSeg's git checkouts all call
themselves 0.0.0.dev0, so their version says nothing.
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
    """One mend of one function."""

    name: str
    #: What goes wrong without it.
    mends: str
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
        """Mend the function if the defect is there and not mended yet; return whether it was."""
        if self.name in _in_place or paddle_version() < self.paddle:
            return False
        function = _find(self.where)
        if function is None or not _rewrite(function, self.changes):
            return False
        function.__globals__.update(self.names or {})
        _in_place.add(self.name)
        return True

    def undo(self) -> bool:
        """Put the wrong texts back if :meth:`apply` has replaced them; return whether it had."""
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
    """The function that ``where`` names, or None where this PaddleSeg has no such thing."""
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
    """Replace texts in the source of ``function`` and give it the code that results; False if one is not there."""
    source = inspect.getsource(function)
    if not all(old in source for old, _ in changes):
        return False
    for old, new in changes:
        source = source.replace(old, new)
    # Tracebacks and `inspect` find the source that really runs under a name of its own in linecache, at the lines
    # where PaddleSeg has it.
    filename = (
        f"<{function.__module__}.{function.__qualname__} mended by paddle_rtseg>"  # a comma would confuse Paddle 2.6
    )
    lines_before = function.__code__.co_firstlineno - 1
    lines = ["\n"] * lines_before + source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    module_code = compile("\n" * lines_before + textwrap.dedent(source), filename, "exec", dont_inherit=True)
    function.__code__ = next(c for c in module_code.co_consts if getattr(c, "co_name", None) == function.__name__)
    return True
