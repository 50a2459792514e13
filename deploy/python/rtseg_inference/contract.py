"""deploy.yaml, the contract between the export and every program that runs the exported network.

The file holds two sections. ``Deploy`` is PaddleSeg's own, so that PaddleSeg's scripts can read the folder;
``rtseg`` is ours and says everything that a runtime needs. ``deploy/README.md`` documents each key.
"""

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import yaml

from .errors import InputError
from .files import sha256

FILE_NAME = "deploy.yaml"
SCHEMA = 1

TOLERANCES = ("rms_error", "agreement")
OUTPUT_OPS = ("argmax", "softmax", "none", "logits")
RESIZE_RULES = {  # rule -> the keys it needs
    "exact": ("width", "height"),
    "fit": ("width", "height"),
    "long": ("size",),
    "short": ("size",),
    "limit": (),
}


@dataclass(frozen=True)
class ShapeRange:
    """Smallest, most common and largest input shape, in the order of the input's layout; -1 means unbounded."""

    min: Tuple[int, ...]
    opt: Tuple[int, ...]
    max: Tuple[int, ...]

    def contains(self, shape: Tuple[int, ...]) -> bool:
        """Whether ``shape`` lies in the range, bounds included."""
        return len(shape) == len(self.min) and all(
            low <= n and (high == -1 or n <= high) for n, low, high in zip(shape, self.min, self.max)
        )

    def __str__(self) -> str:
        if self.min == self.max:
            return "x".join(map(str, self.min))
        return "x".join(map(str, self.min)) + " to " + "x".join("any" if n == -1 else str(n) for n in self.max)


@dataclass(frozen=True)
class Tolerance:
    """How far a runtime may be from the golden output."""

    rms_error: float  #: root mean square of the output's error, as a share of the root mean square of the output
    agreement: float  #: smallest share of the mask's pixels that must agree


@dataclass(frozen=True)
class Golden:
    """The stored input and output that every runtime is held to."""

    image: str  #: 8-bit BGR image file, as a camera would give it
    mask: str  #: image file with the class id of each pixel of it
    output: Optional[str]  #: .npy of the network's output, or None where the output is the mask itself
    step: int  #: every ``step``-th row and column of the output was kept
    tolerance: Dict[str, Tolerance]  #: by precision


@dataclass(frozen=True)
class Contract:
    """What deploy.yaml says, checked."""

    folder: str
    model: str
    params: str
    sha256: Dict[str, str]
    paddle_version: str
    input_name: str
    input_dtype: str  #: "float32", or "uint8" where the graph normalises by itself
    input_layout: str  #: "NCHW" or "NHWC"
    color: str  #: order of the channels that the graph takes: "RGB" or "BGR"
    shape: ShapeRange
    resize: Optional[Dict[str, Any]]
    pad: Optional[Dict[str, Any]]
    scale: float
    mean: List[float]
    std: List[float]
    output_op: str
    output_dtype: str
    num_classes: int
    classes: List[str]
    palette: List[List[int]] = field(repr=False)  #: RGB of each class
    golden: Golden = field(repr=False)
    tensorrt: Dict[str, Any] = field(repr=False)  #: settings of its engines
    tensorrt_shape: ShapeRange = field(repr=False)  #: inputs that its engines are built for

    def path(self, name: str) -> str:
        """Path of one of the model's files."""
        return os.path.join(self.folder, name)

    @property
    def raw_input(self) -> bool:
        """Whether the graph takes camera images, 8-bit BGR, and normalises them by itself."""
        return self.input_dtype == "uint8"

    @property
    def program_format(self) -> str:
        """``"json"`` (Paddle 3) or ``"pdmodel"`` (Paddle 2, and what TensorRT subgraphs need)."""
        return os.path.splitext(self.model)[1].lstrip(".")


def read_contract(folder: str) -> Contract:
    """Read and check ``folder``/deploy.yaml and the files that it names.

    Raises:
        InputError: the file is missing, damaged, of another schema, or names a file that is missing or has changed.
    """
    path = os.path.join(folder, FILE_NAME)
    contract = parse(load(folder), folder)
    for name, expected in contract.sha256.items():
        file = contract.path(name)
        if not os.path.isfile(file):
            raise InputError(f"{path} names {name}, which is not there; copy the whole folder of the exported model")
        found = sha256(file)
        if found != expected:
            raise InputError(
                f"{file} has SHA-256 {found[:12]}..., {FILE_NAME} expects {str(expected)[:12]}...; the file was "
                "changed or cut short: copy the whole folder again"
            )
    for name in (contract.model, contract.params):
        if name not in contract.sha256:
            raise InputError(f"{path} gives no SHA-256 of {name}; export the model again")
    return contract


