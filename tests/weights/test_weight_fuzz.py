"""Mutated weight files of every form; weight_fuzz.py reads any number of them."""

import json

import weight_fuzz
from processes import HELPERS, python

from paddle_rtseg.weights import paddle_files


def test_whole_files_can_be_read(tmp_path):
    """Otherwise the mutations would test the first check alone."""
    for form, content in weight_fuzz.corpus(str(tmp_path / "trace")).items():
        path = tmp_path / form
        path.write_bytes(content)
        expected = "refused" if form in ("pdopt", "command") else "read"
        assert weight_fuzz._outcome(weight_fuzz.read_state, str(path)) == expected, form
        if form in ("pdopt", "pairs2", "slices", "pdparams2"):
            assert weight_fuzz._outcome(paddle_files.load, str(path)) == "read", form


def test_mutations_are_those_of_their_seed(tmp_path):
    files = weight_fuzz.corpus("trace")
    assert [weight_fuzz.mutated(files, n, 0) for n in range(50)] == [
        weight_fuzz.mutated(files, n, 0) for n in range(50)
    ]
    assert weight_fuzz.mutated(files, 1, 0) != weight_fuzz.mutated(files, 1, 1)


def test_mutated_files():
    done = python(weight_fuzz.__file__, 400, 1, **HELPERS)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert done.returncode == 0, found["failures"][:3]
    assert found["read"] > 40 and found["refused"] > 400
    assert found["largest_mib"] < weight_fuzz.MAX_MIB and found["executed"] == 0
