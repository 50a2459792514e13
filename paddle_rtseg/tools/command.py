"""Entry and exit of every command."""

import argparse
from typing import Callable, Optional

from rtseg_inference import program
from rtseg_inference.environment import configure


def run(parser: Callable[[], argparse.ArgumentParser], main: Callable[[argparse.Namespace], Optional[int]]) -> None:
    """Parse the command line, set up the CPU, run ``main`` and exit; see :mod:`rtseg_inference.program`."""
    args = parser().parse_args()
    configure()  # before main imports paddle
    program.leave(program.run(lambda: main(args)))
