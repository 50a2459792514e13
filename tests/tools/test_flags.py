"""Flags whose values are out of range: one sentence, status 2, nothing written."""

import argparse
import importlib
import sys

import pytest
from processes import python
from rtseg_inference import cli, timing

from paddle_rtseg import plugin
from paddle_rtseg.tools.command import run

REFUSED = [
    ("train", "--iters", ["0"]),
    ("train", "--iters", ["many"]),
    ("train", "--batch_size", ["0"]),
    ("train", "--batch_size", ["-1"]),
    ("train", "--learning_rate", ["fast"]),
    ("train", "--save_interval", ["0"]),
    ("train", "--log_iters", ["0"]),
    ("train", "--keep_checkpoint_max", ["-3"]),
    ("train", "--num_workers", ["-1"]),
    ("train", "--num_workers", ["100000"]),
    ("train", "--seed", ["-1"]),
    ("train", "--seed", [str(2**32)]),
    ("train", "--repeats", ["0"]),
    ("train", "--early_stop_intervals", ["0"]),
    ("train", "--patience", ["0"]),
    ("train", "--epochs", ["0"]),
    ("train", "--epochs", ["0.5"]),
    ("val", "--num_workers", ["-1"]),
    ("val", "--crop_size", ["0", "64"]),
    ("val", "--crop_size", ["64"]),
    ("val", "--stride", ["64", "²"]),
    ("val", "--scales", ["x"]),
    ("val", "--auc_roc", ["maybe"]),
    ("predict", "--custom_color", ["0", "0", "300"]),
    ("export", "--input_shape", ["1", "3", "64"]),
    ("export", "--input_shape", ["1", "3", "64", "1e9"]),
]


@pytest.mark.parametrize("command, flag, values", REFUSED)
def test_refused(command, flag, values, capsys):
    parser = importlib.import_module(f"paddle_rtseg.tools.{command}").parser()
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args([flag, *values])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith(f"error: argument {flag}: ") and error.count("\n") == 1


def all_parsers():
    parsers = [cli.parser(), timing.parser()]
    for command in plugin.PADDLESEG_COMMANDS + plugin.OWN_COMMANDS:
        parsers.append(importlib.import_module(f"paddle_rtseg.tools.{command}").parser())
    return {parser.prog: parser for parser in parsers}


@pytest.mark.parametrize("command", all_parsers())
def test_every_flag_is_explained(command):
    parser = all_parsers()[command]
    assert parser.description
    for action in parser._actions:
        what = f"{command} {action.option_strings}"
        assert action.help, what
        is_switch = action.nargs == 0
        if not action.required and not is_switch:
            assert "default" in action.help, what
        if action.default not in (None, False, "", []) and not isinstance(action.default, list) and not is_switch:
            assert str(action.default) in action.help or "default:" in action.help, what


def test_list_of_commands():
    listed = python("-m", "paddle_rtseg", check=True).stdout
    for command in plugin.PADDLESEG_COMMANDS + plugin.OWN_COMMANDS:
        assert len([line for line in listed.splitlines() if f"seg.{command} " in line and len(line) > 40]) == 1


@pytest.mark.parametrize(
    "name, words", [("x" * 10_000, "File name too long"), ("loop", "symbolic links"), ("file/a", "Not a d")]
)
def test_a_path_that_cannot_be_one(name, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")

    def main(args):
        with open(name):
            pass

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as stopped:
        run(argparse.ArgumentParser, main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.startswith("error: cannot use ") and words in error and len(error) < 400
