"""Fresh Python processes."""

import os
import subprocess
import sys
from typing import Any, Optional


def python(*arguments: Any, cwd: Any = None, timeout: float = 120, **environment: Optional[str]):
    """Run ``python ARGUMENTS`` to its end and return the completed process, with its output as text.

    Keywords in capitals set environment variables; None removes one.
    """
    changed = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
