"""How every command starts and ends."""

import argparse
import sys
from typing import Callable, Optional

from rtseg_inference.environment import configure

from ..errors import InputError


def run(parser: Callable[[], argparse.ArgumentParser], main: Callable[[argparse.Namespace], Optional[int]]) -> None:
    """Parse the command line, set up the CPU, run ``main`` and exit.

    The exit status is what ``main`` returns (None means 0), 2 with one sentence on stderr for user errors, or 130 after
    Ctrl-C.
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
