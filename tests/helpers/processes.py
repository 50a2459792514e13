"""Fresh Python processes."""

import os
import subprocess
import sys
from typing import Any, Optional

#: Environment of a program that imports these helpers.
HELPERS = {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])}


def python(*arguments: Any, cwd: Any = None, check: bool = False, timeout: float = 600, **environment: Optional[str]):
    """Run ``python ARGUMENTS`` to its end and return the completed process, with its output as text.

    Args:
        check: fail, and show the output, if the status is not 0.
        environment: environment variables to set; None removes one.
    """
    changed = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done
