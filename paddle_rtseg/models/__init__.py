"""The networks: one file each.

Importing this package imports every module in its folder, and with them registers every network with PaddleSeg's
component manager. A new network needs no entry here.
"""

import importlib
import pkgutil

for _name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_name}")
