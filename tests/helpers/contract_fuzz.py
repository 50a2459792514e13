"""Damaged and hostile deploy.yaml, YAML and .npy files from a seed: the readers in both languages must survive each.

Where both read a file they must read the same. That one refuses what the other reads is counted, but no failure:
PyYAML and yaml-cpp differ in the syntax that they take.

Also a program: ``python contract_fuzz.py [COUNT [SEED]]`` exports a tiny network, builds the C++ reader, also with the
compiler's address and undefined-behaviour sanitizers, reads that many files of each kind and prints what came of them.
"""

import argparse
import contextlib
import faulthandler
import io
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set

import numpy as np
import yaml
from comparing import zip_strict
from rtseg_inference import InputError, contract
from rtseg_inference.document import _UNPRINTABLE, read_document
from rtseg_inference.npy import read_npy

SOURCE = pathlib.Path(__file__).parents[2] / "deploy" / "cpp"
SANITIZERS = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
MAX_SECONDS = 5
_CHUNK = 250  # files of one C++ process
_VALUES: List[Any] = [
    *(None, True, False, 0, 1, -1, 3, 255, 300, 65537, 2**31 - 1, 2**31, 2**63, 10**400, 0.5, -0.5, 1e-320, 1e308),
    *(float("inf"), float("nan"), "", "x", "null", "1", "1.5", "../x", "/dev/zero", "..", ".", "a/b", "\x1b[31m"),
    *("x" * 5000, "2001-01-01", "1:30", "0x10", "yes", "\u4e2d\u6587", "\u2028", [], {}, [[]], [1, 2, 3], {"a": 1}),
    *(list(range(4)), [0.5] * 3, "argmax", "exact", "magic", "golden_mask.png", "deploy.yaml", 10**17, 10**18),
]
_PIECES = [
    *("&a ", "*a", "!!int ", "! ", "!x ", "<<: ", "? ", "- ", ": ", "{", "}", "[", "]", ",", "'", '"', "#", " #", "|"),
    *("|-\n", ">", "%", "%YAML 1.2\n", "@", "`", "~", "null", "\n", "\n\n", " ", "  ", "\t", "\r", "\r\n", "\\", "\\x"),
    *("---", "\n---\n", "\n...\n", "...", "\n--- ", "=", "0x", "0b1", "0o7", "1_0", "1e5", "-", "- - ", "\n- ", "''"),
    *("\x00", "\x1b", "\x7f", "\x85", "\ufeff", "\u2028", "\ufffe", "\U0001f600", "\ud800", "é", "[" * 40, "{a: " * 40),
    *(
        "a" * 2000,
        "9" * 400,
        "- " * 40,
        "a: " * 3,
        "!<tag:yaml.org,2002:str> ",
        "!!binary |\n",
        "&",
        "*",
        "!",
        ":",
        "?",
    ),
]


def mutated_contract(text: str, chance: random.Random) -> bytes:
    """``text`` with one to four changes of its values, its lines or its bytes."""
    if chance.random() < 0.2:  # where any value is ignored, only the two languages' YAML counts
        first, second, third, fourth = (chance.choice(_PIECES) for _ in range(4))
        text += f"  later:\n    {first}{second}a{third}b{fourth}\n"
        return text.encode(errors="surrogatepass")
    if chance.random() < 0.4:
        text = _other_values(text, chance)
        if chance.random() < 0.7:
            return text.encode(errors="surrogatepass")
    changes: List[Callable[[str], str]] = [
        lambda t: _put(t, chance, chance.choice(_PIECES), 0),
        lambda t: _put(t, chance, chance.choice(_PIECES), 0),
        lambda t: _put(t, chance, chance.choice(_PIECES), 1),
        lambda t: _put(t, chance, chr(chance.randrange(256)), 1),
        lambda t: _put(t, chance, "", chance.randrange(1, 40)),
        lambda t: _put(t, chance, t[chance.randrange(len(t) + 1) :][: chance.choice([1, 4, 16, 64])], 0),
        lambda t: _other_lines(t, chance),
        lambda t: _other_lines(t, chance),
        lambda t: t[: chance.randrange(len(t) + 1)],
    ]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        text = chance.choice(changes)(text)
    content = text.encode(errors="surrogatepass")
    if chance.random() < 0.05:
        at = chance.randrange(len(content) + 1)
        content = content[:at] + bytes([chance.randrange(128, 256)]) + content[at:]
    return content


