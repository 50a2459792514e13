"""Commands that pages and headers of configs show: they exist, and so do their flags."""

import importlib
import json
import pathlib
import re
import shlex

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/*.ipynb", "deploy/**/*.md", "configs/[!_]*/*.yml")
    for path in ROOT.glob(pattern)
)
COMMAND = re.compile(r"python -m (paddleseg|paddle_rtseg|rtseg_inference)(?:\.(\w+))?\b([^`|\n]*)")


def text_of(page):
    """A page's text; of a notebook, the sources of its cells."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith(".ipynb"):
        return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def commands_in(text):
    """(package, command, flags) of each command, those that continue after a backslash as one."""
    text = re.sub(r"\\\\?\n[#\s]*", " ", text)
    for package, command, rest in COMMAND.findall(text):
        words = shlex.split(rest.replace("...", ""), comments=True) if rest.count('"') % 2 == 0 else rest.split()
        yield package, command, [word for word in words if word.startswith("--")]


def parser_of(package, command):
    if package == "rtseg_inference":
        return importlib.import_module(f"rtseg_inference.{command or 'cli'}").parser()
    return importlib.import_module(f"paddle_rtseg.tools.{command}").parser()


def unknown(text):
    """Commands and flags in a text that do not exist."""
    for package, command, flags in commands_in(text):
        if (package, command) == ("paddle_rtseg", ""):  # lists the commands
            continue
        try:
            known = parser_of(package, command)._option_string_actions
        except ImportError:
            yield command
            continue
        yield from (flag for flag in flags if flag.strip("[],.:;)") not in known)


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    assert list(unknown(text_of(page))) == []


def test_wrong_commands_are_found():
    text = "python -m paddleseg.train --config c.yml \\\n    --do_evall\npython -m paddle_rtseg.trian\n"
    text += "python -m rtseg_inference --inputs a\npython -m rtseg_inference.timing --secondss 3\n"
    assert list(unknown(text)) == ["--do_evall", "trian", "--inputs", "--secondss"]


def test_commands_are_looked_for():
    found = {command for page in PAGES for _, command, _ in commands_in(text_of(page))}
    assert {"train", "val", "predict", "export", "infer", "convert", "benchmark", "check_dataset", "env"} <= found


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".md")])
def test_python_in_pages_compiles(page):
    for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL):
        compile(code, page, "exec")
