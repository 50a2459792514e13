"""Bad values of deploy.yaml, which the readers in Python and C++ have to refuse with the same words.

``fixtures/bad_contracts.json`` describes each by what it changes in a good file: ``set`` gives keys below ``rtseg`` new
values, ``remove`` deletes a key, ``replace`` replaces text, ``text`` is the whole file, ``repeat`` is a text and how
often the file repeats it. ``expect`` is part of the message, which is the same from both readers unless
``same`` is false: there the words are those of PyYAML and yaml-cpp.
"""

import json
import os
import pathlib
import re

import yaml

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
BAD_CONTRACTS = json.loads((FIXTURES / "bad_contracts.json").read_text())
#: The same for the deploy.yaml of the network that finds dots.
BAD_POSE_CONTRACTS = json.loads((FIXTURES / "bad_pose_contracts.json").read_text())


def _replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


def _move_out(path):
    path.symlink_to(path.rename(path.parent.parent / f"outside-{path.name}"))


def _forget_golden_sums(folder):
    text = (folder / "deploy.yaml").read_text()
    (folder / "deploy.yaml").write_text(re.sub(r"golden_\w+\.\w+:\s+\w{64},\s+", "", text))


def _drop_golden(folder):
    _forget_golden_sums(folder)
    (folder / "golden_mask.png").unlink()


#: What is done to the files of a folder, and a part of the message, which is the same from both readers.
BAD_FOLDERS = {
    "no deploy.yaml": (lambda folder: (folder / "deploy.yaml").unlink(), "with a deploy.yaml"),
    "binary deploy.yaml": (lambda folder: (folder / "deploy.yaml").write_bytes(b"\xff\xfe\x00"), "expected UTF-8"),
    "deploy.yaml is a pipe": (lambda folder: _replace_by_pipe(folder / "deploy.yaml"), "with a deploy.yaml"),
    "deploy.yaml elsewhere": (lambda folder: _move_out(folder / "deploy.yaml"), "to be a regular file in this folder"),
    "no weights": (lambda folder: (folder / "model.pdiparams").unlink(), "model.pdiparams, which does not exist"),
    "weights cut short": (lambda folder: os.truncate(folder / "model.pdiparams", 100), "changed or cut short"),
    "weights are a pipe": (lambda folder: _replace_by_pipe(folder / "model.pdiparams"), "to be a regular file"),
    "weights elsewhere": (lambda folder: _move_out(folder / "model.pdiparams"), "to be a regular file in this folder"),
    "golden image changed": (lambda folder: (folder / "golden_input.png").write_bytes(b""), "golden_input.png has SHA"),
    "golden image is a pipe": (lambda folder: _replace_by_pipe(folder / "golden_input.png"), "to be a regular file"),
    "no golden mask, no sums": (_drop_golden, "golden_mask.png, which does not exist"),
}


def spoil(folder: pathlib.Path, name: str) -> None:
    """Make the deploy.yaml in ``folder`` the bad one of that name."""
    change, path = {**BAD_CONTRACTS, **BAD_POSE_CONTRACTS}[name], folder / "deploy.yaml"
    text = change.get("text", path.read_text())
    if "repeat" in change:
        piece, count = change["repeat"]
        text = count * piece
    if "replace" in change:
        old, new = change["replace"]
        assert text.count(old) == 1, f"expected {old!r} once"
        text = text.replace(old, new)
    document = None
    for key, value in change.get("set", {}).items():
        document = document or yaml.safe_load(text)
        parent, last = _find(document, key)
        parent[last] = value
    if "remove" in change:
        document = yaml.safe_load(text)
        parent, last = _find(document, change["remove"])
        del parent[last]
    path.write_text(text if document is None else yaml.safe_dump(document, sort_keys=False))


def _find(document, key):
    """The mapping or list that holds ``key``, and the last part of it."""
    node = document["rtseg"]
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    for part in parents:
        node = node[part]
    return node, last