def random_document(chance: random.Random) -> bytes:
    """A short text of YAML's marks."""
    words = ["a", "b", "key: ", "\n  key: ", "\nkey:", "\n- ", "\n  - ", ", ", "1.5", "x y", "\n ", '"', "'", "\\\n "]
    pieces = [chance.choice(chance.choice([_PIECES, words])) for _ in range(chance.randrange(1, 12))]
    return "".join(pieces).encode(errors="surrogatepass")


def mutated_array(content: bytes, chance: random.Random) -> bytes:
    """A .npy file's ``content`` with changes of its header or its bytes."""
    numbers = [
        "0",
        "1",
        "3",
        "4294967296",
        "999999999",
        "9" * 5000,
        "-1",
        "0x1",
        "",
        " ",
        "1, 1, 1, 1, 1",
        "1.5",
        "(",
        "2)",
    ]
    for _ in range(chance.choice([1, 1, 2])):
        kind = chance.randrange(6)
        if kind == 0:
            found = list(re.finditer(rb"[0-9]+|'[^']*'|False", content[10:128]))
            if found:
                at = chance.choice(found)
                piece = chance.choice(numbers).encode()
                content = content[: 10 + at.start()] + piece + content[10 + at.end() :]
        elif kind == 1:
            content = content[:8] + chance.choice([0, 1, 50, 118, 1000, 65535]).to_bytes(2, "little") + content[10:]
        elif kind == 2:
            content = content[: chance.randrange(len(content) + 1)]
        elif kind == 3:
            content += bytes(chance.randrange(1, 9))
        else:
            at = chance.randrange(min(len(content), 140) or 1)
            content = content[:at] + bytes([chance.randrange(256)]) + content[at + chance.randrange(2) :]
    return content


def _other_values(text: str, chance: random.Random) -> str:
    document = yaml.safe_load(text)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        parent: Any = document
        while True:
            keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
            key = chance.choice(keys if parent is not document else keys + ["rtseg"] * (len(keys) > 1))
            child = parent[key]
            if not isinstance(child, (dict, list)) or not child or (chance.random() < 0.15 and parent is not document):
                break
            parent = child
        change = chance.randrange(6)
        if change == 0:
            del parent[key]
        elif change == 1 and isinstance(child, (int, float)):
            parent[key] = child * chance.choice([-1, 2, 1000, 0.5, 1 + 1e-9])
        elif change == 2 and isinstance(parent, dict):
            parent[chance.choice(["x", "schema", "max", "min", "onnx", "divisor", "size", "height", key])] = child
        else:
            parent[key] = chance.choice(_VALUES)
    style = chance.choice([None, None, True, False])
    return yaml.safe_dump(
        document,
        sort_keys=False,
        default_flow_style=style,
        allow_unicode=chance.random() < 0.5,
        width=chance.choice([40, 120]),
    )


