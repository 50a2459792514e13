"""``python -m paddle_rtseg.bulk``; the command is :mod:`paddle_rtseg.tools.bulk`."""

from paddle_rtseg.tools.bulk import main, parser
from paddle_rtseg.tools.command import run

run(parser, main)
