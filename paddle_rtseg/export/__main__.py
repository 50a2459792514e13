"""``python -m paddle_rtseg.export``; the command is :mod:`paddle_rtseg.tools.export`."""

from paddle_rtseg.tools.command import run
from paddle_rtseg.tools.export import main, parser

run(parser, main)
