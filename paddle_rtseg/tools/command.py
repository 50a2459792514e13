"""Entry and exit of every command."""

import argparse
import sys
from typing import Callable, Optional

from rtseg_inference.environment import configure

from ..errors import InputError


def run(parser: Callable[[], argparse.ArgumentParser], main: Callable[[argparse.Namespace], Optional[int]]) -> None:
    """Parse the command line, set up the CPU, run ``main`` and exit.

    The exit status is the result of ``main`` (None means 0). An :class:`InputError`, which the user can fix, prints one
    sentence on stderr and gives 2; Ctrl-C gives 130.
    """
    args = parser().parse_args()
    configure()  # before main imports paddle
    try:
        sys.exit(main(args) or 0)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
