"""A folder of images of every kind, some damaged or hostile, as a crawler leaves it, and what infer makes of it.

Also a program: ``python image_fuzz.py [COUNT [SEED]]`` segments that many images in a process of its own and prints
what came of them.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple, Set, Tuple

import cv2
import numpy as np
from comparing import zip_strict
from image_cases import HOSTILE
from image_files import FORMS, picture
from rtseg_inference.images import find_images

MAX_SECONDS_EACH, MAX_MIB = 5, 1024
BAD_SHARE = 0.05
LARGEST = 3000  #: pixels a side
#: A resize rule for which thin images become too large.
SHORT_SIDE = 64
_THIN = (1, 40_000)
_OTHERS = ("notes.txt", "README", "anim.gif", "photo.jp2", ".hidden.png")
_DAMAGE = ("hostile", "hostile", "cut", "cut", "ended", "changed", "thin", "pipe", "device", "broken link")
_FIXED = ("text.ppm", "16 bits.ppm")


class Corpus(NamedTuple):
    """A folder of images, by what is to come of each."""

    good: Dict[str, Tuple[int, int]]  #: height and width of each mask, by path
    bad: Set[str]  #: to be skipped
    either: Set[str]  #: changed somewhere: to be segmented or skipped


def write_corpus(folder: str, count: int, seed: int, bad_share: float = BAD_SHARE) -> Corpus:
    """Write ``count`` images, and a few files that are none, to ``folder`` and folders below it."""
    corpus = Corpus({}, set(), set())
    for number in range(count):
        chance = random.Random(f"{seed}:{number}")
        bad = chance.random() < bad_share or number == count - 1  # at least one
        (_write_bad if bad else _write_good)(folder, number, chance, corpus)
    for name in _OTHERS:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"GIF89a")
    return corpus


def _write_good(folder: str, number: int, chance: random.Random, corpus: Corpus) -> None:
    form = chance.choice(sorted(set(FORMS) - set(_FIXED)))
    height, width = _size(chance)
    path = _path(folder, number, os.path.splitext(form)[1], chance)
    _write(path, FORMS[form](picture(height, width, number)))
    corpus.good[path] = (width, height) if form.startswith("turned") else (height, width)


def _write_bad(folder: str, number: int, chance: random.Random, corpus: Corpus) -> None:
    form = chance.choice(sorted(set(FORMS) - {*_FIXED, "pages.tiff"}))
    content = FORMS[form](picture(*_size(chance), number))
    path = _path(folder, number, os.path.splitext(form)[1], chance)
    kind = chance.choice(_DAMAGE)
    if kind == "hostile":
        name, content, _ = chance.choice(HOSTILE)
        path = _path(folder, number, os.path.splitext(name)[1], chance)
        _write(path, content)
    elif kind == "cut":
        _write(path, content[: chance.randrange(len(content) * 9 // 10)])
    elif kind == "ended":
        content = FORMS["restarts.jpg"](picture(*_size(chance), number))
        _write(path, content[: len(content) * chance.randrange(10, 80) // 100].rstrip(b"\xff") + b"\xff\xd9")
    elif kind == "changed":
        changed = bytearray(content)
        for _ in range(chance.randrange(1, 20)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        _write(path, bytes(changed))
    elif kind == "thin":
        _write(path, cv2.imencode(".png", np.zeros(_THIN, np.uint8))[1].tobytes())
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.symlink("/dev/zero" if kind == "device" else "nowhere", path)
    (corpus.either if kind == "changed" else corpus.bad).add(path)


def _size(chance: random.Random) -> Tuple[int, int]:
    """Height and width; most are small, some have several megapixels."""
    largest = chance.choice([100, 100, 400, 400, 400, 1000, LARGEST])
    return chance.randrange(16, largest), chance.randrange(16, largest)


def _path(folder: str, number: int, suffix: str, chance: random.Random) -> str:
    """Some share their names, except the suffix or the case of letters."""
    below = chance.choice(["", "below", "below/again"])
    name = chance.choice([f"image{number}", f"image{number // 8}", f"Image{number // 8}", f"image{number // 8}.png"])
    os.makedirs(os.path.join(folder, below), exist_ok=True)
    path = os.path.join(folder, below, name + suffix)
    while os.path.lexists(path):
        path = f"{path[: -len(suffix)]}_{suffix}"
    return path


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def segment(model: str, source: str, out: str) -> Tuple[int, str, float, float]:
    """Run the command; its status, all that it prints, its peak memory in MiB and its seconds."""
    command = [sys.executable, "-m", "rtseg_inference", "--model", model, "--input", source, "--save_dir", out]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen([*command, "--backend", "native"], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read(), usage.ru_maxrss / 1024, time.monotonic() - start


def run(count: int, seed: int, model: str, bad_share: float = BAD_SHARE) -> Dict[str, Any]:
    """Segment a corpus; the counts, and in "failures" what is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        few, many, out = (os.path.join(folder, name) for name in ("few", "many", "out"))
        os.mkdir(few)
        for number in range(10):  # one of the largest size
            side = 100 if number else LARGEST
            _write(os.path.join(few, f"{number}.png"), FORMS["plain.png"](picture(side, side, number)))
        corpus = write_corpus(many, count, seed, bad_share)
        few_memory = segment(model, few, os.path.join(folder, "out of few"))[2]
        status, said, memory, seconds = segment(model, many, out)
        failures = _failures(corpus, many, out, said)
        skipped = said.count("\nskipped ") + said.startswith("skipped ")
        if status != 1:
            failures.append(f"expected status 1, got {status}")
        if "not taken: 1 without an extension, 1 .gif, 1 .jp2, 1 .txt" not in said:
            failures.append("files that are no images are not counted")
        if memory - few_memory > MAX_MIB:
            failures.append(f"{memory - few_memory:.0f} MiB above ten good images")
        return {
            "images": count,
            "good": len(corpus.good),
            "bad": len(corpus.bad),
            "changed": len(corpus.either),
            "written": len(corpus.good) + len(corpus.bad) + len(corpus.either) - skipped,
            "skipped": skipped,
            "traceback": said.count("Traceback"),
            "crash": int(status < 0),
            "mib_above_ten_good_images": round(memory - few_memory),
            "seconds": round(seconds, 1),
            "failures": failures,
        }


