"""The notebook runs, and prints what is stored in it."""

import json
import os
import pathlib
import subprocess
import sys

import notebook
import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_runs_and_prints_what_is_stored(tmp_path):
    command = [sys.executable, notebook.__file__, str(NOTEBOOK)]
    environment = {**os.environ, "RTSEG_CACHE": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    stored = notebook.recorded_texts(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert json.loads(done.stdout.splitlines()[-1]) == stored


def test_is_small():
    assert NOTEBOOK.stat().st_size < 200e3
