"""Modules that PaddleSeg's patches import, and that import PaddleSeg, can be imported first."""

import pathlib

import pytest
from processes import python

ROOT = pathlib.Path(__file__).parents[2]
MODULES = [
    f"paddle_rtseg.{room}.{path.stem}"
    for room in ("compat", "data", "training")
    for path in sorted((ROOT / "paddle_rtseg" / room).glob("*.py"))
    if path.stem != "__init__"
]
# Imports each module in a fork of a process that has imported Paddle and not PaddleSeg.
PROGRAM = """
import importlib, os, sys, traceback, zlib
import cv2, paddle
for module in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(module)
        except BaseException:
            print("failed", module, traceback.format_exc(limit=1).splitlines()[-1])
            sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
print("tried", len(sys.argv) - 1)
"""


@pytest.mark.slow
def test_every_module_can_be_imported_first():
    assert len(MODULES) > 10
    printed = python("-c", PROGRAM, *MODULES, check=True).stdout
    assert f"tried {len(MODULES)}" in printed
    assert [line for line in printed.splitlines() if line.startswith("failed")] == []
