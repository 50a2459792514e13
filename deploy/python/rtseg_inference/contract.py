"""deploy.yaml: what the export promises to every program that runs the exported network.

The file has two sections. ``Deploy`` is PaddleSeg's own, for PaddleSeg's scripts; ``rtseg`` holds everything that our
runtimes need. :class:`Contract` is the typed form of ``rtseg``, field by field; this module is its only reader and its
only writer. ``deploy/README.md`` documents each key, and ``deploy/cpp/src/contract.hpp`` is the same in C++.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Mapping, Optional, Tuple, get_args

import yaml

from .document import Value, read_document
from .errors import InputError, NotInstalled
from .files import atomic_path, sha256
from .int8_contract import Int8, read_int8
from .node import Node, shown
from .onnx_file import check_self_contained
from .pose_contract import GoldenPerson, Pose, read_golden_person, read_pose

FILE_NAME = "deploy.yaml"
SCHEMA = 1  #: of networks for segmentation
POSE_SCHEMA = 2  #: of networks for poses, which programs that know only the first refuse
SEGMENTATION, POSE = "segmentation", "pose"  #: tasks; the second schema has the latter alone
FREE = -1  #: a dimension without an upper bound

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
Dtype = Literal["float32", "uint8"]
Layout = Literal["NCHW", "NHWC"]
Color = Literal["RGB", "BGR"]
OutputOp = Literal["argmax", "softmax", "none", "logits", "heatmaps"]
OutputDtype = Literal["float32", "int32", "int64"]
Rule = Literal["exact", "fit", "long", "short", "limit"]
Interpolation = Literal["nearest", "linear", "cubic", "area"]

PRECISIONS: Tuple[Precision, ...] = get_args(Precision)
INT8: Precision = "int8"  #: of the ONNX form that the export quantises
DTYPES: Tuple[Dtype, ...] = get_args(Dtype)
LAYOUTS: Tuple[Layout, ...] = get_args(Layout)
COLORS: Tuple[Color, ...] = get_args(Color)
HEATMAPS: OutputOp = "heatmaps"  #: of networks for poses
OUTPUT_OPS: Tuple[OutputOp, ...] = tuple(op for op in get_args(OutputOp) if op != HEATMAPS)  #: for segmentation
OUTPUT_DTYPES: Tuple[OutputDtype, ...] = get_args(OutputDtype)
RULES: Tuple[Rule, ...] = get_args(Rule)
INTERPOLATIONS: Tuple[Interpolation, ...] = get_args(Interpolation)

#: What the ONNX form of a precision is called, and the flag of the export that writes it.
_ONNX_FORMS: Dict[str, Tuple[str, str]] = {
    "fp16": ("half-precision ONNX form", "--precision fp16"),
    INT8: ("INT8 form", "--precision int8"),
}
_WITH_TOLERANCE = ("fp32", "fp16", "bf16")  # of the golden pair; that of tf32 may be missing

MAX_CLASSES = 1 << 16  # class ids have 8 or 16 bits
MAX_BATCH = 1024  # that a graph needs, or is optimised for
MAX_STEP = 1 << 16
MAX_WORKSPACE_MB = 1 << 20


@dataclass(frozen=True)
class ShapeRange:
    """Smallest, most common and largest input shape, in the order of the input's layout; -1 in ``max`` is unbounded."""

    min: Tuple[int, ...]
    opt: Tuple[int, ...]
    max: Tuple[int, ...]

    def contains(self, shape: Tuple[int, ...]) -> bool:
        """Whether ``shape`` lies in the range, bounds included."""
        return len(shape) == len(self.min) and all(
            low <= n and (high == FREE or n <= high) for n, low, high in zip(shape, self.min, self.max)
        )

    def __str__(self) -> str:
        smallest = "x".join(map(str, self.min))
        if self.min == self.max:
            return smallest
        return smallest + " to " + "x".join("any" if n == FREE else str(n) for n in self.max)


@dataclass(frozen=True)
class Input:
    """The graph's only input: float32 NCHW, or uint8 NHWC BGR where the graph normalises camera images itself."""

    name: str
    dtype: Dtype
    layout: Layout
    color: Color  #: order of the channels
    shape: ShapeRange


