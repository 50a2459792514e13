"""Every command with nonsense for each of its flags, from a seed; each must work, or end in one sentence.

Also a program: ``python flag_fuzz.py [COUNT [SEED]]`` runs that many command lines and prints what came of them. Each
runs in a process of its own, forked from one that has imported everything, in a folder with a tiny data set, weights
and an exported model.
"""

import argparse
import collections
import contextlib
import importlib
import inspect
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
from processes import HELPERS, python
from tiny_configs import tiny_config, write_config

from paddle_rtseg import plugin

MAX_SECONDS = 60  # what runs at all takes one or two; most of the time is for a busy machine
MAX_REFUSAL = 5.0  # seconds of processor time after which a refusal counts as a hang
SENTENCE = 500  # characters of an error; argparse adds the names of all flags

#: A command line of each command that works, or comes close to it.
BASE = {
    "train": ["--config", "config.yml", "--device", "cpu", "--save_dir", "out"],
    "val": ["--config", "config.yml", "--model_path", "weights.pdparams", "--device", "cpu"],
    "predict": [
        *("--config", "config.yml", "--model_path", "weights.pdparams", "--device", "cpu"),
        *("--image_path", "images", "--save_dir", "out"),
    ],
    "export": [
        *("--config", "config.yml", "--model_path", "weights.pdparams", "--device", "cpu", "--save_dir", "out"),
        *("--input_shape", "1", "3", "64", "64", "--format", "json"),
    ],
    "infer": ["--model", "model", "--input", "images", "--save_dir", "out", "--backend", "native"],
    # Where nothing listens: Ray takes a minute to start.
    "bulk": ["--model", "model", "--input", "images", "--save_dir", "out", "--address", "127.0.0.1:9"],
    "check_dataset": ["--config", "config.yml"],
    "compare": ["--images", "images", "--labels", "labels", "--masks", "labels", "--save", "sheet.png"],
    "compare_infer": ["--infer", "text.txt", "--theirs", "model", "--ours", "model", "--image", "images/a.png"],
    "convert": ["--family", "segformer", "--input", "weights.pdparams", "--output", "out.safetensors"],
    "benchmark": [
        "--models",
        "RTFormer_Slim:base_channels=8",
        "--sizes",
        "32x32",
        "--turns",
        "2",
        "--backends",
        "dygraph",
    ],
    "env": [],
    "trt_report": ["--model", "model"],
    "release": [
        *("--config", "config.yml", "--model_path", "weights.pdparams", "--save", "out.safetensors", "--device", "cpu"),
    ],
    "model_zoo": ["--root", "folder", "--check"],
    "import_labels": ["--format", "binary", "--input", "labels", "--images", "images", "--save_dir", "out"],
    "import_keypoints": ["--input", "text.txt", "--images", "images", "--save", "out.json"],
    "serve": ["--model", "model", "--token_file", "none.txt"],  # refused before Ray starts
    "new": ["--data", "data.yml", "--save", "new.yml"],
    # Refused: two images are too few to search with, which would take long.
    "tune": ["--config", "config.yml", "--model_path", "weights.pdparams", "--save_dir", "out", "--budget_ms", "1000"],
}
NONSENSE = [
    *("nan", "inf", "-1", "0", "-0.5", "1e30", str(10**30), "", " ", "²", "x" * 10_000, "a,b", "=", "[", "{}", "\n"),
    *("folder", "pipe", "none.txt", "text.txt", "empty.txt", "bilder/größe.png", "images/a.png", "model/deploy.yaml"),
    *("loop", "gone", "../..", "9000"),
]
#: Flags that make a command long, with values that they take.
_LONG = {"--iters": "1", "--epochs": "1", "--turns": "2", "--threads": "1"}
#: Flags that are not nonsense on their own.
_HARMLESS = {"--help", "-h"}


class Case(NamedTuple):
    """One command line: that of ``BASE`` with a flag replaced."""

    command: str
    flag: str
    arguments: List[str]


