"""``python -m rtseg_inference``; see :mod:`.cli`."""

from . import program
from .cli import run

program.leave(run())