@dataclass(frozen=True)
class Resize:
    """How an image is resized before the network sees it; the rules are those of ``deploy/README.md``."""

    rule: Rule
    height: Optional[int] = None  #: exact, fit: the target
    width: Optional[int] = None
    size: Optional[int] = None  #: long, short: the length of that side
    max: Optional[float] = None  #: short, limit: the longest that the longer side may be
    min: Optional[float] = None  #: limit: the shortest that the longer side may be
    divisor: Optional[int] = None  #: both sides are rounded up to a multiple of it
    interpolation: Interpolation = "linear"


@dataclass(frozen=True)
class Pad:
    """The image goes into the top left corner of this size; the rest is filled with ``value``."""

    height: int
    width: int
    value: float


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an 8-bit image before the network: resize, pad, then ``(x * scale - mean) / std``."""

    in_graph: bool = False  #: the graph does all of this
    resize: Optional[Resize] = None
    pad: Optional[Pad] = None
    scale: float = 1 / 255
    mean: Tuple[float, ...] = (0.5, 0.5, 0.5)  #: per channel, in the order of the input's ``color``
    std: Tuple[float, ...] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Output:
    """The graph's only output."""

    op: OutputOp
    dtype: OutputDtype
    num_classes: int  #: or the number of keypoints


@dataclass(frozen=True)
class Tolerance:
    """How far a runtime may be from the golden output."""

    rms_error: float  #: root mean square of the output's error, as a share of the root mean square of the output
    agreement: float  #: smallest share of the mask's pixels, or of the person's keypoints, that must agree
    pixels: Optional[float] = None  #: how far keypoints may be apart to agree


@dataclass(frozen=True)
class Golden:
    """The stored input and output that every runtime is checked against."""

    image: str  #: 8-bit BGR image file, as a camera would give it
    mask: Optional[str]  #: image file with the class id of each pixel of it; None for poses
    output: Optional[str]  #: .npy of the network's output; None for argmax, whose output is the mask itself
    step: int  #: every ``step``-th row and column of the output was kept
    tolerance: Dict[str, Tolerance]  #: by precision; "tf32" may be missing, and "int8" is
    person: Optional[GoldenPerson] = None  #: for poses

    def tolerance_of(self, precision: str) -> Tolerance:
        """The tolerance of ``precision``; fp16's for tf32 where the file states none: their mantissas are as long."""
        return self.tolerance[precision if precision in self.tolerance else "fp16"]


@dataclass(frozen=True)
class TensorRT:
    """How TensorRT engines are built."""

    shape: ShapeRange  #: bounded
    workspace_mb: int
    min_subgraph_size: int
    fp32_ops: Tuple[str, ...]  #: operators that would overflow in fp16


@dataclass(frozen=True)
class Contract:
    """The ``rtseg`` section of the deploy.yaml in ``folder``."""

    folder: str
    model: str
    params: str
    sha256: Dict[str, str] = field(repr=False)  #: by file name
    paddle_version: str
    network: str  #: class of the network
    input: Input
    preprocess: Preprocessing
    output: Output
    classes: Tuple[str, ...] = field(repr=False)  #: none for poses
    palette: Tuple[Tuple[int, ...], ...] = field(repr=False)  #: RGB of each class
    golden: Golden = field(repr=False)
    tensorrt: TensorRT = field(repr=False)
    onnx: Optional[str] = None  #: file name of the ONNX form, where it was written
    onnx_fp16: Optional[str] = None  #: file name of the ONNX form in half precision, where it was written
    int8: Optional[Int8] = None  #: the ONNX form in INT8, where it was written
    pose: Optional[Pose] = None  #: of a network for poses

    def path(self, name: str) -> str:
        """Path of one of the model's files."""
        return os.path.join(self.folder, name)

    def files(self) -> List[str]:
        """Names of the files that it names, in alphabetical order."""
        golden = (self.golden.image, self.golden.mask, self.golden.output)
        return sorted({*self.sha256, *(name for name in golden if name is not None)})

    def onnx_path(self, precision: str) -> str:
        """Path of the ONNX form that computes in ``precision``.

        Raises:
            NotInstalled: the export did not write it.
            InputError: it refers to other files.
        """
        names: Dict[str, Optional[str]] = {
            "fp16": self.onnx_fp16,
            INT8: self.int8.model if self.int8 is not None else None,
        }
        name = names.get(precision, self.onnx)
        if name is None:
            form, flag = _ONNX_FORMS.get(precision, ("ONNX form", "--format onnx"))
            raise NotInstalled(f"{self.folder} has no {form} of the model; export it with {flag}")
        check_self_contained(self.path(name))
        return self.path(name)

    @property
    def task(self) -> str:
        """:data:`SEGMENTATION` or :data:`POSE`."""
        return SEGMENTATION if self.pose is None else POSE

    @property
    def raw_input(self) -> bool:
        """Whether the graph takes camera images, 8-bit BGR, and normalises them itself."""
        return self.input.dtype == "uint8"

    @property
    def program_format(self) -> str:
        """``"json"`` (Paddle 3) or ``"pdmodel"`` (Paddle 2, and what TensorRT subgraphs need)."""
        return os.path.splitext(self.model)[1].lstrip(".")


