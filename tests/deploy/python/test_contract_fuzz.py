"""Mutated deploy.yaml, YAML and .npy files in Python's readers; tests/deploy/cpp compares with those in C++."""

import pathlib
import random

import contract_fuzz
import pytest


def test_files_depend_on_number_and_seed(exported):
    text = pathlib.Path(exported["logits"], "deploy.yaml").read_text()
    first, again = (
        [contract_fuzz.mutated_contract(text, random.Random(f"0:{n}")) for n in range(30)] for _ in range(2)
    )
    assert first == again and len(set(first)) == 30


@pytest.mark.parametrize("kind", contract_fuzz.KINDS)
def test_mutated_files(kind, exported):
    outcomes = contract_fuzz.fuzz(kind, exported["logits"], [], range(150), seed=1)
    assert outcomes.failures == []
    assert outcomes.count["accepted by both"] > 3 and outcomes.count["refused by both"] > 50
