"""``python -m paddle_rtseg.trt_report``; the command is :mod:`paddle_rtseg.tools.trt_report`."""

from paddle_rtseg.tools.command import run
from paddle_rtseg.tools.trt_report import main, parser

run(parser, main)
