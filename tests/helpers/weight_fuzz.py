"""Damaged and hostile weight files of every form, from a seed; each must be read, or be refused in one sentence.

Also a program: ``python weight_fuzz.py [COUNT [SEED]]`` reads that many files and prints what came of them. It forks,
so that a crash counts as one, and so that the memory that the reading took can be measured.
"""

import gzip
import io
import json
import multiprocessing
import os
import pickle
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from typing import Any, Callable, Dict, List

import numpy as np
import safetensors.numpy
from hostile import Command

from paddle_rtseg.errors import InputError
from paddle_rtseg.weights import paddle_files, read_state

FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
MAX_SECONDS, MAX_MIB = 5, 1024
_CHUNK = 100  # files per process
_NUMBERS = [0, 1, 2, 4, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
_FRAGMENTS = [
    *(
        bytes([code])
        for code in b"NK(0tldesu}]).RbQacqhjr\x80\x85\x86\x87\x88\x8a\x8c\x93\x94\x95\x8e\x8d\x81\x92\x8f\x96"
    ),
    b"cposix\nsystem\n",
    b"cnumpy\nndarray\n)R",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"c_codecs\nencode\n",
    b"}X\x13\x00\x00\x00__array_interface__K\x01sb",
    b"N}\x86b",
    b"Nr\xff\xff\xff\x0f",
    b"q\x00h\x00h\x00\x86" * 30,
    b"]" * 50,
]


def corpus(trace: str) -> Dict[str, bytes]:
    """Whole files by form; the one called "command" would create the file ``trace``."""
    random_ = np.random.default_rng(0)
    arrays = {f"layer{i}.weight": random_.normal(size=(4, i + 1)).astype("float32") for i in range(4)}
    arrays["half"] = random_.normal(size=5).astype("float16")
    arrays["bfloat16"] = np.arange(6, dtype="uint16").reshape(2, 3)
    names = {"StructuredToParameterName@@": {name: f"linear_{i}.w_0" for i, name in enumerate(arrays)}}
    pairs = {"state_dict": {name: (f"p{i}", array) for i, (name, array) in enumerate(arrays.items())}, "epoch": 3}
    slices = {
        "s0": np.zeros(4),
        "s1": np.ones(2),
        "UnpackBigParamInfor@@": {"w": {"OriginShape": (2, 3), "slices": []}},
    }
    slices["UnpackBigParamInfor@@"]["w"]["slices"] = ["s0", "s1"]
    schedule = {"LR_Scheduler": {"last_epoch": 7, "last_lr": 0.01, "LinearWarmup_LR": {"last_epoch": np.int64(2)}}}
    files = {f"pdparams{p}": pickle.dumps({**arrays, **names}, protocol=p) for p in (2, 3, 4)}
    files.update({f"pairs{p}": pickle.dumps(pairs, protocol=p) for p in (2, 4)})
    files["slices"] = pickle.dumps(slices, protocol=2)
    files["pdopt"] = pickle.dumps({**arrays, **schedule, "master_weights": dict(arrays)}, protocol=4)
    files["command"] = pickle.dumps({**arrays, "bad": Command(trace)}, protocol=4)
    files["safetensors"] = safetensors.numpy.save(
        {name: array for name, array in arrays.items() if array.dtype != np.uint16}
    )
    for layout in ("zip", "legacy"):
        with open(os.path.join(FIXTURES, f"torch_{layout}.pth"), "rb") as file:
            files[layout] = file.read()
    files["deflated"] = _zip(_members(files["zip"]), zipfile.ZIP_DEFLATED)
    files["tar"] = gzip.compress(_tar(files["pdparams4"]), mtime=0)
    return files


def mutated(files: Dict[str, bytes], number: int, seed: int) -> bytes:
    """The file of this number: one of ``files`` with one to four changes, outside or inside its compression."""
    chance = random.Random(f"{seed}:{number}")
    form = chance.choice(sorted(files))
    content = files[form]
    if form in ("zip", "deflated") and chance.random() < 0.7:
        members = _members(content)
        name = chance.choice([n for n in members if n.endswith(".pkl")] * 8 + list(members))
        members[name] = _changed(members[name], files, chance)
        return _zip(members, chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    if form == "tar" and chance.random() < 0.8:
        inside = (
            _tar(_changed(files["pdparams4"], files, chance)) if chance.random() < 0.5 else gzip.decompress(content)
        )
        return gzip.compress(_changed(inside, files, chance), mtime=0)
    return _changed(content, files, chance)


def _changed(content: bytes, files: Dict[str, bytes], chance: random.Random) -> bytes:
    changes: List[Callable[[bytes], bytes]] = [
        lambda c: _put(c, chance, bytes([chance.randrange(256)]), replace=1),
        lambda c: _put(c, chance, bytes([chance.randrange(256)]), replace=1),
        lambda c: _put(c, chance, chance.choice(_FRAGMENTS), replace=0),
        lambda c: _put(c, chance, chance.choice(_FRAGMENTS), replace=1),
        lambda c: _put(c, chance, _number(chance), replace=None),
        lambda c: _put(c, chance, b"", replace=chance.randrange(1, 40)),
        lambda c: _put(c, chance, _piece(c, chance), replace=0),
        lambda c: _put(c, chance, _piece(files[chance.choice(sorted(files))], chance), replace=None),
        lambda c: c[: chance.randrange(len(c) + 1)],
    ]
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        content = chance.choice(changes)(content)
    return content


def _put(content: bytes, chance: random.Random, piece: bytes, replace: Any) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + piece + content[at + (len(piece) if replace is None else replace) :]


def _number(chance: random.Random) -> bytes:
    size = chance.choice([1, 2, 4, 8])
    return (chance.choice(_NUMBERS) % (1 << (8 * size))).to_bytes(size, chance.choice(["little", "big"]))


def _piece(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[at : at + chance.choice([4, 16, 64, 1024])]


def _members(content: bytes) -> Dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: Dict[str, bytes], compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _tar(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("x/model.pdparams")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _outcome(read: Callable[[str], Any], path: str) -> str:
    """One of "read" and "refused", or a traceback."""
    try:
        read(path)
    except InputError as e:
        return "refused" if len(str(e)) < 500 and str(e).isprintable() else f"not one line: {e!r}"
    except BaseException:
        return traceback.format_exc()
    return "read"


def _read_chunk(numbers: List[int], seed: int, folder: str, pipe: Any) -> None:
    """Read some files, and send what came of each."""
    files = corpus(os.path.join(folder, "trace"))
    path = os.path.join(folder, "file.pth")
    paddle_files.load(_written(path, files["pdopt"]))  # what the reading itself needs, before memory is compared
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        _written(path, mutated(files, number, seed))
        signal.alarm(60)
        start = time.monotonic()
        outcomes = [_outcome(read, path) for read in (read_state, paddle_files.load)]
        seconds = time.monotonic() - start
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        pipe.send((number, outcomes, seconds, memory))
    pipe.close()


def _written(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def run(count: int, seed: int = 0) -> Dict[str, Any]:
    """Read ``count`` files in two ways each; return the number of each outcome, and the largest time and memory."""
    found: Dict[str, Any] = {"read": 0, "refused": 0, "traceback": 0, "crash": 0, "executed": 0}
    found.update(slowest_seconds=0.0, largest_mib=0, failures=[])
    left = list(range(count))
    with tempfile.TemporaryDirectory() as folder:
        while left:
            done = _collect(left[:_CHUNK], seed, folder, found)
            if done < len(left[:_CHUNK]):  # the process died while it read the next one
                found["crash"] += 1
                found["failures"].append((left[done], "crash"))
                done += 1
            left = left[done:]
        found["executed"] = int(os.path.exists(os.path.join(folder, "trace")))
    return found


def _collect(numbers: List[int], seed: int, folder: str, found: Dict[str, Any]) -> int:
    """Read some files in a process of their own; return how many of them it finished."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_read_chunk, args=(numbers, seed, folder, sender))
    process.start()
    sender.close()
    done = 0
    try:
        while True:
            number, outcomes, seconds, memory = receiver.recv()
            done += 1
            found["slowest_seconds"] = max(found["slowest_seconds"], round(seconds, 2))
            found["largest_mib"] = max(found["largest_mib"], round(memory))
            for outcome in outcomes:
                found[outcome if outcome in ("read", "refused") else "traceback"] += 1
                if outcome not in ("read", "refused"):
                    found["failures"].append((number, outcome))
    except EOFError:
        process.join()
    return done


def main() -> None:
    count, seed = (*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :])
    found = run(count, seed)
    print(json.dumps(found, indent=1))
    slow = found["slowest_seconds"] > MAX_SECONDS or found["largest_mib"] > MAX_MIB
    sys.exit(bool(found["failures"] or found["executed"] or slow))


if __name__ == "__main__":
    import paddle  # noqa: F401  once, before the processes fork

    main()
