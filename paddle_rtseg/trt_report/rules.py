"""Which operators of an exported model Paddle would give to TensorRT, and into which parts the model falls.

This is what the rules say. No engine is built, and TensorRT may still refuse what Paddle gives to it.
"""

import collections
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Tuple

from ..errors import InputError
from . import rules_3x, rules_26
from .program import ExportedProgram, Operator, read_program
from .verdict import ACCEPTED, FOLDED, PLUGIN, REJECTED, Verdict

PADDLE = {"2.6": rules_26, "3.x": rules_3x}
FORMAT = {"2.6": "pdmodel", "3.x": "json"}  #: what each Paddle's TensorRT path reads
DEFAULT_TENSORRT = {"2.6": "8.5", "3.x": "8.6"}
# The smallest part that becomes an engine, with min_subgraph_size=3: 2.6 wants more than that, 3.x at least that.
SMALLEST_ENGINE = {"2.6": 4, "3.x": 3}


@dataclass
class Report:
    """What the rules say of one model."""

    program: ExportedProgram
    paddle: str
    tensorrt: str
    verdicts: List[Verdict]  #: one for each operator
    subgraphs: List[List[int]]  #: indices of the operators of each engine, by estimate

    def rows(self, kind: str) -> List[Tuple[Operator, Verdict]]:
        """Operators with this kind of verdict."""
        return [(op, verdict) for op, verdict in zip(self.program.operators, self.verdicts) if verdict.kind == kind]

    @property
    def rejected(self) -> List[Tuple[Operator, Verdict]]:
        return self.rows(REJECTED)


def report(path: str, paddle: Optional[str] = None, tensorrt: Optional[str] = None) -> Report:
    """Judge every operator of an exported model.

    Args:
        path: the folder of an exported model, or its .pdmodel or .json.
        paddle: "2.6" or "3.x"; by default the one whose TensorRT path reads this kind of file.
        tensorrt: "8.5", "8.6" or "10.5"; by default the one that fits ``paddle`` best.

    Raises:
        InputError: the file cannot be read, or the versions do not go together.
    """
    program = read_program(path)
    paddle = paddle or next(version for version, form in FORMAT.items() if form == program.format)
    if FORMAT[paddle] != program.format:
        raise InputError(
            f"expected a {FORMAT[paddle]}, which is what Paddle {paddle}'s TensorRT path reads, got {program.path}; "
            f"export with --format {FORMAT[paddle]} (Paddle {'2.6 or 3.0' if paddle == '2.6' else '3'} writes it)"
        )
    rules = PADDLE[paddle]
    tensorrt = tensorrt or DEFAULT_TENSORRT[paddle]
    version = tuple(map(int, tensorrt.split(".")))
    if version not in rules.TENSORRT:
        known = " or ".join(".".join(map(str, v)) for v in rules.TENSORRT)
        raise InputError(f"Paddle {paddle} goes with TensorRT {known}, got {tensorrt}; choose another")
    folded = fold(program.operators, rules.NEVER_FOLDED)
    verdicts = [Verdict(FOLDED) if i in folded else rules.judge(op, version) for i, op in enumerate(program.operators)]
    inside = {i for i, verdict in enumerate(verdicts) if verdict.kind in (ACCEPTED, PLUGIN)}
    subgraphs = [part for part in cut(program.operators, inside, folded) if len(part) >= SMALLEST_ENGINE[paddle]]
    return Report(program, paddle, tensorrt, verdicts, subgraphs)


def fold(operators: List[Operator], never: Set[str]) -> Set[int]:
    """Indices of the operators that only depend on constants. What they write is marked as constant."""
    folded = set()
    for i, op in enumerate(operators):
        if op.type not in never and all(tensor.constant for tensor in op.reads):
            folded.add(i)
            for tensor in op.writes:
                tensor.constant = True
    return folded


