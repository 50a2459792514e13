"""The line of the model that each operator of an exported program comes from.

While Paddle traces a model, it records the call stack of every operator, but does not save it in a usable form: json
lacks it, and pdmodel has all of it, with absolute paths. Both formats save the scope of an operator, a string that
nothing reads (``struct_name`` in json, ``op_namescope`` in pdmodel), so the line is appended to that, with a path
relative to the package: an exported file reveals nothing about the machine that wrote it.
"""

import os
import re
from typing import TYPE_CHECKING, Iterable, List, Tuple

if TYPE_CHECKING:
    import paddle

MARK = "@"  # between the scope and the lines
_FRAME = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>\S+)')
# Not the model: Paddle, the package with which Paddle wraps its functions, Python itself, generated code.
_MACHINERY = re.compile(r"[/\\](site|dist)-packages[/\\](paddle|decorator)\b|[/\\]python3\.\d+[/\\](?!site-|dist-)|^<")
_ENTRY = "from_func_spec"  # the function of Paddle that calls the model to trace it; frames before it are the caller's


def keep_source_lines(static_layer: "paddle.nn.Layer") -> None:
    """Record in every operator of a layer wrapped by ``paddle.jit.to_static`` where it comes from.

    Call it before ``paddle.jit.save``, which saves the same traced program.
    """
    from paddle.base.framework import Program  # here, because reading the lines needs no Paddle

    program = static_layer.forward.concrete_program.main_program
    if isinstance(program, Program):  # Paddle 2.6
        for op in program.global_block().ops:
            scope = op.attr("op_namescope") if op.has_attr("op_namescope") else "/"
            op._set_attr("op_namescope", scope + MARK + describe(op.attr("op_callstack") or []))
        return
    for op in program.global_block().ops:
        if op.name().startswith("pd_op."):  # Paddle refuses such texts in parameters
            scope = op.attrs().get("struct_name", "/")
            op.set_str_attr("struct_name", scope + MARK + describe(op.callstack))


def drop_call_stacks(path: str) -> None:
    """Remove the call stacks, and with them absolute paths, from a ``.pdmodel``."""
    from paddle.base.proto import framework_pb2

    program = framework_pb2.ProgramDesc()
    with open(path, "rb") as f:
        program.ParseFromString(f.read())
    for block in program.blocks:
        for op in block.ops:
            for attr in op.attrs:
                if attr.name == "op_callstack":
                    del attr.strings[:]
    with open(path, "wb") as f:
        f.write(program.SerializeToString())


def source_of(scope: str) -> str:
    """The line that :func:`keep_source_lines` appended to a scope; without one the scope itself, which names layers."""
    return scope.rpartition(MARK)[2].strip("/")


def describe(callstack: Iterable[str]) -> str:
    """Where in the model a call stack ends, such as "models/rtformer.py:177".

    If that line is not in a ``forward`` (helpers that several models share), the line of the ``forward`` that called it
    is appended.
    """
    frames: List[Tuple[str, str]] = []  # place and function, outermost first
    for line in callstack:
        match = _FRAME.search(line)
        if _ENTRY in line:
            frames = []
        elif match and not _MACHINERY.search(match["file"]):
            frames.append((f"{_short(match['file'])}:{match['line']}", match["function"]))
    if not frames:
        return ""
    place = frames[-1][0]
    forward = next((place for place, function in reversed(frames) if function == "forward"), place)
    return place if forward == place else f"{place}, called from {forward}"


def _short(file: str) -> str:
    """The path relative to the folder of the outermost package, which is the same on every machine."""
    folder, name = os.path.split(file)
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, parent = os.path.split(folder)
        name = f"{parent}/{name}"
    return name
