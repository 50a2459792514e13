"""Bad values of deploy.yaml, which the readers in Python and C++ have to refuse with the same words.

``fixtures/bad_contracts.json`` describes each by what it changes in a good file: ``set`` gives keys below ``rtseg`` new
values, ``remove`` deletes a key, ``replace`` replaces text, ``text`` is the whole file, ``repeat`` is a text and how
often the file repeats it. ``expect`` is part of the message, which is the same from both readers.
"""

import json
import pathlib

import yaml

BAD_CONTRACTS = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "bad_contracts.json").read_text())


def spoil(folder: pathlib.Path, name: str) -> None:
    """Make the deploy.yaml in ``folder`` the bad one of that name."""
    change, path = BAD_CONTRACTS[name], folder / "deploy.yaml"
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