def cut(operators: List[Operator], inside: Set[int], folded: Set[int]) -> List[List[int]]:
    """Group the operators that go into TensorRT as Paddle's subgraph detector does.

    A group is joined with one that reads from it if no other way leads from the first to the second: else the
    engine would have to wait for a result that itself waits for the engine.

    Args:
        operators: in the order in which they run.
        inside: indices of those that go into TensorRT.
        folded: indices of those that are gone by then.

    Returns:
        Indices of each group, ascending; groups in the order of their first operator. An estimate: Paddle fuses
        operators first.
    """
    index = {id(op): i for i, op in enumerate(operators)}
    inputs: Dict[int, Set[int]] = {i: set() for i in range(len(operators)) if i not in folded}
    for i in inputs:
        made_by = (tensor.producer for tensor in operators[i].reads)
        inputs[i] = {index[id(op)] for op in made_by if op is not None} - folded - {i}
    outputs: Dict[int, Set[int]] = {i: set() for i in inputs}
    for i, sources in inputs.items():
        for source in sources:
            outputs[source].add(i)

    def reaches(first: int, last: int) -> bool:
        """Whether another way than the direct one leads from ``first`` to ``last``."""
        waiting, seen = list(inputs[last] - {first}), set()
        while waiting:
            node = waiting.pop()
            if node == first:
                return True
            if node not in seen:
                seen.add(node)
                waiting += inputs[node]
        return False

    def join(node: int, reader: int) -> None:
        for source in inputs.pop(reader) - {node}:
            outputs[source].remove(reader)
            outputs[source].add(node)
            inputs[node].add(source)
        for follower in outputs.pop(reader):
            inputs[follower].remove(reader)
            inputs[follower].add(node)
            outputs[node].add(follower)
        outputs[node].remove(reader)
        members[node] += members.pop(reader)

    members = {i: [i] for i in sorted(inside)}
    for node in sorted(inside):
        while node in members:  # else it has joined an earlier one
            reader = next((n for n in sorted(outputs[node] & inside) if not reaches(node, n)), None)
            if reader is None:
                break
            join(node, reader)
    return sorted(map(sorted, members.values()))


def as_text(report: Report) -> str:
    """The report for people."""
    operators, counts = report.program.operators, collections.Counter()
    for op, verdict in zip(operators, report.verdicts):
        counts[verdict.kind, op.type] += 1
    lines = [
        f"{report.program.path}: {len(operators)} operators, by the rules of Paddle {report.paddle} and TensorRT "
        f"{report.tensorrt} with dynamic shapes.",
        "No engine was built: this is what Paddle would give to TensorRT, not what TensorRT makes of it.",
        "",
    ]
    lines += [f"{n:6d}  {kind:9s} {op}" for (kind, op), n in sorted(counts.items())]
    for kind in (REJECTED, PLUGIN, ACCEPTED):
        rows = [row for row in report.rows(kind) if row[1].reason]
        if rows:
            lines += ["", f"{kind}:" if kind != ACCEPTED else f"{kind}, but:"]
            lines += [f"  {op.type} -> {_shape(op)}: {v.reason}\n    {op.source or 'line unknown'}" for op, v in rows]
    total = {kind: len(report.rows(kind)) for kind in (ACCEPTED, PLUGIN, REJECTED, FOLDED)}
    sizes = ", ".join(str(len(part)) for part in report.subgraphs) or "none"
    lines += [
        "",
        f"{total[ACCEPTED]} accepted, {total[PLUGIN]} in plugins, {total[REJECTED]} rejected, "
        f"{total[FOLDED]} computed before.",
        f"Engines, by estimate: {len(report.subgraphs)}; operators in each: {sizes}. "
        f"{_outside(report)} operators stay outside.",
    ]
    return "\n".join(lines)


def as_dict(report: Report) -> Dict[str, Any]:
    """The report for programs."""
    engine = {i: n for n, part in enumerate(report.subgraphs) for i in part}
    return {
        "model": report.program.path,
        "paddle": report.paddle,
        "tensorrt": report.tensorrt,
        "engine_built": False,
        "subgraphs_are_estimates": True,
        "subgraphs": report.subgraphs,
        "outside": _outside(report),
        "operators": [
            {
                "operator": op.type,
                "verdict": verdict.kind,
                "reason": verdict.reason,
                "source": op.source,
                "output": _shape(op),
                "subgraph": engine.get(i),
            }
            for i, (op, verdict) in enumerate(zip(report.program.operators, report.verdicts))
        ],
    }


def _outside(report: Report) -> int:
    """Operators that neither are in an engine nor were computed before."""
    return len(report.verdicts) - len(report.rows(FOLDED)) - sum(map(len, report.subgraphs))


def _shape(op: Operator) -> str:
    first = next(op.writes, None)
    return "nothing" if first is None else f"{first.name} {list(first.shape or [])}"
