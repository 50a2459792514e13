"""Every fuzzing program, one after the other, and one table of what they found: ``python fuzz.py [SEED]``.

Exit status 1 if one of them fails, which each does at the first traceback, crash, hang or executed line of code.
"""

import os
import re
import subprocess
import sys
import time
from typing import List, NamedTuple

FOLDER = os.path.dirname(os.path.abspath(__file__))
#: Programs of this folder, and how many inputs each makes up.
PROGRAMS = {"weight_fuzz": 10_000, "contract_fuzz": 10_000, "image_fuzz": 1_000, "flag_fuzz": 1_000}
HOURS = 2.0  #: after which a program counts as hanging


class Outcome(NamedTuple):
    """What a program came to."""

    program: str
    count: int
    failed: bool
    seconds: float
    figures: str


def run(program: str, count: int, seed: int) -> Outcome:
    """Run a program to its end, and show its output if it fails."""
    start = time.monotonic()
    command = [sys.executable, os.path.join(FOLDER, program + ".py"), str(count), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([FOLDER, os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=3600 * HOURS
        )
        output, failed = done.stdout, done.returncode != 0
    except subprocess.TimeoutExpired as e:
        output, failed = f"{(e.stdout or b'').decode(errors='replace')}\nno end within {HOURS} hours", True
    if failed:
        print(f"--- {program} {count} {seed}\n{output[-20000:]}", flush=True)
    return Outcome(program, count, failed, time.monotonic() - start, figures(output))


def figures(output: str) -> str:
    """The numbers that a program prints, as JSON or in lines "NUMBER what"."""
    found = re.findall(r'^ "(\w+)": ([\d.]+),?$', output, re.MULTILINE)
    found += [(what, number) for number, what in re.findall(r"^ +(\d+) (.+)$", output, re.MULTILINE)]
    return ", ".join(f"{what} {number}" for what, number in found)


def as_table(outcomes: List[Outcome], seed: int) -> str:
    """The outcomes as a Markdown table."""
    lines = [f"| program, seed {seed} | inputs | | minutes | figures |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        state = "FAILED" if outcome.failed else "held"
        lines.append(
            f"| {outcome.program} | {outcome.count} | {state} | {outcome.seconds / 60:.1f} | {outcome.figures} |"
        )
    return "\n".join(lines)


def main(seed: int) -> int:
    outcomes = []
    for program, count in PROGRAMS.items():
        print(f"{program}, {count} inputs", flush=True)
        outcomes.append(run(program, count, seed))
    print(as_table(outcomes, seed))
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