def _other_lines(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    i, k = chance.randrange(len(lines)), chance.randrange(len(lines))
    change = chance.randrange(5)
    if change == 0:
        lines.insert(i, lines[k])
    elif change == 1:
        del lines[i]
    elif change == 2:
        lines[i], lines[k] = lines[k], lines[i]
    elif change == 3:
        lines[i] = " " * chance.randrange(1, 4) + lines[i]
    else:
        lines[i] = lines[i].lstrip()
    return "\n".join(lines)


def _put(text: str, chance: random.Random, piece: str, replace: int) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + piece + text[at + replace :]


def stated(folder: str) -> str:
    """What a contract states, in one line, as host_check.cpp has it in C++."""
    found = contract.read_contract(folder)
    preprocess, pad = found.preprocess, found.preprocess.pad
    parts = [found.model, found.params, found.network, found.paddle_version, found.input.name, found.input.shape]
    parts += [found.golden.step, found.tensorrt.shape, found.tensorrt.workspace_mb]
    parts += [f"{value:.17g}" for value in (preprocess.scale, *preprocess.mean, *preprocess.std)]
    parts += [pad.height, pad.width] if pad else []
    parts += [*found.classes, *(channel for color in found.palette for channel in color)]
    parts += _pose_parts(found)
    return " ".join(map(str, parts))


def _pose_parts(found: contract.Contract) -> List[Any]:
    pose, person = found.pose, found.golden.person
    if pose is None or person is None:
        return []
    decoding = ("quarter", "none", "dark").index(pose.decode)
    numbers = [*(pose.sigmas or ()), *person.box, *(value for keypoint in person.keypoints for value in keypoint)]
    return [
        *pose.input_size,
        f"{pose.padding:.17g}",
        f"{decoding}{pose.flip_test:d}{pose.shift:d}",
        *pose.keypoints,
        *pose.flip_indices,
        *(end for link in pose.links for end in link),
        *(f"{value:.17g}" for value in numbers),
    ]


def dumped(value: Any) -> str:
    """A document in one line, as host_check.cpp has it in C++."""
    if isinstance(value, dict):
        return "{" + "".join(f"'{key}': {dumped(item)}, " for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + "".join(f"{dumped(item)}, " for item in value) + "]"
    if isinstance(value, str):
        return f"'{value}'"
    if value is None or isinstance(value, bool):
        return str(value)
    return f"{float(value) + 0.0:.17g}"  # -0 is 0


def _read_in_python(read: Callable[[str], str], path: str) -> str:
    """What the Python reader makes of ``path``: "read ...", "error: ...", a traceback, or "hang"."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(MAX_SECONDS)
    try:
        return "read " + read(path)
    except InputError as e:
        text = str(e)
        one_line = text == "".join(text.splitlines()) and not _UNPRINTABLE.search(text) and len(text) < len(path) + 400
        return f"error: {text}" if one_line else f"not one line: {text!r}"
    except TimeoutError:
        return "hang"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.alarm(0)


def _read_in_cpp(program: pathlib.Path, command: str, paths: Sequence[str]) -> List[str]:
    """What the C++ reader makes of each of ``paths``: as in Python, or "crash" with its last words."""
    found: List[str] = []
    while len(found) < len(paths):
        chunk = paths[len(found) :][:_CHUNK]
        process = subprocess.Popen(
            [program, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = process.communicate("".join(path + "\n" for path in chunk).encode(), timeout=20 * MAX_SECONDS)
            end = f"crash: status {process.returncode} {err.decode(errors='replace')[:3000]}"
        except subprocess.TimeoutExpired:
            process.kill()
            out, end = process.communicate()[0], "hang"
        lines = out.decode(errors="replace").split("\n")[:-1]
        found += lines if len(lines) == len(chunk) else [*lines, end]
    return found


class Outcomes:
    """How often the two readers did what, and the cases in which one of them was wrong."""

    def __init__(self) -> None:
        kinds = (
            "cases",
            "accepted by both",
            "refused by both",
            "refused by one",
            "other words",
            "other values",
            "tracebacks",
            "crashes",
            "hangs",
        )
        self.count: Dict[str, int] = dict.fromkeys(kinds, 0)
        self.failures: List[str] = []

    def add(self, name: str, python: str, cpp: str) -> None:
        """Count what came of one file."""
        self.count["cases"] += 1
        verdicts = [text.split(" ")[0] for text in (python, cpp)]
        if "hang" in (python, cpp):
            kind = "hangs"
        elif verdicts[1] not in ("read", "error:"):
            kind = "crashes"
        elif verdicts[0] not in ("read", "error:"):
            kind = "tracebacks"
        elif verdicts[0] != verdicts[1]:
            kind = "refused by one"
        elif verdicts[0] == "read" and python != cpp:
            kind = "other values"
        else:
            kind = "accepted by both" if verdicts[0] == "read" else "refused by both"
            self.count["other words"] += python != cpp
        self.count[kind] += 1
        if kind in ("tracebacks", "crashes", "hangs", "other values"):
            self.failures.append(f"{name}: {kind}\n  Python: {python}\n  C++: {cpp}")


@contextlib.contextmanager
def reads_only(folder: str) -> Iterator[Set[str]]:
    """Collects the files that Python opens outside ``folder``."""
    outside: Set[str] = set()
    active = True

    def watch(event: str, arguments: Any) -> None:
        if active and event == "open" and isinstance(arguments[0], str):
            path = os.path.realpath(arguments[0])
            if not path.startswith(os.path.join(os.path.realpath(folder), "")):
                outside.add(path)

    sys.addaudithook(watch)
    try:
        yield outside
    finally:
        active = False


def fuzz_contracts(good: str, programs: Sequence[pathlib.Path], numbers: Sequence[int], seed: int) -> Outcomes:
    """Read mutated forms of the deploy.yaml in the folder ``good`` in Python and with each of ``programs``."""
    text = pathlib.Path(good, "deploy.yaml").read_text()
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory(prefix="contract_fuzz") as parent:
        folders = []
        for number in numbers:
            folder = pathlib.Path(parent, str(number))
            shutil.copytree(good, folder, copy_function=os.link)
            (folder / "deploy.yaml").unlink()
            (folder / "deploy.yaml").write_bytes(mutated_contract(text, random.Random(f"{seed}:{number}")))
            folders.append(str(folder))
        with reads_only(parent) as outside:
            python = [_read_in_python(stated, folder) for folder in folders]
        outcomes.failures += [f"opened {path}" for path in sorted(outside)]
        in_cpp = [_read_in_cpp(program, "contracts", folders) for program in programs]
        for found in in_cpp or [python]:
            for folder, one, other in zip_strict(folders, python, found):
                outcomes.add(os.path.basename(folder), one, other)
    return outcomes


def _fuzz_files(
    command: str,
    content: Callable[[random.Random], bytes],
    read: Callable[[str], str],
    programs: Sequence[pathlib.Path],
    numbers: Sequence[int],
    seed: int,
) -> Outcomes:
    """Read files of random ``content`` with ``read`` and with the ``command`` of each of ``programs``."""
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory(prefix="contract_fuzz") as parent:
        paths = [os.path.join(parent, str(number)) for number in numbers]
        for number, path in zip_strict(numbers, paths):
            pathlib.Path(path).write_bytes(content(random.Random(f"{seed}:{number}")))
        python = [_read_in_python(read, path) for path in paths]
        in_cpp = [_read_in_cpp(program, command, paths) for program in programs]
        for found in in_cpp or [python]:
            for path, one, other in zip_strict(paths, python, found):
                outcomes.add(os.path.basename(path), one, other)
    return outcomes


def _good_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((3, 4, 5), np.float32))
    return file.getvalue()


KINDS = ("contracts", "documents", "arrays")


def fuzz(kind: str, good: str, programs: Sequence[pathlib.Path], numbers: Sequence[int], seed: int) -> Outcomes:
    """Read mutated files of one of ``KINDS`` in Python, and with each of ``programs`` in C++."""
    if kind == "contracts":
        return fuzz_contracts(good, programs, numbers, seed)
    if kind == "documents":
        return _fuzz_files(kind, random_document, lambda path: dumped(read_document(path)), programs, numbers, seed)
    array = _good_array()
    return _fuzz_files(
        kind,
        lambda chance: mutated_array(array, chance),
        lambda path: "x".join(map(str, read_npy(path).shape)),
        programs,
        numbers,
        seed,
    )


def build(folder: str, flags: str = "") -> Optional[pathlib.Path]:
    """Build host_check in ``folder`` with the compiler's ``flags``; None where that cannot be done."""
    configure = ["cmake", "-S", SOURCE, "-B", folder, f"-DCMAKE_CXX_FLAGS={flags}"]
    for command in (configure, ["cmake", "--build", folder, "--parallel", "2", "--target", "host_check"]):
        if not shutil.which("cmake") or subprocess.run(command, capture_output=True).returncode:
            return None
    return pathlib.Path(folder, "host_check")


def main() -> int:
    faulthandler.enable()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    args = parser.parse_args()
    from tiny_network import PREPROCESSING, tiny

    from paddle_rtseg.export.exporter import export_model

    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        good = export_model(tiny(), os.path.join(folder, "model"), PREPROCESSING, output_op="logits")
        plain, checked = build(os.path.join(folder, "plain")), build(os.path.join(folder, "checked"), SANITIZERS)
        print(f"C++ reader: {'built' if plain else 'cannot be built'}; with sanitizers: {'built' if checked else 'no'}")
        programs = [program for program in (plain, checked) if program]
        for kind in KINDS:
            start, total = time.monotonic(), Outcomes()
            for first in range(0, args.count, 500):
                part = fuzz(kind, good, programs, range(first, min(first + 500, args.count)), args.seed)
                total.failures += part.failures
                total.count = {name: n + part.count[name] for name, n in total.count.items()}
            print(f"{kind}, {args.count} files, {len(programs)} C++ programs, {time.monotonic() - start:.0f} s")
            print("".join(f"  {n:7d} {name}\n" for name, n in total.count.items()), end="")
            print("".join(f"{failure[:4000]}\n" for failure in total.failures[:20]), end="")
            failures += len(total.failures)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
