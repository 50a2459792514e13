"""How a patch is applied: as a diff of a few expressions, to one function, in place.

Most defects are a missing cast in the middle of a long method. Rewriting the method would copy PaddleSeg and hide the
change, so a patch holds only the wrong text and the right text. It replaces the function's code object, not the
function, so code that has already imported the function gets the patched version too.

A patch searches the source and applies only where it finds the wrong text. The version does not help: every git
checkout of PaddleSeg reports 0.0.0.dev0.
"""

import importlib
import inspect
import linecache
import re
import textwrap
import types
import warnings
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

_applied = set()  # names of the patches in place
#: The sources of patched functions, as linecache has them.
_sources: Dict[str, Any] = {}


@dataclass(frozen=True)
class Patch:
    """One fix of one function."""

    name: str
    #: What goes wrong without it.
    defect: str
    #: PaddleSeg versions whose source contains the wrong text.
    paddleseg: str
    #: The function, as ``module:name`` or ``module:Class.name``.
    where: str
    #: (wrong, right) texts; each wrong text may occur in the function more than once.
    changes: Sequence[Tuple[str, str]]
    #: The first Paddle version that shows the defect, as (major, minor).
    paddle: Tuple[int, int] = (2, 5)
    #: Objects that the right texts use, by name; they are added to the function's module.
    names: Optional[Mapping[str, Any]] = None
    #: Date on which the patch was last confirmed to be needed.
    seen: str = "2026-11-21"

    def apply(self) -> bool:
        """Patch the function if it has the defect and is not patched yet; return whether this call patched it."""
        if self.name in _applied or paddle_version() < self.paddle:
            return False
        function = _find(self.where)
        if function is None or not _rewrite(function, self.changes):
            return False
        function.__globals__.update(self.names or {})
        _applied.add(self.name)
        return True

    def undo(self) -> bool:
        """Restore the wrong texts if :meth:`apply` has replaced them; return whether it had."""
        if self.name not in _applied:
            return False
        _applied.remove(self.name)
        return _rewrite(_find(self.where), [(right, wrong) for wrong, right in self.changes])


def paddle_version() -> Tuple[int, int]:
    """(major, minor) of the running Paddle; development builds, which report 0.0, count as the newest."""
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
    """Replace texts in the source of ``function`` and give it the resulting code; False if a text is missing."""
    linecache.cache.update(_sources)  # others may have cleared it
    source = inspect.getsource(function)
    if not all(old in source for old, _ in changes):
        return False
    for old, new in changes:
        source = source.replace(old, new)
    # The patched source goes into linecache under its own name, at PaddleSeg's line numbers, so that tracebacks and
    # `inspect` show the code that runs. A comma in the name would confuse Paddle 2.6.
    filename = f"<{function.__module__}.{function.__qualname__} patched by paddle_rtseg>"
    lines_before = function.__code__.co_firstlineno - 1
    lines = ["\n"] * lines_before + source.splitlines(keepends=True)
    linecache.cache[filename] = _sources[filename] = (len(source), None, lines, filename)
    function.__code__ = _compile(textwrap.dedent(source), filename, lines_before, function.__code__)
    return True


def _compile(source: str, filename: str, lines_before: int, replaced: types.CodeType) -> types.CodeType:
    """The code of a function from its source, with the free variables of the code that it replaces."""
    if replaced.co_freevars:  # __class__, in a method that calls super()
        source = f"def scope({', '.join(replaced.co_freevars)}):\n" + textwrap.indent(source, "    ")
        lines_before -= 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about PaddleSeg's source, such as its escape sequences
        code = compile("\n" * lines_before + source, filename, "exec", dont_inherit=True)
    for name in ("scope", replaced.co_name) if replaced.co_freevars else (replaced.co_name,):
        code = next(c for c in code.co_consts if getattr(c, "co_name", None) == name)
    return code