def load(folder: str) -> Any:
    """The contents of ``folder``/deploy.yaml, unchecked.

    Raises:
        InputError: the file is missing, or not YAML.
    """
    path = os.path.join(folder, FILE_NAME)
    if not os.path.isfile(path):
        raise InputError(f"expected the folder of an exported model with a {FILE_NAME}, got {folder!r}; export one")
    try:
        with open(path, encoding="utf-8") as f:
            return yaml.safe_load(f)
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        line = getattr(getattr(e, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise InputError(f"{path} is damaged{where}; copy it again or export the model again") from e


def parse(document: Any, folder: str) -> Contract:
    """The contract that the loaded YAML ``document`` states for the files in ``folder``, which are not looked at.

    Raises:
        InputError: a key is missing, or its value is not of the kind expected.
    """
    path = os.path.join(folder, FILE_NAME)
    get = _Reader(path, document)
    schema = get("rtseg.schema", int)
    if schema != SCHEMA:
        raise InputError(f"{path} has schema {schema}, this program reads {SCHEMA}; use matching versions of the two")
    contract = Contract(
        folder=folder,
        model=get("rtseg.model", str),
        params=get("rtseg.params", str),
        sha256=get("rtseg.sha256", dict),
        paddle_version=get("rtseg.paddle_version", str),
        input_name=get("rtseg.input.name", str),
        input_dtype=get("rtseg.input.dtype", str, ("float32", "uint8")),
        input_layout=get("rtseg.input.layout", str, ("NCHW", "NHWC")),
        color=get("rtseg.input.color", str, ("RGB", "BGR")),
        shape=get.shape_range("rtseg.input.shape"),
        resize=get.resize("rtseg.preprocess.resize"),
        pad=get("rtseg.preprocess.pad", (dict, type(None))),
        scale=float(get("rtseg.preprocess.scale", (int, float))),
        mean=get.numbers("rtseg.preprocess.mean", 3),
        std=get.numbers("rtseg.preprocess.std", 3),
        output_op=get("rtseg.output.op", str, OUTPUT_OPS),
        output_dtype=get("rtseg.output.dtype", str, ("float32", "int32", "int64")),
        num_classes=get("rtseg.output.num_classes", int),
        classes=get("rtseg.classes", list),
        palette=get("rtseg.palette", list),
        golden=Golden(
            image=get("rtseg.golden.image", str),
            mask=get("rtseg.golden.mask", str),
            output=get("rtseg.golden.output", (str, type(None))),
            step=get("rtseg.golden.step", int),
            tolerance={
                precision: Tolerance(
                    *(float(get(f"rtseg.golden.tolerance.{precision}.{k}", (int, float))) for k in TOLERANCES)
                )
                for precision in ("fp32", "fp16", "bf16")
            },
        ),
        tensorrt=get("rtseg.tensorrt", dict),
        tensorrt_shape=get.shape_range("rtseg.tensorrt.shape"),
    )
    for key, kind in (("workspace_mb", int), ("min_subgraph_size", int), ("fp32_ops", list)):
        get(f"rtseg.tensorrt.{key}", kind)
    if not len(contract.classes) == len(contract.palette) == contract.num_classes:
        raise InputError(
            f"{path} has {contract.num_classes} classes, {len(contract.classes)} names and {len(contract.palette)} "
            "colours, expected as many of each; export the model again"
        )
    return contract


class _Reader:
    """Reads keys such as ``rtseg.input.name`` and says which one is missing or of the wrong kind."""

    def __init__(self, path: str, document: Any):
        self.path, self.document = path, document

    def __call__(self, key: str, kind: Any, allowed: Tuple[str, ...] = ()) -> Any:
        node = self.document
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                raise InputError(f"{self.path} has no key {key!r}; it is cut short or too old: export the model again")
            node = node[part]
        if not isinstance(node, kind) or isinstance(node, bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise InputError(f"{self.path}: expected {key} to be {names}, got {node!r}; export the model again")
        if allowed and node not in allowed:
            raise InputError(f"{self.path}: expected {key} to be one of {', '.join(allowed)}, got {node!r}")
        return node

    def numbers(self, key: str, count: int) -> list:
        values = self(key, list)
        if len(values) != count or not all(isinstance(v, (int, float)) for v in values):
            raise InputError(f"{self.path}: expected {key} to be {count} numbers, got {values!r}")
        return values

    def shape_range(self, key: str) -> ShapeRange:
        return ShapeRange(*(tuple(self.numbers(f"{key}.{end}", 4)) for end in ("min", "opt", "max")))

    def resize(self, key: str) -> Optional[Dict[str, Any]]:
        rule = self(key, (dict, type(None)))
        if rule is not None:
            for name in RESIZE_RULES[self(f"{key}.rule", str, tuple(RESIZE_RULES))]:
                self(f"{key}.{name}", int)
        return rule