# --- Writing


def write_contract(contract: Contract, paddleseg: Mapping[str, Any]) -> None:
    """Write ``contract`` to the deploy.yaml of its folder, after PaddleSeg's section ``paddleseg``.

    Raises:
        InputError: the folder cannot be written.
    """
    document = {"Deploy": dict(paddleseg), "rtseg": to_document(contract)}
    with atomic_path(contract.path(FILE_NAME)) as path, open(path, "w", encoding="utf-8") as f:
        yaml.dump(document, f, _PlainDumper, sort_keys=False, default_flow_style=None, width=120)


def to_document(contract: Contract) -> Dict[str, Any]:
    """The ``rtseg`` section as plain lists and dictionaries; what :func:`parse` reads."""
    head = {"schema": SCHEMA} if contract.pose is None else {"schema": POSE_SCHEMA, "task": POSE}
    document: Dict[str, Any] = {**head, **_plain(contract)}
    del document["folder"]
    for name in ("onnx", "onnx_fp16", "int8", "pose"):
        if document[name] is None:
            del document[name]
    if "pose" in document:
        document["golden"] = document.pop("golden")  # its person has the keypoints that the pose names
    _drop_other_task(document)
    document["tensorrt"] = document.pop("tensorrt")  # a required key at the end, where a file cut short lacks it
    resize = contract.preprocess.resize
    if resize is not None:
        document["preprocess"]["resize"] = _resize_document(resize)
    return document


def _drop_other_task(document: Dict[str, Any]) -> None:
    """Keep the keys of the task alone: those of masks, or those of persons."""
    golden = document["golden"]
    person = golden.pop("person")
    if person is not None:
        del document["classes"], document["palette"], golden["mask"]
        golden.update(person)
        return
    for tolerance in golden["tolerance"].values():
        del tolerance["pixels"]


def _resize_document(resize: Resize) -> Dict[str, Any]:
    """Only the keys that the rule uses; a limit rule states both of its ends."""
    both_ends = ("min", "max") if resize.rule == "limit" else ()
    return {key: value for key, value in _plain(resize).items() if value is not None or key in both_ends}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


