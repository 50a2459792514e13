"""The program that runs all fuzzing programs; the programs are tested where they belong."""

import os

import fuzz
import pytest

GOOD = 'print(\'{\\n "read": 12,\\n "slowest_seconds": 0.5,\\n "failures": []\\n}\')'
BAD = "import sys; print('  3 tracebacks'); sys.exit(1)"


@pytest.mark.parametrize("program, failed, figures", [(GOOD, False, "read 12, slowest_seconds 0.5"), (BAD, True, "3")])
def test_outcome_of_a_program(program, failed, figures, tmp_path, monkeypatch):
    (tmp_path / "some_fuzz.py").write_text(program)
    monkeypatch.setattr(fuzz, "FOLDER", str(tmp_path))
    outcome = fuzz.run("some_fuzz", 5, 1)
    assert outcome.failed == failed and figures in outcome.figures
    assert ("FAILED" in fuzz.as_table([outcome], 1)) == failed


def test_every_fuzzing_program_is_run():
    programs = {name[: -len(".py")] for name in os.listdir(fuzz.FOLDER) if name.endswith("_fuzz.py")}
    assert programs <= set(fuzz.PROGRAMS)


def test_failure_is_the_status(monkeypatch):
    outcome = fuzz.Outcome("x_fuzz", 1, True, 60.0, "traceback 1")
    monkeypatch.setattr(fuzz, "run", lambda program, count, seed: outcome)
    assert fuzz.main(0) == 1
