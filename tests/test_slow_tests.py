"""The list of slow tests names tests that exist."""

import pathlib

import pytest
from slow_tests import SLOW

TESTS = pathlib.Path(__file__).parent


@pytest.mark.parametrize("entry", sorted(SLOW))
def test_listed_test_exists(entry):
    file, _, test = entry.partition("::")
    assert f"def {test or 'test_'}" in (TESTS / file).read_text()


def test_listed_tests_are_marked(request):
    for item in request.session.items:
        file = item.path.relative_to(TESTS).as_posix()
        listed = file in SLOW or f"{file}::{getattr(item, 'originalname', '')}" in SLOW
        assert bool(item.get_closest_marker("slow")) == listed