class _PlainDumper(yaml.SafeDumper):
    """Repeats equal lists instead of referring to the first, for simple YAML readers."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# --- Reading


def read_contract(folder: str) -> Contract:
    """Read and check ``folder``/deploy.yaml and the files that it names. Nothing outside the folder is opened.

    Raises:
        InputError: the file is missing, damaged, of another schema, or names a file that is missing, has changed or
            lies elsewhere.
    """
    contract = parse(load(folder), folder)
    for name in contract.files():
        _check_own(folder, name)
        try:
            found = sha256(contract.path(name))
        except OSError as e:
            raise InputError(f"cannot read {contract.path(name)} ({e.strerror}); check its permissions") from e
        expected = contract.sha256.get(name, found)  # of the golden files, older exports wrote none
        if found != expected:
            raise InputError(
                f"{contract.path(name)} has SHA-256 {found[:12]}..., {FILE_NAME} expects {expected[:12]}...; the file "
                "was changed or cut short: copy the whole folder again"
            )
    return contract


def load(folder: str) -> Value:
    """The contents of ``folder``/deploy.yaml, unchecked.

    Raises:
        InputError: the file is missing, lies elsewhere, or is not what :mod:`.document` reads.
    """
    path = os.path.join(folder, FILE_NAME)
    if not os.path.isfile(path):
        raise InputError(f"expected the folder of an exported model with a {FILE_NAME}, got {folder!r}; export one")
    _check_own(folder, FILE_NAME)
    return read_document(path)


def _check_own(folder: str, name: str) -> None:
    """Refuse what is not a regular file in ``folder``: pipes and devices never end, links may lead anywhere."""
    path = os.path.join(folder, name)
    if not os.path.lexists(path):
        raise InputError(
            f"{os.path.join(folder, FILE_NAME)} names {name}, which does not exist; copy the whole folder of the "
            "exported model"
        )
    inside = os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))
    if not inside or not os.path.isfile(path):
        raise InputError(f"expected {path} to be a regular file in this folder; copy the files themselves into it")


def parse(document: Any, folder: str) -> Contract:
    """The contract that the loaded YAML ``document`` states for the files in ``folder``, which are not looked at.

    Raises:
        InputError: a key is missing, or its value is not what the schema allows.
    """
    file = os.path.join(folder, FILE_NAME)
    if isinstance(document, dict) and "Deploy" in document and "rtseg" not in document:
        raise InputError(
            f"{file} has no key 'rtseg': it was written by PaddleSeg's own tools/export.py; export the model again "
            "with python -m paddleseg.export --config CONFIG --model_path WEIGHTS"
        )
    root = Node(file, "", document)["rtseg"]
    schema = root["schema"].whole(least=0)
    if schema not in (SCHEMA, POSE_SCHEMA):
        raise InputError(
            f"{file} has schema {schema}, this program reads {SCHEMA} and {POSE_SCHEMA}; use matching versions of the "
            "two"
        )
    of_pose = schema == POSE_SCHEMA
    if of_pose:
        root["task"].choice((POSE,))
    output = Output(
        op=root["output"]["op"].choice((HEATMAPS,) if of_pose else OUTPUT_OPS),
        dtype=root["output"]["dtype"].choice(OUTPUT_DTYPES),
        num_classes=root["output"]["num_classes"].whole(most=MAX_CLASSES),
    )
    pose = read_pose(root["pose"]) if of_pose else None
    contract = Contract(
        folder=folder,
        pose=pose,
        model=root["model"].file_name(".json", ".pdmodel"),
        params=root["params"].file_name(),
        sha256={name.file_name(): sum.checksum() for name, sum in root["sha256"].items()},
        paddle_version=root["paddle_version"].text(),
        network=root["network"].text(),
        input=_input(root["input"]),
        preprocess=_preprocessing(root["preprocess"]),
        output=output,
        classes=() if of_pose else tuple(node.text() for node in root["classes"].items_of_list()),
        palette=() if of_pose else _palette(root["palette"]),
        golden=_golden(root["golden"], output, pose),
        tensorrt=TensorRT(
            shape=_shape_range(root["tensorrt"]["shape"], root["input"]["layout"].choice(LAYOUTS), bounded=True),
            workspace_mb=root["tensorrt"]["workspace_mb"].whole(most=MAX_WORKSPACE_MB),
            min_subgraph_size=root["tensorrt"]["min_subgraph_size"].whole(),
            fp32_ops=tuple(node.text() for node in root["tensorrt"]["fp32_ops"].items_of_list()),
        ),
        onnx=root["onnx"].file_name(".onnx") if root.has("onnx") else None,
        onnx_fp16=root["onnx_fp16"].file_name(".onnx") if root.has("onnx_fp16") else None,
        int8=read_int8(root["int8"]) if root.has("int8") and not of_pose else None,
    )
    _check(contract, root, file)
    return contract


def _check(contract: Contract, root: "Node", file: str) -> None:
    """What several keys have to agree on."""
    given, output = contract.input, contract.output
    raw = (given.dtype, given.layout, given.color) == ("uint8", "NHWC", "BGR")
    if not raw and (given.dtype, given.layout) != ("float32", "NCHW"):
        raise InputError(
            f"{file}: expected rtseg.input to be float32 NCHW or uint8 NHWC BGR, got {given.dtype} {given.layout} "
            f"{given.color}; export the model again"
        )
    if contract.preprocess.in_graph != raw:
        raise root["preprocess"]["in_graph"].error(f"{shown(raw)} with {given.dtype} input")
    if (output.dtype == "float32") == (output.op == "argmax"):
        raise root["output"]["dtype"].error("int32 or int64 with argmax and float32 otherwise")
    if contract.pose is not None:
        _check_pose(contract, contract.pose, root)
    elif not len(contract.classes) == len(contract.palette) == output.num_classes:
        raise InputError(
            f"{file} has {output.num_classes} classes, {len(contract.classes)} names and {len(contract.palette)} "
            "colours, expected as many of each; export the model again"
        )
    in_int8 = contract.int8.files() if contract.int8 is not None else []
    for name in (contract.model, contract.params, contract.onnx, contract.onnx_fp16, *in_int8):
        if name is not None and name not in contract.sha256:
            raise InputError(f"{file} gives no SHA-256 of {name}; export the model again")


def _check_pose(contract: Contract, pose: Pose, root: "Node") -> None:
    """The pose section belongs to the network's input and output."""
    if contract.output.num_classes != len(pose.keypoints):
        raise root["output"]["num_classes"].error(f"{len(pose.keypoints)}, the number of keypoints")
    if contract.preprocess.resize is not None or contract.preprocess.pad is not None:
        raise root["preprocess"].error("without resize and pad, which are not for poses")
    width, height = pose.input_size
    shape = contract.input.shape
    first = contract.input.layout.index("H")
    if any(bound[first : first + 2] != (height, width) for bound in (shape.min, shape.opt, shape.max)):
        raise root["pose"]["input_size"].error("the size that input.shape states")


