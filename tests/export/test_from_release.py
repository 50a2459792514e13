"""The cache of exported models: damaged entries, interrupted runs and two processes. The export is a copy."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from rtseg_inference.contract import read_contract
from rtseg_inference.errors import InputError
from rtseg_inference.files import cache_root

from paddle_rtseg.export import from_release
from paddle_rtseg.weights import released


@pytest.fixture
def export(exported, tmp_path, monkeypatch):
    """Exports the bundled weights into an empty cache; returns the folder."""
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(from_release, "_export", lambda release, to: shutil.copytree(exported["logits"], to))
    return lambda: pathlib.Path(from_release.cached_export(released.find("rtformer_slim_camvid")))


def flip(folder):
    path = next(folder.glob("*.pdiparams"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit": flip,
    "no contract": lambda folder: (folder / "deploy.yaml").unlink(),
    "no weights": lambda folder: next(folder.glob("*.pdiparams")).unlink(),
    "a contract that is cut short": lambda folder: os.truncate(folder / "deploy.yaml", 100),
    "an empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file instead": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_entry_is_made_again(damage, export, capsys):
    folder = export()
    assert "exporting rtformer_slim_camvid, once" in capsys.readouterr().out
    assert export() == folder and capsys.readouterr().out == ""
    DAMAGE[damage](folder)
    assert export() == folder
    assert "exporting rtformer_slim_camvid again, because" in capsys.readouterr().out
    read_contract(str(folder))
    assert os.listdir(cache_root()) == [folder.name]


def test_unwritable_cache(export, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(InputError, match="name another in the environment variable RTSEG_CACHE"):
        export()


TWO = """
import os, shutil, sys, time
from paddle_rtseg.export import from_release
from paddle_rtseg.weights import released

def slow_copy(release, to):
    time.sleep(2)
    return shutil.copytree(sys.argv[1], to)

from_release._export = slow_copy
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
print(from_release.cached_export(released.find("rtformer_slim_camvid")))
"""


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_two_processes_that_start_together(export, exported, tmp_path):
    start = str(tmp_path / "start")
    command = [sys.executable, "-c", TWO, exported["logits"], start]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(2)
    ]
    (tmp_path / "start").write_text("")
    outputs = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    text = "".join(out for out, _ in outputs)
    assert text.count("exporting rtformer_slim_camvid, once") == 1 and len(os.listdir(cache_root())) == 1
    assert sum("waiting for another process" in err for _, err in outputs) <= 1
