#!/usr/bin/env python3
"""Fail on phrases that were written here and read as translated: ``python .ci/words.py [FILE ...]`` (default: all).

Only what was really wrong is listed; extend the list when a review finds another phrase.
"""

import pathlib
import re
import subprocess
import sys
from typing import Iterator, List

#: Phrase, as a regular expression for whole words in upper or lower case: what to write instead.
PHRASES = {
    r"mend(s|ed|ing)?": "patch, fix or correct",
    r"anew": "again",
    r"without a word": "silently",
    r"(whole or not at all|all of it or nothing)": "atomically",
    r"last whole (checkpoint|one)": "last complete checkpoint",
    r"(package|plug-in|code|bug|model|network|nothing|anything) of ours": "our ...",
    r"(line of code|code) of (yours|ours)": "your code, our code",
    r"line of user code": "you change no code",
    r"but for the": "except the",
    r"no place is known": "unknown entries: ...",
    r"can put right": "user errors",
    r"come(s)? along": "bundled",
    r"none or others": "not found, or modified",
    r"a device that is there": "device ... is not available",
    r"the run that was never stopped": "gives bit-identical results",
    r"where there is none": "missing ...",
}
SUFFIXES = {".py", ".md", ".toml", ".yml", ".yaml", ".cpp", ".hpp", ".sh", ".txt", ".cmake", ".cfg", ".cff", ".ipynb"}
NAMES = {"Makefile", "run"}
HERE = pathlib.Path(__file__).resolve()
_PATTERN = re.compile(
    "|".join(rf"(?P<p{i}>\b(?:{phrase})\b)".replace(" ", " +") for i, phrase in enumerate(PHRASES)), re.IGNORECASE
)


def findings(path: pathlib.Path) -> Iterator[str]:
    """A line of text for each phrase in a file; phrases may be broken across lines."""
    text = path.read_text(encoding="utf-8", errors="replace")
    flat = re.sub(r"\n[ \t]*(#|//|\*)?|\s", lambda m: " " * len(m[0]), text)  # offsets stay those of the text
    for match in _PATTERN.finditer(flat):
        advice = list(PHRASES.values())[int(str(match.lastgroup)[1:])]
        line = text.count("\n", 0, match.start()) + 1
        yield f"{path}:{line}: {' '.join(match[0].split())!r}: write {advice}"


def tracked() -> List[pathlib.Path]:
    """The files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    return [pathlib.Path(name) for name in listed.split("\0") if name]


def main() -> int:
    paths = [pathlib.Path(name) for name in sys.argv[1:]] or tracked()
    texts = [p for p in paths if p.is_file() and (p.suffix in SUFFIXES or p.name in NAMES) and p.resolve() != HERE]
    found = [finding for path in texts for finding in findings(path)]
    print("\n".join(found) if found else f"{len(texts)} files, no listed phrase")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
