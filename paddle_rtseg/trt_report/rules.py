"""Which operators of an exported model Paddle would give to TensorRT, and into which engines the model would be cut.

Experimental: the rules were never compared with an engine. None is built here, and TensorRT may still reject an
operator that Paddle gives to it.
"""

import collections
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Tuple

from rtseg_inference.tensorrt import UNRELIABLE

from ..errors import InputError
from . import rules_3x, rules_26
from .program import ExportedProgram, Operator, read_program
from .verdict import ACCEPTED, FOLDED, PLUGIN, REJECTED, Verdict

PADDLE = {"2.6": rules_26, "3.x": rules_3x}
FORMAT = {"2.6": "pdmodel", "3.x": "json"}  #: the program format that the TensorRT path of each Paddle reads
DEFAULT_TENSORRT = {"2.6": "8.5", "3.x": "8.6"}
# Operators in the smallest engine, with min_subgraph_size=3: 2.6 requires more than that, 3.x at least that.
SMALLEST_ENGINE = {"2.6": 4, "3.x": 3}


@dataclass
class Report:
    """The verdicts on one model."""

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
    """Apply the rules to every operator of an exported model.

    Args:
        path: the folder of an exported model, or its .pdmodel or .json.
        paddle: "2.6" or "3.x"; default: the version whose TensorRT path reads this format.
        tensorrt: "8.5", "8.6", "10.5" or "10.8"; default: 8.5 for Paddle 2.6, 8.6 for 3.x. 10.8 is for later ones too.

    Raises:
        InputError: the file cannot be read, or the versions are incompatible.
    """
    program = read_program(path)
    paddle = paddle or next(version for version, form in FORMAT.items() if form == program.format)
    if FORMAT[paddle] != program.format:
        raise InputError(
            f"expected a {FORMAT[paddle]} file, the format that TensorRT in Paddle {paddle} reads, got {program.path}; "
            f"export with --format {FORMAT[paddle]} (Paddle {'2.6 or 3.0' if paddle == '2.6' else '3'} writes it)"
        )
    rules = PADDLE[paddle]
    tensorrt = tensorrt or DEFAULT_TENSORRT[paddle]
    version = tuple(map(int, tensorrt.split(".")))
    if version not in rules.TENSORRT:
        known = " or ".join(".".join(map(str, v)) for v in rules.TENSORRT)
        raise InputError(f"expected TensorRT {known} for Paddle {paddle}, got {tensorrt}; choose one of these")
    folded = fold(program.operators, rules.NEVER_FOLDED)
    verdicts = [Verdict(FOLDED) if i in folded else rules.judge(op, version) for i, op in enumerate(program.operators)]
    inside = {i for i, verdict in enumerate(verdicts) if verdict.kind in (ACCEPTED, PLUGIN)}
    subgraphs = [part for part in cut(program.operators, inside, folded) if len(part) >= SMALLEST_ENGINE[paddle]]
    return Report(program, paddle, tensorrt, verdicts, subgraphs)


def fold(operators: List[Operator], never: Set[str]) -> Set[int]:
    """Indices of the operators that depend on constants only. Their outputs are marked as constant."""
    folded = set()
    for i, op in enumerate(operators):
        if op.type not in never and all(tensor.constant for tensor in op.reads):
            folded.add(i)
            for tensor in op.writes:
                tensor.constant = True
    return folded


def cut(operators: List[Operator], inside: Set[int], folded: Set[int]) -> List[List[int]]:
    """Group the operators that go into TensorRT as Paddle's subgraph detector does.

    Two groups are merged if the second reads from the first and no other path leads from the first to the second:
    otherwise the engine would wait for a result that depends on the engine.

    Args:
        operators: in execution order.
        inside: indices of the operators that go into TensorRT.
        folded: indices of the operators that constant folding has removed.

    Returns:
        Indices of each group, ascending; groups in the order of their first operator. An estimate, because Paddle
        fuses operators first.
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
        """Whether a path other than the direct edge leads from ``first`` to ``last``."""
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
        while node in members:  # otherwise it was merged into an earlier group
            reader = next((n for n in sorted(outputs[node] & inside) if not reaches(node, n)), None)
            if reader is None:
                break
            join(node, reader)
    return sorted(map(sorted, members.values()))


def as_text(report: Report) -> str:
    """The report as text."""
    operators, counts = report.program.operators, collections.Counter()
    for op, verdict in zip(operators, report.verdicts):
        counts[verdict.kind, op.type] += 1
    lines = [
        f"{report.program.path}: {len(operators)} operators, by the rules of Paddle {report.paddle} and TensorRT "
        f"{report.tensorrt} with dynamic shapes.",
        "Experimental. No engine was built: TensorRT may still reject operators that Paddle would give to it.",
        *([f"Note: {UNRELIABLE}."] if report.paddle == "3.x" else []),
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
        f"{total[FOLDED]} constant.",
        f"Estimated engines: {len(report.subgraphs)}; operators in each: {sizes}. "
        f"{_outside(report)} operators run outside them.",
    ]
    return "\n".join(lines)


def as_dict(report: Report) -> Dict[str, Any]:
    """The report as JSON data."""
    engine = {i: n for n, part in enumerate(report.subgraphs) for i in part}
    return {
        "model": report.program.path,
        "paddle": report.paddle,
        "tensorrt": report.tensorrt,
        "experimental": True,
        "engine_built": False,
        "subgraphs_are_estimates": True,
        "note": UNRELIABLE if report.paddle == "3.x" else "",
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
    """Number of operators that are neither in an engine nor constant."""
    return len(report.verdicts) - len(report.rows(FOLDED)) - sum(map(len, report.subgraphs))


def _shape(op: Operator) -> str:
    first = next(op.writes, None)
    return "nothing" if first is None else f"{first.name} {list(first.shape or [])}"
