"""Families of published checkpoints: one module each, found by its file.

``NAME.py`` defines ``convert(state) -> state``, from the publisher's names to ours, and ``--family NAME`` selects it.
It holds the family's rename table and passes the result through :func:`..conversion.complete`. A new family needs no
entry here.
"""

import importlib
import pkgutil
from typing import Callable, Dict

from ..state import Arrays, State

#: Converters by family, in alphabetical order.
CONVERTERS: Dict[str, Callable[[Arrays], State]] = {
    name: importlib.import_module(f"{__name__}.{name}").convert
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__))
}
