"""``python -m rtseg_inference``; see :mod:`.cli`."""

import sys

from .cli import run

sys.exit(run())
