"""The notebooks run, and print what is stored in them."""

import json
import os
import pathlib
import subprocess
import sys

import notebook
import paddle
import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[2] / "docs").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_prints_what_is_stored(path, tmp_path):
    if path.stem == "quickstart" and paddle.__version__.startswith("2."):
        pytest.skip("this notebook exports json, which needs Paddle 3")
    command = [sys.executable, notebook.__file__, str(path)]
    environment = {**os.environ, "RTSEG_CACHE": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    stored = notebook.recorded_texts(json.loads(path.read_text(encoding="utf-8")))
    assert json.loads(done.stdout.splitlines()[-1]) == stored


def test_are_small():
    assert [path.stem for path in NOTEBOOKS] == ["photographs", "quickstart"]
    assert all(path.stat().st_size < 200e3 for path in NOTEBOOKS)
