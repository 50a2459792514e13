"""docs/gpu.md offers what the commands offer, card by card."""

import pathlib
import re
import sys

import pytest
from rtseg_inference import gpu
from rtseg_inference.gpu import Card

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")


def rows():
    """Generation, compute capabilities, and what to install for inference and for training, of each row."""
    training = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.match(r"\d", cells[1]):
            training = training if cells[4] == "the same" else cells[4]
            for capability in cells[1].split(", "):
                yield cells[0], capability, cells[3], training


@pytest.mark.parametrize(("name", "capability", "inference", "training"), list(rows()))
def test_the_page_says_what_the_commands_say(name, capability, inference, training, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12))
    major, minor = map(int, capability.split("."))
    card = Card("card", (major, minor), None, "580.65.06")
    assert gpu.generation(card).name == name
    assert f"pip install {inference.split('`')[1]}'" in gpu.advice(card)
    assert (f"pip install {training.strip('`')}'" in gpu.advice(card)) == (training != "–")
    assert gpu.advice(card).count("pip install") == 1 + (training != "–")


def test_every_generation_has_a_row():
    listed = {tuple(map(int, capability.split("."))) for _, capability, _, _ in rows()}
    assert all(any(g.first <= capability <= g.last for capability in listed) for g in gpu.GENERATIONS)


def test_what_the_wheels_hold():
    for wheel in gpu._ONNXRUNTIME:
        assert f"| {', '.join(sorted(str(wheel.code).split(', PTX')[0].split(', '), key=float))} |" in PAGE