def _palette(node: "Node") -> Tuple[Tuple[int, ...], ...]:
    return tuple(tuple(color.wholes(3, least=0, most=255)) for color in node.items_of_list())


def _input(node: "Node") -> Input:
    layout = node["layout"].choice(LAYOUTS)
    return Input(
        name=node["name"].text(),
        dtype=node["dtype"].choice(DTYPES),
        layout=layout,
        color=node["color"].choice(COLORS),
        shape=_shape_range(node["shape"], layout, bounded=False),
    )


def _shape_range(node: "Node", layout: Layout, bounded: bool) -> ShapeRange:
    low = node["min"].wholes(4)
    opt = node["opt"].wholes(4)
    high = node["max"].wholes(4, least=1 if bounded else FREE)
    ordered = all(a <= b and (c == FREE or b <= c) for a, b, c in zip(low, opt, high))
    channels = layout.index("C")
    if not ordered or 0 in high or {low[channels], high[channels]} != {3}:
        raise node.error(f"{layout} shapes of 3 channels with min <= opt <= max")
    if opt[0] > MAX_BATCH:
        raise node["opt"].items_of_list()[0].error(f"a batch of at most {MAX_BATCH}")
    return ShapeRange(tuple(low), tuple(opt), tuple(high))


def _preprocessing(node: "Node") -> Preprocessing:
    return Preprocessing(
        in_graph=node["in_graph"].flag(),
        resize=_resize(node["resize"]) if node["resize"].value is not None else None,
        pad=_pad(node["pad"]) if node["pad"].value is not None else None,
        scale=node["scale"].number(above=0),
        mean=tuple(node["mean"].numbers(3)),
        std=tuple(node["std"].numbers(3, above=0)),
    )


def _resize(node: "Node") -> Resize:
    rule = node["rule"].choice(RULES)
    target = rule in ("exact", "fit")
    return Resize(
        rule,
        height=node["height"].whole() if target else None,
        width=node["width"].whole() if target else None,
        size=node["size"].whole() if rule in ("long", "short") else None,
        max=node["max"].number(above=0) if rule in ("short", "limit") and node.has("max") else None,
        min=node["min"].number(above=0) if rule == "limit" and node.has("min") else None,
        divisor=node["divisor"].whole() if node.has("divisor") else None,
        interpolation=node["interpolation"].choice(INTERPOLATIONS) if node.has("interpolation") else "linear",
    )


def _pad(node: "Node") -> Pad:
    return Pad(node["height"].whole(), node["width"].whole(), node["value"].number())


def _golden(node: "Node", output: Output, pose: Optional[Pose]) -> Golden:
    stored = node["output"]
    if (output.op == "argmax") != (stored.value is None):
        raise stored.error("null with argmax and a file name otherwise")
    return Golden(
        image=node["image"].file_name(),
        mask=node["mask"].file_name() if pose is None else None,
        output=None if stored.value is None else stored.file_name(),
        step=node["step"].whole(most=MAX_STEP),
        tolerance={
            precision: _tolerance(node["tolerance"][precision], pose is not None)
            for precision in PRECISIONS
            if precision in _WITH_TOLERANCE or (precision == "tf32" and node["tolerance"].has(precision))
        },
        person=None if pose is None else read_golden_person(node, len(pose.keypoints)),
    )


def _tolerance(node: "Node", of_pose: bool) -> Tolerance:
    return Tolerance(
        rms_error=node["rms_error"].number(least=0),
        agreement=node["agreement"].number(least=0, most=1),
        pixels=node["pixels"].number(least=0) if of_pose else None,
    )