def cases(count: int, seed: int) -> Iterator[Case]:
    """Command lines, the flags of all commands in turn."""
    flags = [(command, action) for command in BASE for action in _actions(command)]
    chance = random.Random(f"flags:{seed}")
    chance.shuffle(flags)
    for number in range(count):
        command, action = flags[number % len(flags)]
        yield _case(command, action, random.Random(f"{seed}:{number}"))


def parser(command: str) -> argparse.ArgumentParser:
    return importlib.import_module(f"paddle_rtseg.tools.{command}").parser()


def _actions(command: str) -> List[argparse.Action]:
    actions = [a for a in parser(command)._actions if a.option_strings and not _HARMLESS & set(a.option_strings)]
    return actions or [argparse.Action(["--none"], "none")]


def _case(command: str, action: argparse.Action, chance: random.Random) -> Case:
    flag = action.option_strings[-1]
    values = _values(flag, action, chance)
    arguments = _without(BASE[command], flag)
    switches = [a.option_strings[-1] for a in _actions(command) if a.nargs == 0 and a.option_strings[-1] != flag]
    if switches and chance.random() < 0.3:
        arguments.append(chance.choice(switches))
    return Case(command, flag, [*arguments, flag, *values])


def _values(flag: str, action: argparse.Action, chance: random.Random) -> List[str]:
    if action.nargs == 0:
        return []
    if flag == "--opts":
        return [_option(chance) for _ in range(chance.randint(1, 2))]
    known = NONSENSE if flag not in _LONG else [value for value in NONSENSE if value != "9000"] + [_LONG[flag]]
    if action.choices and chance.random() < 0.5:
        known = list(map(str, action.choices))
    count = 1 if action.nargs is None else chance.choice([1, 2, 2, 3, 4, 4])
    if chance.random() < 0.1:
        count = chance.randint(0, 5)
    return [chance.choice(known) for _ in range(count)]


def _option(chance: random.Random) -> str:
    """A key of the tiny config, sometimes a part of it or a wrong one, and nonsense."""
    keys = list(_keys(tiny_config("."), ""))
    key = chance.choice(keys)
    if chance.random() < 0.2:
        key = chance.choice([key + "x", key[:-1], key + ".x", ".", ""])
    if chance.random() < 0.4:
        section = chance.choice(sorted(_COMPONENTS))
        return f"{section}={json.dumps(_component(section, chance))}"
    values = [
        *NONSENSE,
        "null",
        "true",
        "[]",
        "[1]",
        "[1, 2]",
        "{a: 1}",
        "{type: Resize}",
        "[[[1]]]",
        "3",
        "SGD",
        "1.5",
    ]
    if key == "iters" or key.startswith("model."):  # they would take long, or much memory
        values.remove("9000")
    return f"{key}={chance.choice(values)}"


#: Sections that hold components, and PaddleSeg's manager of these.
_COMPONENTS = {
    "train_dataset.transforms": "TRANSFORMS",
    "val_dataset.transforms": "TRANSFORMS",
    "loss.types": "LOSSES",
    "optimizer": "OPTIMIZERS",
    "lr_scheduler": "",
    "test_config": "",
}
_TEST_KEYS = ("aug_eval", "scales", "flip_horizontal", "is_slide", "crop_size", "stride", "auc_roc", "none")
_VALUES = (
    0,
    -1,
    1,
    2,
    3,
    0.5,
    1e30,
    "x",
    "",
    None,
    True,
    [],
    [1],
    [1, 2],
    [64, 64],
    [0, 0],
    [0.5] * 3,
    {"a": 1},
    "1e-3",
)


