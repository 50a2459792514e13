"""Exported programs as plain data: ``.pdmodel`` of Paddle 2.6 and ``.json`` of Paddle 3, in one form.

Either format is read with any version of Paddle, because the file is parsed, not loaded: the weights are not needed and
nothing is executed.
"""

import glob
import json
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..errors import InputError
from .source_lines import describe, source_of


@dataclass(eq=False)
class Tensor:
    """A value that operators read or write."""

    name: str
    shape: Optional[Tuple[int, ...]]  #: -1 where known at run time only; None if the value is not a tensor
    dtype: str  #: "float32", "int64", "bool" ...
    constant: bool = False  #: whether its value is known in advance
    producer: Optional["Operator"] = field(default=None, repr=False)

    @property
    def rank(self) -> int:
        return len(self.shape or ())


@dataclass(eq=False)
class Operator:
    """One operator. Inputs and outputs are named in pdmodel ("X", "Filter") and numbered in json ("0", "1")."""

    type: str
    inputs: Dict[str, List[Tensor]]
    outputs: Dict[str, List[Tensor]]
    attrs: Dict[str, Any]
    source: str = ""  #: line of the model, or its scope, or ""

    def input(self, name: str) -> Optional[Tensor]:
        """The first tensor of an input, or None if it is not connected."""
        return next(iter(self.inputs.get(name, ())), None)

    @property
    def reads(self) -> Iterator[Tensor]:
        return (tensor for tensors in self.inputs.values() for tensor in tensors)

    @property
    def writes(self) -> Iterator[Tensor]:
        return (tensor for tensors in self.outputs.values() for tensor in tensors)


@dataclass
class ExportedProgram:
    """The operators of a program in execution order, except feed and fetch."""

    path: str
    format: str  #: "pdmodel" or "json"
    operators: List[Operator]


class TensorAttribute(str):
    """An attribute whose value is a tensor, known at run time only; the string is the name of the tensor."""


def read_program(path: str) -> ExportedProgram:
    """Read a program, or the only program in a folder.

    Raises:
        InputError: there is none or more than one, or the file is damaged or not an exported program.
    """
    path = _find(path)
    with open(path, "rb") as f:
        content = f.read()
    form = os.path.splitext(path)[1][1:]
    operators = {"pdmodel": parse_pdmodel, "json": _parse_json}[form](content, path)
    return ExportedProgram(path, form, operators)


def _find(path: str) -> str:
    if os.path.isdir(path):
        found = sorted(
            f for pattern in ("*.pdmodel", "*.json") for f in glob.glob(os.path.join(glob.escape(path), pattern))
        )
        if len(found) != 1:
            names = ", ".join(map(os.path.basename, found)) or "none"
            raise InputError(
                f"expected a folder with one .pdmodel or .json, got {path!r} with {names}; give the file itself"
            )
        return found[0]
    if not os.path.isfile(path) or not path.endswith((".pdmodel", ".json")):
        raise InputError(
            f"expected the folder of an exported model, a .pdmodel or a .json, got {path!r}; export a model first"
        )
    return path


def _damaged(path: str, why: str) -> InputError:
    return InputError(f"expected an exported program, got {path}, which is damaged ({why}); copy or export it again")


# --- pdmodel: a protocol buffer -------------------------------------------------------------------------------------

_FED = ("feed", "fetch")
_SCOPE, _STACK = "op_namescope", "op_callstack"


def parse_pdmodel(content: bytes, path: str = "the program") -> List[Operator]:
    """Operators of the main block of a serialized ``ProgramDesc``."""
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2 as pb

    program = pb.ProgramDesc()
    try:
        program.ParseFromString(content)
    except DecodeError as e:
        raise _damaged(path, "its protocol buffer cannot be parsed") from e
    if not program.blocks or not any(op.type == "fetch" for op in program.blocks[0].ops):
        raise _damaged(path, "it has no output")

    tensors = {var.name: _pdmodel_tensor(var, pb) for var in program.blocks[0].vars}
    operators = []
    for op in program.blocks[0].ops:
        if op.type in _FED:
            continue

        def slots(variables) -> Dict[str, List[Tensor]]:
            return {v.parameter: [tensors[name] for name in v.arguments if name in tensors] for v in variables}

        attrs = {attr.name: _pdmodel_attribute(attr, pb) for attr in op.attrs}
        stack = attrs.pop(_STACK, [])  # present in files that were not written by our exporter
        source = source_of(attrs.pop(_SCOPE, "/")) or describe(stack)
        operator = Operator(op.type, slots(op.inputs), slots(op.outputs), attrs, source)
        for variable in op.outputs:  # a name may be reused: later operators read the new value
            for i, name in enumerate(variable.arguments):
                if name in tensors:
                    old = tensors[name]
                    if old.producer is not None:
                        tensors[name] = old = Tensor(old.name, old.shape, old.dtype)
                        operator.outputs[variable.parameter][i] = old
                    old.producer = operator
        operators.append(operator)
    return operators


