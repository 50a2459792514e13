"""The line of the model that each operator of a traced program comes from, kept through the export.

Paddle records the call stack of an operator while it traces, and drops it when it saves. What it does save is the
scope of an operator, a text for people (``struct_name`` in Paddle 3, ``op_namescope`` in 2.6): the line is put there.
"""

import os
import re
from typing import TYPE_CHECKING, Iterable, List, Tuple

if TYPE_CHECKING:
    import paddle

MARK = "@"  # between the scope and the lines
_FRAME = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>\S+)')
# What is not the model: Paddle, the package that Paddle wraps its functions with, Python itself, generated code.
_MACHINERY = re.compile(r"[/\\](site|dist)-packages[/\\](paddle|decorator)\b|[/\\]python3\.\d+[/\\](?!site-|dist-)|^<")
_ENTRY = "from_func_spec"  # the function of Paddle's that calls the model to trace it; frames before it are not ours


def keep_source_lines(static_layer: "paddle.nn.Layer") -> None:
    """Note in every operator of a layer, wrapped by ``paddle.jit.to_static``, where it comes from.

    To be called before ``paddle.jit.save``; the traced program is the one that will be saved.
    """
    from paddle.base.framework import Program  # here, since reading the lines again needs no Paddle

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


def source_of(scope: str) -> str:
    """What :func:`keep_source_lines` noted in a scope; without a note the scope itself, which names layers."""
    return scope.rpartition(MARK)[2].strip("/")


def describe(callstack: Iterable[str]) -> str:
    """Where in the model a call stack ends: "models/rtformer.py:177".

    For a line outside of any ``forward``, such as one of a helper that several models share, also the line of the
    ``forward`` that led there.
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
    """The path from the folder that holds the outermost package: the same on every machine."""
    folder, name = os.path.split(file)
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, parent = os.path.split(folder)
        name = f"{parent}/{name}"
    return name