def _component(section: str, chance: random.Random) -> Any:
    """What a section may hold: components of any type with nonsense for some of their arguments."""
    import paddle
    from paddleseg.cvlibs import manager

    if section == "test_config":
        return {key: chance.choice(_VALUES) for key in chance.sample(_TEST_KEYS, 3)}
    if section == "lr_scheduler":
        known = {name: item for name, item in vars(paddle.optimizer.lr).items() if name.endswith(("Decay", "LR"))}
    else:
        known = getattr(manager, _COMPONENTS[section]).components_dict
    name = chance.choice(sorted(known))
    parameters = sorted(set(inspect.signature(known[name]).parameters) - {"args", "kwargs"})
    chosen = chance.sample(parameters, min(len(parameters), chance.randint(0, 2)))
    component = {"type": name, **{parameter: chance.choice(_VALUES) for parameter in chosen}}
    if section == "lr_scheduler" and chance.random() < 0.7:
        component.setdefault("learning_rate", 0.01)
    if section.endswith("transforms"):
        return [component, {"type": "Normalize"}]
    return [component] if section == "loss.types" else component


def _keys(values: Dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _without(arguments: Sequence[str], flag: str) -> List[str]:
    """``arguments`` without a flag and its values."""
    kept: List[str] = []
    skipping = False
    for argument in arguments:
        skipping = argument == flag or (skipping and not argument.startswith("--"))
        if not skipping:
            kept.append(argument)
    return kept


def make_folder(root: str) -> None:
    """Fill a folder with what the command lines name."""
    for name in ("images", "labels", "folder", "bilder"):
        os.mkdir(os.path.join(root, name))
    chance = np.random.default_rng(0)
    for name in ("a", "b"):
        cv2.imwrite(os.path.join(root, f"images/{name}.png"), chance.integers(0, 255, (64, 64, 3), np.uint8))
        cv2.imwrite(os.path.join(root, f"labels/{name}.png"), chance.integers(0, 4, (64, 64), np.uint8))
    shutil.copy(os.path.join(root, "images/a.png"), os.path.join(root, "bilder/größe.png"))
    lines = "images/a.png labels/a.png\nimages/b.png labels/b.png\n"
    texts = {"list.txt": lines, "text.txt": "text\n", "empty.txt": ""}
    texts["data.yml"] = "train: list.txt\nval: list.txt\nnames: [a, b, c, d]\n"
    for name, text in texts.items():
        with open(os.path.join(root, name), "w") as file:
            file.write(text)
    os.mkfifo(os.path.join(root, "pipe"))
    os.symlink("loop", os.path.join(root, "loop"))
    os.symlink("nowhere", os.path.join(root, "gone"))
    write_config(os.path.join(root, "config.yml"), tiny_config("."))
    python(
        __file__, "--make", root, check=True, **HELPERS
    )  # in another process: this one must not compute before it forks


def _make_model(root: str) -> None:
    """Write the weights and the exported model that the command lines name."""
    import paddle
    from rtseg_inference.contract import Preprocessing

    from paddle_rtseg.config import Builder, load_config
    from paddle_rtseg.export.exporter import export_model

    os.chdir(root)
    model = Builder(load_config("config.yml")).model
    paddle.save(model.state_dict(), "weights.pdparams")
    export_model(model, "model", Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3), onnx="no")


