"""``python -m paddle_rtseg.serve``; the command is :mod:`paddle_rtseg.tools.serve`."""

from paddle_rtseg.tools.command import run
from paddle_rtseg.tools.serve import main, parser

run(parser, main)
