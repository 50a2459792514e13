"""Damaged image files, from a seed, for the readers in Python and in C++: both must read them, or refuse them alike.

Also a program: ``python image_mutants.py PROGRAM [COUNT [SEED]]`` compares the readers, of which ``PROGRAM`` is C++'s
image_check, best built with sanitizers, and prints what came of the files.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np
from comparing import zip_strict
from image_files import image_files, opencv, picture
from rtseg_inference import InputError
from rtseg_inference.images import read_image

MAX_SECONDS = 5
CHUNK = 100  # files for a run of the program
_NUMBERS = [0, 1, 2, 3, 8, 16, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_PIECES = [b"\xff\xd9", b"\xff\xd8", b"\xff\xda\0\x08", b"\xff" * 9, b"IEND", b"IDAT", b"#", b"\n", b"9" * 12]


def mutated(files: Dict[str, bytes], number: int, seed: int) -> Tuple[str, bytes]:
    """The suffix and the contents of the file of this number: one of ``files`` with one to four changes."""
    chance = random.Random(f"{seed}:{number}")
    name = chance.choice(sorted(files))
    content = files[name]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        content = _changed(content, files, chance)
    return os.path.splitext(name)[1], content


def _changed(content: bytes, files: Dict[str, bytes], chance: random.Random) -> bytes:
    end = min(len(content), chance.choice([32, 200, 1000, 1 << 30]))  # headers matter most
    at = chance.randrange(end + 1)
    kind = chance.randrange(7)
    if kind == 0:
        return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
    if kind == 1:
        size = chance.choice([1, 2, 4])
        value = chance.choice(_NUMBERS) % (1 << 8 * size)
        return content[:at] + value.to_bytes(size, chance.choice(["little", "big"])) + content[at + size :]
    if kind == 2:
        return content[:at] + content[at + chance.randrange(1, 40) :]
    if kind == 3:
        return content[:at] + chance.choice(_PIECES) + content[at + chance.choice([0, 4]) :]
    if kind == 4:
        other = files[chance.choice(sorted(files))]
        start = chance.randrange(len(other))
        return content[:at] + other[start : start + chance.choice([4, 16, 64, 1024])] + content[at:]
    if kind == 5:
        return content[: chance.randrange(len(content) + 1)] + chance.choice([b"", b"\xff\xd9", bytes(100)])
    return content + bytes(chance.randrange(100))


def read_in_python(path: str) -> Any:
    """The pixels of an image, or the sentence that refuses it."""
    try:
        return read_image(path)
    except InputError as e:
        return f"error: {e}"


def read_in_cpp(program: str, paths: Sequence[str], folder: str) -> List[Any]:
    """The same for each of ``paths`` by image_check, which writes to ``folder``; "crash: ..." where it died."""
    found: List[Any] = []
    while len(found) < len(paths):
        start = len(found)
        command = [program, "read", folder, *paths[start:]]
        try:
            done = subprocess.run(command, capture_output=True, timeout=MAX_SECONDS * len(paths))
            out, err, ended = done.stdout, done.stderr, done.returncode != 0
        except subprocess.TimeoutExpired as e:
            out, err, ended = e.stdout or b"", b"hang", True
        for k, line in enumerate(out.decode(errors="replace").splitlines()):
            image = None if line.startswith("error: ") else cv2.imread(os.path.join(folder, f"{k}.png"))
            found.append(line if image is None else image)
        if ended:
            found.append("crash: " + err.decode(errors="replace")[:2000])
    return found


def outcome(python: Any, cpp: Any) -> str:
    """How the readers compare for one file.

    The two builds of OpenCV bundle different decoders. Where the header is good, one may decode what the other does
    not, and JPEGs may differ by a few levels.
    """
    if isinstance(cpp, str) and cpp.startswith("crash: "):
        return "crash"
    undecoded = ("is cut short; replace or remove it", "cannot be decoded; replace or remove it")
    if isinstance(python, str) and isinstance(cpp, str):
        if python == cpp:
            return "refused by both"
        return "refused by both" if python.endswith(undecoded) and cpp.endswith(undecoded) else "disagreement"
    if isinstance(python, str) or isinstance(cpp, str):
        sentence = python if isinstance(python, str) else cpp
        return "decoded by one" if sentence.endswith(undecoded) else "disagreement"
    if python.shape != cpp.shape:
        return "disagreement"
    return "read by both" if np.abs(python.astype(int) - cpp).max(initial=0) <= 4 else "other pixels"


def run(program: str, count: int, seed: int = 0) -> Dict[str, Any]:
    """Read ``count`` files in both languages; return the number of each outcome, and the slowest read in Python."""
    files = image_files(picture())
    files["several scans.jpg"] = opencv(".jpg", picture(200, 300), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    found: Dict[str, Any] = {"slowest_seconds": 0.0, "examples": []}
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, count, CHUNK):
            numbers = range(first, min(first + CHUNK, count))
            paths = []
            for number in numbers:
                suffix, content = mutated(files, number, seed)
                paths.append(os.path.join(folder, f"{number}{suffix}"))
                with open(paths[-1], "wb") as file:
                    file.write(content)
            start = time.monotonic()
            python = [read_in_python(path) for path in paths]
            found["slowest_seconds"] = max(found["slowest_seconds"], round(time.monotonic() - start, 2))
            for number, a, b in zip_strict(numbers, python, read_in_cpp(program, paths, folder)):
                kind = outcome(a, b)
                found[kind] = found.get(kind, 0) + 1
                if kind in ("crash", "disagreement"):
                    found["examples"].append((number, *(x if isinstance(x, str) else x.shape for x in (a, b))))
            for path in paths:
                os.remove(path)
    return found


def main() -> None:
    program, *numbers = sys.argv[1:]
    count, seed = (*map(int, numbers), *(1000, 0)[len(numbers) :])
    found = run(program, count, seed)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found.get("crash") or found.get("disagreement")))


if __name__ == "__main__":
    main()
