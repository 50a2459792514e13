"""``python -m paddle_rtseg.benchmark``; the command is :mod:`paddle_rtseg.tools.benchmark`."""

from paddle_rtseg.tools.benchmark import main, parser
from paddle_rtseg.tools.command import run

run(parser, main)