def run(case: Case, template: str) -> Tuple[str, float, str]:
    """Run a command line in a copy of the folder: the outcome, processor time in seconds, what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "parent", "work")  # "../.." is a small folder too
        shutil.copytree(template, root, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
        os.mkfifo(os.path.join(root, "pipe"))
        errors = os.path.join(folder, "stderr")
        child = os.fork()
        if child == 0:
            _run_here(case, root, errors)
        status, seconds = _wait(child, time.monotonic() + MAX_SECONDS)
        with open(errors, errors="replace") as file:
            text = file.read()
    return _outcome(status, seconds, text), seconds, text


def _run_here(case: Case, root: str, errors: str) -> None:
    """In the forked process: run the command and leave."""
    status = 70
    try:
        os.setsid()
        os.chdir(root)
        for number, path in ((0, os.devnull), (1, os.devnull), (2, errors)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
        os.environ.update(
            HOME=root, RTSEG_CACHE=os.path.join(root, "cache"), PADDLE_RTSEG_CACHE=os.path.join(root, "c")
        )
        sys.argv = [f"paddle_rtseg.{case.command}", *case.arguments]
        tool = importlib.import_module(f"paddle_rtseg.tools.{case.command}")
        from paddle_rtseg.tools.command import run as run_command

        run_command(tool.parser, tool.main)
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, deadline: float) -> Tuple[Optional[int], float]:
    """The status of the process as ``os.waitpid`` gives it, None if it had to be killed; and its processor time."""
    while time.monotonic() < deadline:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            _kill_group(child)
            return status, used.ru_utime + used.ru_stime
        time.sleep(0.01)
    _kill_group(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, _, used = os.wait4(child, 0)
    return None, used.ru_utime + used.ru_stime


def _kill_group(child: int) -> None:
    """End what the process left running."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _outcome(status: Optional[int], seconds: float, errors: str) -> str:
    if status is None:
        return "hang"
    if os.WIFSIGNALED(status):
        return f"crash {os.WTERMSIG(status)}"
    status = os.WEXITSTATUS(status)
    if "Traceback (most recent call last)" in errors:
        return "traceback"
    sentences = [line for line in errors.splitlines() if "error: " in line and not line.startswith(" ")]
    if status == 2 and (len(sentences) != 1 or len(sentences[0]) > SENTENCE):
        return "no sentence"
    if status == 2 and seconds > MAX_REFUSAL:
        return "slow refusal"
    if status == 0 and sentences:
        return "sentence with status 0"
    return {0: "worked", 1: "reported", 2: "refused"}.get(status, f"status {status}")


GOOD = ("worked", "reported", "refused")


def fuzz(count: int, seed: int, report: Any = None) -> Dict[str, Any]:
    """Run command lines; return their number by command and outcome, the slowest ones, and the failures."""
    _import_everything()
    table: Dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    failures: List[Dict[str, Any]] = []
    slowest = {name: (0.0, "") for name in GOOD}
    with tempfile.TemporaryDirectory() as template:
        make_folder(template)
        for case in cases(count, seed):
            outcome, seconds, errors = run(case, template)
            table[case.command][outcome] += 1
            line = " ".join([case.command, *(repr(argument[:60]) for argument in case.arguments)])
            if outcome in GOOD:
                slowest[outcome] = max(slowest[outcome], (round(seconds, 1), line))
            if outcome not in GOOD:
                failures.append({"outcome": outcome, "line": line, "errors": errors[-1500:]})
                if report:
                    report(failures[-1])
    total = sum(table.values(), collections.Counter())
    return {
        **{name: total[name] for name in GOOD},
        "failed": len(failures),
        "slowest": slowest,
        "commands": {command: dict(counts) for command, counts in sorted(table.items())},
        "failures": failures,
    }


def _import_everything() -> None:
    """Import what the commands import, so that each forked process starts at once. Nothing is computed."""
    from rtseg_inference import environment

    environment.configure()
    for command in BASE:
        importlib.import_module(f"paddle_rtseg.tools.{command}")
    for module in ("config", "training.run", "export.from_config", "data.report", "benchmark.timing"):
        importlib.import_module(f"paddle_rtseg.{module}")
    time_of_loop = sys.modules["paddleseg.core.train"].time  # the loop sleeps for a second at its end
    sleep = time_of_loop.sleep
    time_of_loop.sleep = lambda seconds: sleep(min(seconds, 0.1))


def main(arguments: List[str]) -> int:
    if arguments[:1] == ["--make"]:
        _make_model(arguments[1])
        return 0
    count, seed = (int(arguments[i]) if len(arguments) > i else default for i, default in ((0, 1000), (1, 0)))
    with contextlib.redirect_stdout(io.StringIO()):
        found = fuzz(count, seed, lambda failure: print(json.dumps(failure, indent=1), file=sys.stderr))
    print(json.dumps(found, indent=1))
    return 1 if found["failed"] else 0


assert set(BASE) == set(plugin.PADDLESEG_COMMANDS + plugin.OWN_COMMANDS)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
