"""Config files as values: bounds, bases, anchors and overrides."""

import os

import pytest
import yaml

from paddle_rtseg import config_files
from paddle_rtseg.config_files import check_keys, override, parse_option, read_config
from paddle_rtseg.errors import InputError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into the current folder, by name and text."""
    monkeypatch.chdir(tmp_path)
    return lambda **files: [(tmp_path / f"{name}.yml").write_text(text) for name, text in files.items()]


def test_bases_are_merged_as_by_paddleseg(write):
    write(
        base="iters: 5\nmodel: {type: A, depth: 1}\nloss: {types: [x], coef: [1]}",
        other="batch_size: 2\niters: 7",
        top="_base_: [base.yml, other.yml]\nmodel: {depth: 2}\nloss: {_inherited_: False, types: [y]}",
    )
    from paddleseg.cvlibs.config import parse_from_yaml

    assert read_config("top.yml") == parse_from_yaml("top.yml")
    assert read_config("top.yml")["loss"] == {"types": ["y"]}


def test_aliases_are_copies(write):
    write(top="train_dataset: &data {transforms: [{type: Normalize}]}\nval_dataset: *data")
    values = read_config("top.yml")
    override(values, "val_dataset.mode", "val", "--opts")
    values["val_dataset"]["transforms"].append(1)
    assert values["train_dataset"] == {"transforms": [{"type": "Normalize"}]}


def test_keys_that_only_define_anchors(write):
    """PaddleSeg's PIDNet configs have them."""
    write(top="mean: &mean [0.5]\nclasses: &n 19\nmodel: {num_classes: *n, mean: *mean}")
    assert read_config("top.yml") == {"model": {"num_classes": 19, "mean": [0.5]}}


@pytest.mark.parametrize("name", ["mean", "uniform_outputs", "shuffle"])
def test_unknown_key(write, name):
    write(top=f"{name}: [0.5]")
    with pytest.raises(InputError, match=f"'top.yml' has an unknown key '{name}'; "):
        check_keys(read_config("top.yml"), "top.yml")


def test_what_has_no_effect_is_said(write, capsys):
    """PaddleSeg's glore config still has the first one, its UPerNet and K-Net configs have the second."""
    write(top="learning_rate: {value: 0.1}\nloss:\n  types: [a]\n  types: [b]\n  types: [c]")
    assert read_config("top.yml") == {"loss": {"types": ["c"]}}
    assert capsys.readouterr().err.splitlines() == [
        "note: top.yml: of 3 times 'types', only that in line 5 counts",
        "note: 'learning_rate' has no effect, 'lr_scheduler' replaces it",
    ]


LAUGHS = "\n".join(["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)])
MERGES = "\n".join(
    ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 10)]
)
HOSTILE = {
    "aliases": (LAUGHS, "at most 1 MiB with its aliases expanded"),
    "merges": (MERGES, "at most 1 MiB with its aliases expanded"),
    "itself": ("model: &a [*a]", "nested at most 32 deep"),
    "itself in keys": ("model: &a {b: *a}", "nested at most 32 deep"),
    "deep": ("a: " + "[" * 5000, "expected a YAML file"),
    "nested": ("a: " + "[" * 40 + "]" * 40, "nested at most 32 deep"),
    "object": ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
    "name": ("a: !!python/name:os.system ''", "could not determine a constructor"),
    "tuple": ("a: !!python/tuple [1]", "could not determine a constructor"),
    "bytes": ("a: !!binary aGVsbG8=", "expected text or a number for a, got bytes"),
    "date": ("a: 2026-01-01", "expected text or a number for a, got date"),
    "no date": ("a: 2026-13-45", "expected a YAML file"),
    "nan": ("model: {dropout: .nan}", "expected a finite number for model.dropout, got nan"),
    "infinity": ("iters: -.inf", "expected a finite number for iters, got -inf"),
    "key": ("model: {1: 2}", "expected names as keys of model, got 1"),
    "list": ("[1]", "expected keys and values in the config"),
    "text": ("text", "expected keys and values in the config"),
    "two documents": ("a: 1\n---\nb: 2", "expected a YAML file"),
    "control": ("a: \x07", "expected a YAML file"),
    "bases": ("_base_: {a: 1}", "expected file names as _base_"),
    "base of itself": ("_base_: bad.yml", "which is based on itself"),
    "missing base": ("_base_: none.yml", "got 'none.yml': No such file"),
    "base in a device": ("_base_: /dev/zero", "not a regular file"),
    "base in a folder": ("_base_: .", "not a regular file"),
    "long": ("# " + "x" * (1 << 18), "at most 256 KiB"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused(write, name):
    text, words = HOSTILE[name]
    write(bad=text)
    with pytest.raises(InputError, match=words) as raised:
        read_config("bad.yml")
    assert len(str(raised.value)) < 300 and "\n" not in str(raised.value)


def test_no_utf8(write, tmp_path):
    (tmp_path / "bad.yml").write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="expected a config in UTF-8"):
        read_config("bad.yml")


def test_pipe_is_not_waited_for(write, tmp_path):
    os.mkfifo(tmp_path / "pipe.yml")
    with pytest.raises(InputError, match="not a regular file"):
        read_config("pipe.yml")


def test_number_of_files_is_bounded(write):
    """Each of seven files is based twice on the next one: 2 ** 7 reads."""
    write(**{f"f{i}": f"_base_: [f{i + 1}.yml, f{i + 1}.yml]" for i in range(7)}, f7="iters: 1")
    with pytest.raises(InputError, match=f"at most {config_files.MAX_FILES} files"):
        read_config("f0.yml")


OPTIONS = {
    "null": None,
    "None": None,
    "false": False,
    "True": True,
    "1e-3": 1e-3,
    "hq": "hq",
    "a/b.pdparams": "a/b.pdparams",
    "https://a/b#sha256=00": "https://a/b#sha256=00",
    "": None,
    "0.75,1.0": (0.75, 1.0),
    "[true, false]": [True, False],
    "[{q_mode: n2d}]": [{"q_mode": "n2d"}],
    "[" * 300: "[" * 300,
    "nan": "nan",
    "²": "²",
}


@pytest.mark.parametrize("text", OPTIONS)
def test_option(text):
    assert parse_option(f"a.b={text}") == ("a.b", OPTIONS[text])


@pytest.mark.parametrize("text", ["", "a", "=1", "a.b"])
def test_option_without_key_or_value(text):
    with pytest.raises(InputError, match=r"expected --opts KEY=VALUE"):
        parse_option(text)


@pytest.mark.parametrize("key", ["b.c", "a.b.c", "a.", "l.0", ".a"])
def test_override_of_what_is_not_there(key):
    values = yaml.safe_load("{a: {b: 1}, l: [1]}")
    if key == ".a":
        key = ".a.b"
    with pytest.raises(InputError, match=r"expected --opts to set a key in a section that the config has"):
        override(values, key, 1, "--opts")


@pytest.mark.parametrize("value", [1e400, {1, 2}, b"x", 1j, ...])
def test_override_with_what_is_not_plain(value):
    with pytest.raises(InputError, match="for iters, got "):
        override({}, "iters", value, "--opts")
