"""Showing a result: in a notebook, or in a window where there is a display."""

import importlib
import os
import subprocess
import sys
from typing import Any, Callable, Optional

from .errors import InputError

#: A process of its own opens the window: where that fails, graphics libraries end the process.
_WINDOW = """
import sys
import cv2
import numpy as np

title = "segmentation (any key closes this window)"
picture = cv2.imdecode(np.frombuffer(sys.stdin.buffer.read(), np.uint8), cv2.IMREAD_COLOR)
cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
cv2.imshow(title, picture)
while cv2.waitKey(100) < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1:
    pass
"""


def notebook_display() -> Optional[Callable[[Any], Any]]:
    """What shows an object below the cell of a notebook that runs; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if not hasattr(shell, "kernel"):  # None, or IPython in a terminal
        return None
    display: Callable[[Any], Any] = importlib.import_module("IPython.display").display
    return display


def in_window(png: bytes) -> None:
    """Show an encoded picture until its window is closed.

    Raises:
        InputError: there is no display, or OpenCV cannot open windows.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError(
            "expected a display to show the picture on, got none; write result.overlay() to a file instead"
        )
    if subprocess.run([sys.executable, "-c", _WINDOW], input=png, stderr=subprocess.DEVNULL).returncode != 0:
        raise InputError("OpenCV cannot open a window on this display; write result.overlay() to a file instead")
