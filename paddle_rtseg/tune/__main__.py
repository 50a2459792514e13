"""``python -m paddle_rtseg.tune``; the command is :mod:`paddle_rtseg.tools.tune`."""

from paddle_rtseg.tools.command import run
from paddle_rtseg.tools.tune import main, parser

run(parser, main)