def _pdmodel_tensor(var, pb) -> Tensor:
    kind = "lod_tensor" if hasattr(var.type, "lod_tensor") else "dense_tensor"  # the name in Paddle 2 and in 3
    if not var.type.HasField(kind):
        return Tensor(var.name, None, "")
    tensor = getattr(var.type, kind).tensor
    name = pb.VarType.Type.Name(tensor.data_type).lower()
    dtype = {"fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16"}.get(name, name)
    return Tensor(var.name, tuple(tensor.dims), dtype, constant=var.persistable)


_LISTS = ("ints", "floats", "strings", "bools", "longs", "float64s", "blocks_idx")


def _pdmodel_attribute(attr, pb) -> Any:
    kind = pb.AttrType.Name(attr.type)
    if kind in ("VAR", "VARS"):
        return TensorAttribute(attr.var_name or ",".join(attr.vars_name))
    name = {
        "INT": "i",
        "FLOAT": "f",
        "STRING": "s",
        "BOOLEAN": "b",
        "LONG": "l",
        "FLOAT64": "float64",
        "BOOLEANS": "bools",
        "BLOCK": "block_idx",
        "BLOCKS": "blocks_idx",
    }.get(kind, kind.lower())
    value = getattr(attr, name)
    if isinstance(value, (bool, int, float, str)):
        return value
    return list(value) if name in _LISTS else str(value)


# --- json: Paddle 3's intermediate representation -------------------------------------------------------------------

_DIALECTS = {"0": "builtin", "1": "pd_op", "2": "cf"}
_SHORT_DTYPES = {"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16", "i8": "int8", "ui8": "uint8"}
_SHORT_DTYPES.update({"i16": "int16", "i32": "int32", "i64": "int64", "bool": "bool"})


def _parse_json(content: bytes, path: str) -> List[Operator]:
    """Operators of the top block. Lists of tensors are unpacked, as in pdmodel."""
    try:
        document = json.loads(content)
        if document["base_code"]["magic"] != "pir":
            raise _damaged(path, "its JSON is not a program")
        entries = document["program"]["regions"][0]["blocks"][0]["ops"]
        operators = _json_operators(entries)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
        if isinstance(e, InputError):
            raise
        raise _damaged(path, "its JSON is not a program of Paddle 3") from e
    if not any(entry["#"] == "1.fetch" for entry in entries):
        raise _damaged(path, "it has no output")
    return operators


def _json_operators(entries: List[Dict[str, Any]]) -> List[Operator]:
    values: Dict[int, List[Tensor]] = {0: []}  # by id; 0 is an operand that is not connected
    operators = []
    for entry in entries:
        if entry["#"] == "p":
            output = entry["O"]
            values[output["%"]] = _json_tensors(output, constant=True, name=entry["A"][3])
            continue
        dialect, _, name = entry["#"].partition(".")
        kind = f"{_DIALECTS.get(dialect, dialect)}.{name}"
        operands = [values[operand["%"]] for operand in entry["I"]]
        if kind == "builtin.combine":
            values[entry["O"][0]["%"]] = [tensor for operand in operands for tensor in operand]
            continue
        if kind == "builtin.split":
            values.update({output["%"]: [tensor] for output, tensor in zip(entry["O"], operands[0])})
            continue
        for output in entry["O"]:
            values[output["%"]] = _json_tensors(output, constant=kind == "builtin.constant")
        if kind in ("pd_op.data", "pd_op.feed", "pd_op.fetch", "builtin.constant"):
            continue
        attrs = {attr["N"]: _json_attribute(attr["AT"]) for attr in entry["A"]}
        operator = Operator(
            kind,
            {str(i): operand for i, operand in enumerate(operands)},
            {str(i): values[output["%"]] for i, output in enumerate(entry["O"])},
            attrs,
            source_of(attrs.pop("struct_name", "/")),
        )
        for tensor in operator.writes:
            tensor.producer = operator
        operators.append(operator)
    return operators


def _json_tensors(output: Dict[str, Any], constant: bool, name: str = "") -> List[Tensor]:
    """The tensors of one result: several if it is a list."""
    described = output.get("TT", {"#": "none"})
    name = name or f"%{output['%']}"
    if described["#"] == "0.t_vec":
        elements = [
            _json_tensors({"%": output["%"], "TT": t}, constant, f"{name}[{i}]") for i, t in enumerate(described["D"])
        ]
        return [tensor for element in elements for tensor in element]
    if described["#"] != "0.t_dtensor":
        return [Tensor(name, None, "", constant)]
    dtype, shape = described["D"][:2]
    short = dtype["#"].partition("t_")[2]
    return [Tensor(name, tuple(shape), _SHORT_DTYPES.get(short, short), constant)]


def _json_attribute(attribute: Dict[str, Any]) -> Any:
    value = attribute.get("D")
    if attribute["#"] == "0.a_array":
        return [_json_attribute(element) for element in value]
    return value
