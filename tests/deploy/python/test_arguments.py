"""Ranges of numbers on the command line."""

import pytest
from rtseg_inference.arguments import Parser, whole_number
from rtseg_inference.errors import shortened


@pytest.mark.parametrize("text", ["-1", "9", "1.5", "nan", "", "²", "1" * 5000, "0x1", "1_0", " 1"])
def test_number_out_of_range_is_one_sentence(text, capsys):
    parser = Parser(prog="command")
    parser.add_argument("--threads", type=whole_number(0, 8))
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--threads", text])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and len(error) < 250
    assert error.startswith("error: argument --threads: expected a whole number from 0 to 8, got ")
    assert error.endswith("; see command --help\n")


def test_numbers_in_range():
    assert [whole_number(0, 8)(text) for text in ("0", "8", "+3", "007")] == [0, 8, 3, 7]
    assert whole_number(-1, 8)("-1") == -1


def test_a_long_value_is_not_repeated_in_full(capsys):
    parser = Parser(prog="command")
    parser.add_argument("--device", choices=["cpu", "gpu"])
    with pytest.raises(SystemExit):
        parser.parse_args(["--device", "x" * 10_000])
    error = capsys.readouterr().err
    assert error.startswith("error: argument --device: invalid choice: 'xxx") and len(error) < 400


def test_long_words_are_shortened():
    path = "/folder" * 40
    assert shortened(f"expected {path}, got none") == f"expected {path}, got none"
    assert shortened("got " + "a" * 200 + "b" * 200 + " here") == f"got {'a' * 100}...{'b' * 100} here"