def _failures(corpus: Corpus, folder: str, out: str, said: str) -> List[str]:
    failures = ["a traceback: " + said[-2000:]] if "Traceback" in said else []
    found = find_images(folder)
    expected = {*corpus.good, *corpus.bad, *corpus.either}
    if set(found.paths) != expected or len({name.lower() for name in found.names}) != len(expected):
        failures.append("not every image has a result of its own")
    for name, path in zip_strict(found.names, found.paths):
        file = os.path.join(out, "masks", name + ".png")
        mask = cv2.imread(file, cv2.IMREAD_UNCHANGED) if os.path.exists(file) else None
        overlay = os.path.exists(os.path.join(out, "overlays", name + ".jpg"))
        skipped = f"skipped {name}: " in said
        shape = None if mask is None else mask.shape
        whole = mask is not None and overlay and not skipped and shape == corpus.good.get(path, shape)
        refused = mask is None and not overlay and skipped
        if not (refused if path in corpus.bad else whole if path in corpus.good else whole or refused):
            failures.append(f"{path}: mask {shape}, overlay {overlay}, skipped {skipped}")
    return failures


def export_tiny(folder: str) -> str:
    """A network of two convolutions that resizes the short side of an image."""
    from dataclasses import replace

    from rtseg_inference.contract import Resize
    from tiny_network import PREPROCESSING, tiny

    from paddle_rtseg.export.exporter import export_model

    rules = replace(PREPROCESSING, resize=Resize("short", size=SHORT_SIDE))
    return export_model(tiny(), folder, rules, output_op="logits")


def main() -> None:
    count, seed = (*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        found = run(count, seed, export_tiny(os.path.join(folder, "model")))
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["failures"] or found["seconds"] > MAX_SECONDS_EACH * count))


if __name__ == "__main__":
    main()
