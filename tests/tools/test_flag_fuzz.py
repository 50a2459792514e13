"""Nonsense for the flags of every command; flag_fuzz.py runs any number of such command lines."""

import json

import flag_fuzz
import pytest
from processes import HELPERS, python


def test_cases_are_those_of_their_seed():
    first, again, other = ([case for case in flag_fuzz.cases(60, seed)] for seed in (0, 0, 1))
    assert first == again and first != other


def test_every_flag_of_every_command_has_its_turn():
    everything = {
        (command, action.option_strings[-1]) for command in flag_fuzz.BASE for action in flag_fuzz._actions(command)
    }
    assert {(case.command, case.flag) for case in flag_fuzz.cases(len(everything), 3)} == everything


@pytest.mark.parametrize(
    "status, seconds, errors, outcome",
    [
        (0, 1.0, "", "worked"),
        (1 << 8, 1.0, "2 images skipped", "reported"),
        (2 << 8, 1.0, "note: x\nerror: expected a, got b; correct it\n", "refused"),
        (2 << 8, 6.0, "error: expected a, got b; correct it\n", "slow refusal"),
        (0, 6.0, "", "worked"),
        (2 << 8, 1.0, "", "no sentence"),
        (2 << 8, 1.0, "error: a\nerror: b\n", "no sentence"),
        (2 << 8, 1.0, "error: " + "x" * 1000, "no sentence"),
        (1 << 8, 1.0, "Traceback (most recent call last):\n", "traceback"),
        (0, 1.0, "error: a\n", "sentence with status 0"),
        (3 << 8, 1.0, "", "status 3"),
        (11, 1.0, "", "crash 11"),
        (None, 1.0, "", "hang"),
    ],
)
def test_outcomes(status, seconds, errors, outcome):
    assert flag_fuzz._outcome(status, seconds, errors) == outcome


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
def test_nonsense():
    done = python(flag_fuzz.__file__, 50, 5, **HELPERS)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found["failures"][:3]
    assert found["refused"] > 25 and found["worked"] > 2
