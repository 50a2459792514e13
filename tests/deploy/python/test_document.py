"""deploy.yaml is read as YAML is, as far as it is read; bad_contracts.json has what is refused."""

import math

import pytest
import yaml
from rtseg_inference.contract import _PlainDumper
from rtseg_inference.document import read_document


def read(text, tmp_path):
    path = tmp_path / "file.yaml"
    path.write_bytes(text.encode())
    return read_document(str(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# only a comment\n", None),
        ("---\n", None),
        ("text", "text"),
        ("text\n  of two\n  lines # comment\n", "text of two lines"),
        ("---\na: 1\n", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a:\n  b: 1\n\n  c:\n# comment\n  d: e#f # comment\n", {"a": {"b": 1, "c": None, "d": "e#f"}}),
        ("a:\n- 1\n- b: 2\n  c: 3\n-\n- - 4\n  - 5\nd: 6\n", {"a": [1, {"b": 2, "c": 3}, None, [4, 5]], "d": 6}),
        ("a:\n  - 1\n  -\n    b: 2\n", {"a": [1, {"b": 2}]}),
        ("a: [1, 'b, c', [ ], {}, d e]\n", {"a": [1, "b, c", [], {}, "d e"]}),
        ("a: [1,\n  2, # comment\n  b\n  c]\n", {"a": [1, 2, "b c"]}),
        ("{a: {b: 1, c: }, 'd':\n  e:f}\n", {"a": {"b": 1, "c": None}, "d": "e:f"}),
        ("a: 'it''s'\nb: ''\n'c: d' : e\n", {"a": "it's", "b": "", "c: d": "e"}),
        ('a: "\\"\\\\\\/\\x41\\u4e2d\\U0001F600\\_\\ "\n', {"a": '"\\/A\u4e2d\U0001f600\xa0 '}),
        ('a: "b \\\n  \\ c\n  d"\n', {"a": "b  c d"}),
        ("a: Straße\nb: [中文, é]\n", {"a": "Straße", "b": ["中文", "é"]}),
        ("- -1\n- -b\n- a-\n", [-1, "-b", "a-"]),
    ],
)
def test_values(text, expected, tmp_path):
    assert read(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("~ null Null NULL", None),
        ("true True TRUE", True),
        ("false False FALSE", False),
        ("12 +12 12.0 12. 1.2e+1", 12),
        (".5 0.5 5.0e-1 +0.5", 0.5),
        (".inf +.Inf .INF", math.inf),
    ],
)
def test_scalars_without_quotes(words, expected, tmp_path):
    found = read(f"[{', '.join(words.split())}]", tmp_path)
    assert all(value == expected and isinstance(value, bool) == isinstance(expected, bool) for value in found)


OTHERS = "yes No on OFF 012 0x1F 0b1 0o7 1_000 1:30 2001-01-01 1e5 1.5e3 -.5 1.2.3 << = nullx :a ?a"


@pytest.mark.parametrize("word", OTHERS.split())
def test_other_scalars_are_text(word, tmp_path):
    assert read(f"a: {word}\n", tmp_path) == {"a": word}


@pytest.mark.parametrize("style", [None, True, False])
@pytest.mark.parametrize("width", [20, 120])
@pytest.mark.parametrize("unicode", [False, True])
def test_reads_what_pyyaml_writes(style, width, unicode, tmp_path):
    texts = [
        "",
        " ",
        "a: b",
        "a #b",
        "- a",
        "-",
        "?",
        "? a",
        "it's",
        '"',
        "null",
        "1",
        "1.5",
        "true",
        "~",
        "2001-01-01",
    ]
    texts += [
        "[a",
        "{a}",
        "a,b",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "---",
        "... a",
        "a\\b",
        "é",
        "\u4e2d" * 30,
    ]
    texts += [
        "traffic light " * 20,
        " a",
        "a ",
        "a  b",
        "1e5",
        "yes",
        "0x1F",
        "1:30",
        ":a",
        "a:",
        "#a",
        "<<",
        "=",
        "\xa0",
    ]
    numbers = [0, -1, 10**30, 1e-5, 1e20, 0.1, 1 / 255, -2.5, True, None]
    document = {"texts": texts, "numbers": numbers, "inside": [[texts], {"a": {"b": numbers, "empty": []}, "none": {}}]}
    document.update({text: i for i, text in enumerate(texts) if 0 < len(text) < 20})
    written = yaml.dump(
        document, Dumper=_PlainDumper, default_flow_style=style, width=width, allow_unicode=unicode, sort_keys=False
    )
    assert read(written, tmp_path) == document
