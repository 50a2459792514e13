"""A trained network as a folder that Paddle Inference can run: the program, its weights, deploy.yaml and a golden
pair of input and output that every runtime is held to."""

import os
import shutil
import tempfile
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import paddle
import yaml
from paddle import nn
from paddle.static import InputSpec
from rtseg_inference import Predictor, contract
from rtseg_inference.files import read_image, write_image
from rtseg_inference.predictor import to_mask
from rtseg_inference.preprocess import Preprocessor

from ..data.palettes import classes_and_palette
from ..errors import InputError
from ..files import make_folder, sha256
from ..models.base import SegmentationModel
from ..trt_report.source_lines import drop_call_stacks, keep_source_lines
from .golden import street_scene
from .graph import OUTPUT_OPS, CameraInput, ExportedNetwork
from .onnx import write_onnx
from .pdmodel import old_program
from .preprocessing import Preprocessing

FORMATS = ("json", "pdmodel", "onnx")
FREE = -1
INPUT_NAME = "x"  # PaddleSeg's
DEFAULT_SIZE = (512, 1024)  # the size to tune for where the graph takes any
DEFAULT_MAX_BATCH = 4
GOLDEN_SIZE = (128, 192)
GOLDEN_VALUES = 1 << 17  # most values of the output that are stored: half a megabyte
# By precision: relative error of the output; share of the pixels that must agree. The second is loose where values
# are rounded, because an untrained or undecided network has many pixels close to a tie.
TOLERANCE = {"fp32": (1e-3, 0.999), "fp16": (1e-2, 0.99), "bf16": (5e-2, 0.97)}
FP32_OPS = ("layer_norm",)  # its sums of squares overflow in fp16


def export_model(
    model: nn.Layer,
    save_dir: str,
    preprocessing: Preprocessing,
    input_shape: Optional[Sequence[Optional[int]]] = None,
    output_op: str = "argmax",
    raw_input: bool = False,
    format: Optional[str] = None,
    dataset: Optional[str] = None,
    transforms: Sequence[Dict[str, Any]] = (),
    name: str = "model",
    golden_image: Optional[str] = None,
) -> str:
    """Export ``model`` to ``save_dir``, all of it or nothing.

    The folder gets the program (``name``.json or ``name``.pdmodel), its weights, deploy.yaml and the golden pair. What
    was written is run with Paddle Inference and compared with the model before it is moved to its place.

    Args:
        model: (B, 3, H, W) -> list whose first element is (B, num_classes, H, W) logits.
        save_dir: created if need be.
        preprocessing: what is done to an image before the network.
        input_shape: (N, 3, H, W); None or -1 leaves a dimension free, as does leaving out the whole shape.
        output_op: one of ``OUTPUT_OPS``; see :class:`.graph.ExportedNetwork`.
        raw_input: let the graph take (N, H, W, 3) uint8 BGR images and normalise them by itself.
        format: "json" (Paddle 3), "pdmodel" (Paddle 2 and 3; OpenVINO and TensorRT subgraphs need it), "onnx"
            (beside Paddle's form), or None for the form that the running Paddle writes by itself.
        dataset: PaddleSeg's name of the dataset, for the classes' names and colours.
        transforms: PaddleSeg's form of ``preprocessing``, for its scripts.
        name: of the program's file, without extension.
        golden_image: an image file to check with, instead of a drawn one.

    Returns:
        ``save_dir``.

    Raises:
        InputError: the model cannot be exported in this way, by this Paddle, or to this folder.
    """
    if output_op not in OUTPUT_OPS:
        raise InputError(f"expected the output op to be one of {', '.join(OUTPUT_OPS)}, got {output_op!r}")
    if output_op == "logits" and not hasattr(model, "low_resolution_logits"):
        raise InputError(
            f"{type(model).__name__} does not offer its logits before the last upsampling; export it with argmax"
        )
    program = f"{name}.{_program_format(format)}"
    shape = _checked_shape(model, input_shape)
    if raw_input:
        _check_raw_input(preprocessing, shape)

    make_folder(save_dir)
    was_training = model.training
    model.eval()
    partial = tempfile.mkdtemp(prefix=".partial-", dir=save_dir)
    try:
        network = ExportedNetwork(model, output_op, CameraInput(preprocessing) if raw_input else None)
        network.eval()
        files = {"model": program, "params": f"{name}.pdiparams"}
        document = _document(model, preprocessing, shape, output_op, raw_input, files, dataset, transforms)
        _write_golden(network, document, partial, golden_image)
        _write_program(network, raw_input, shape, os.path.join(partial, program))
        _write_document(document, partial)
        _check(partial, type(model).__name__)
        if format == "onnx":
            write_onnx(partial, document)
            _write_document(document, partial)
        # deploy.yaml comes last: before, the folder is none of a model's, or one whose sums do not match.
        for file in sorted(os.listdir(partial), key=lambda file: file == contract.FILE_NAME):
            os.replace(os.path.join(partial, file), os.path.join(save_dir, file))
    finally:
        shutil.rmtree(partial)
        if was_training:
            model.train()
    return save_dir


def _program_format(format: Optional[str]) -> str:
    """What is asked for, or what this Paddle writes by itself: "json" or "pdmodel"."""
    if format not in (*FORMATS, None):
        raise InputError(f"expected the format to be one of {', '.join(FORMATS)}, got {format!r}")
    writes_json = not paddle.__version__.startswith("2.") and paddle.framework.use_pir_api()
    if format == "json" and not writes_json:
        raise InputError(
            f"Paddle {paddle.__version__} cannot write json programs here; use Paddle 3 without "
            "FLAGS_enable_pir_api=0, or --format pdmodel"
        )
    return "json" if writes_json and format != "pdmodel" else "pdmodel"


def _checked_shape(model: nn.Layer, input_shape: Optional[Sequence[Optional[int]]]) -> List[int]:
    """(N, 3, H, W) with -1 for what is free."""
    shape = [FREE if n is None else int(n) for n in (input_shape or (FREE, 3, FREE, FREE))]
    if len(shape) != 4 or shape[1] != 3 or any(n != FREE and n < 1 for n in shape):
        raise InputError(f"expected an input shape N 3 H W, -1 for what is free, got {shape}; give four numbers")
    reason = getattr(model, "fixed_size_reason", None)
    if reason and FREE in shape[2:]:
        raise InputError(
            f"{type(model).__name__} cannot be exported with a free height and width: {reason}; give "
            "--input_shape -1 3 H W"
        )
    minimum = _min_size(model)
    if any(n != FREE and n < minimum for n in shape[2:]):
        raise InputError(
            f"{type(model).__name__} takes images of at least {minimum} x {minimum} pixels, got an input shape of "
            f"{shape[2]} x {shape[3]}; enlarge it"
        )
    return shape


def _min_size(model: nn.Layer) -> int:
    return getattr(model, "min_input_size", 1)


def _check_raw_input(preprocessing: Preprocessing, shape: Sequence[int]) -> None:
    resize = preprocessing.resize
    if preprocessing.pad or (resize and (resize["rule"], resize["interpolation"]) != ("exact", "linear")):
        raise InputError(
            "with --raw_input the graph can resize to one size with linear interpolation and cannot pad; change the "
            "val_dataset's transforms or leave --raw_input out"
        )
    if resize and any(n not in (FREE, m) for n, m in zip(shape[2:], (resize["height"], resize["width"]))):
        raise InputError(
            f"expected an input of the size that the graph resizes to, {resize['height']} x {resize['width']}, got "
            f"{shape[2]} x {shape[3]}; make them equal"
        )


def _shape_ranges(model: nn.Layer, shape: Sequence[int], preprocessing: Preprocessing, raw_input: bool) -> tuple:
    """Ranges (min, opt, max) of what the graph takes and of what a TensorRT engine is built for, which is bounded."""
    resize = preprocessing.resize
    low, usual = _min_size(model), DEFAULT_SIZE
    spatial = list(shape[2:])
    if raw_input and resize:  # images of any size go into a graph that resizes them
        low, spatial = 1, [FREE, FREE]
    elif resize and resize["rule"] == "exact":
        usual = resize["height"], resize["width"]
    batch = shape[0]
    opt = [max(u, low) if n == FREE else n for n, u in zip(spatial, usual)]
    ends = {
        "min": (1 if batch == FREE else batch, *(low if n == FREE else n for n in spatial)),
        "opt": (1 if batch == FREE else batch, *opt),
        "max": (batch, *spatial),
    }
    largest = (
        DEFAULT_MAX_BATCH if batch == FREE else batch,
        *(2 * o if n == FREE else n for n, o in zip(spatial, opt)),
    )

    def in_layout(batch: int, height: int, width: int) -> List[int]:
        return [batch, height, width, 3] if raw_input else [batch, 3, height, width]

    taken = {end: in_layout(*n) for end, n in ends.items()}
    return taken, {**taken, "max": in_layout(*largest)}


def _document(
    model: nn.Layer,
    preprocessing: Preprocessing,
    shape: Sequence[int],
    output_op: str,
    raw_input: bool,
    files: Dict[str, str],
    dataset: Optional[str],
    transforms: Sequence[Dict[str, Any]],
) -> Dict[str, Any]:
    """deploy.yaml, but for the sums of the files and how finely the golden output is stored."""
    taken, built_for = _shape_ranges(model, shape, preprocessing, raw_input)
    output_dtype = "int32" if output_op == "argmax" else "float32"
    classes, palette = classes_and_palette(dataset, _num_classes(model, shape))
    return {
        "Deploy": {  # as PaddleSeg writes it, for its own scripts
            **files,
            "transforms": list(transforms),
            "input_shape": [None if n == FREE else n for n in shape],
            "output_op": output_op,
            "output_dtype": output_dtype,
        },
        "rtseg": {
            "schema": contract.SCHEMA,
            **files,
            "sha256": {},
            "paddle_version": paddle.__version__,
            "network": type(model).__name__,
            "input": {
                "name": INPUT_NAME,
                "dtype": "uint8" if raw_input else "float32",
                "layout": "NHWC" if raw_input else "NCHW",
                "color": "BGR" if raw_input else "RGB",
                "shape": taken,
            },
            "preprocess": {
                "in_graph": raw_input,
                "resize": preprocessing.resize,
                "pad": preprocessing.pad,
                "scale": 1 / 255,
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
            },
            "output": {"op": output_op, "dtype": output_dtype, "num_classes": len(classes)},
            "classes": classes,
            "palette": palette.tolist(),
            "golden": {
                "image": "golden_input.png",
                "mask": "golden_mask.png",
                "output": None if output_op == "argmax" else "golden_output.npy",
                "step": 1,
                "tolerance": {
                    precision: {"rms_error": error, "agreement": agreement}
                    for precision, (error, agreement) in TOLERANCE.items()
                },
            },
            "tensorrt": {
                "shape": built_for,
                "workspace_mb": 1024,
                "min_subgraph_size": 3,
                "fp32_ops": list(FP32_OPS),
            },
        },
    }


def _num_classes(model: nn.Layer, shape: Sequence[int]) -> int:
    height, width = (max(_min_size(model), g) if n == FREE else n for n, g in zip(shape[2:], GOLDEN_SIZE))
    with paddle.no_grad():
        return int(model(paddle.zeros([max(1, shape[0]), 3, height, width]))[0].shape[1])


def _write_golden(network: ExportedNetwork, document: Dict[str, Any], folder: str, image_file: Optional[str]) -> None:
    """Store what the network sees and says as it was trained, before any export."""
    draft = contract.parse(document, folder)
    image = read_image(image_file) if image_file else street_scene(*_golden_size(draft))
    batch = Preprocessor(draft)([image] * draft.shape.min[0])
    with paddle.no_grad():
        output = network(paddle.to_tensor(batch))[0].numpy()
    write_image(draft.path(draft.golden.image), image)
    write_image(draft.path(draft.golden.mask), to_mask(output, draft, image.shape[:2]))
    if draft.golden.output:
        step = 1
        while output[:, ::step, ::step].size > GOLDEN_VALUES:
            step += 1
        document["rtseg"]["golden"]["step"] = step
        np.save(draft.path(draft.golden.output), output[:, ::step, ::step])


def _golden_size(draft: contract.Contract) -> List[int]:
    """Height and width of an image that the exported network takes."""
    if draft.pad:
        return [3 * draft.pad["height"] // 4, 3 * draft.pad["width"] // 4]
    first = 1 if draft.raw_input else 2  # the axis of the height
    bounds = zip(draft.shape.min[first:], draft.shape.max[first:], GOLDEN_SIZE)
    return [max(low, usual) if high == FREE else high for low, high, usual in bounds]


def _write_program(network: ExportedNetwork, raw_input: bool, shape: Sequence[int], path: str) -> None:
    """Trace ``network`` and write its program, in the form that the extension of ``path`` says, and its weights."""
    batch, _, height, width = (None if n == FREE else n for n in shape)
    if raw_input:
        resizes = network.camera_input.size is not None
        spec = InputSpec([batch, None, None, 3] if resizes else [batch, height, width, 3], "uint8", INPUT_NAME)
    else:
        spec = InputSpec([batch, 3, height, width], "float32", INPUT_NAME)
    prefix, extension = os.path.splitext(path)
    if extension == ".json":
        _trace(network, spec, prefix)
        return
    try:
        with old_program():
            _trace(network, spec, prefix)
    except InputError:
        raise
    except (TypeError, ValueError) as e:
        if paddle.__version__.startswith("2."):
            raise
        reason = [line.strip() for line in str(e).splitlines() if line.strip()]  # the last line says what it was
        raise InputError(
            f"Paddle {paddle.__version__} cannot write {type(network.network).__name__} as pdmodel "
            f"({reason[-1] if reason else type(e).__name__}); export it with Paddle 2.6.2 or 3.0.0"
        ) from e


def _trace(network: ExportedNetwork, spec: InputSpec, prefix: str) -> None:
    # full_graph: part of a program cannot be exported, and the other way fails to trace on Python 3.11 in Paddle 2.6.
    static = paddle.jit.to_static(network, input_spec=[spec], full_graph=True)
    try:
        keep_source_lines(static)  # for trt_report
        paddle.jit.save(static, prefix)
    except Exception as e:
        free = any(n in (None, FREE) for n in spec.shape)
        if isinstance(network.network, SegmentationModel) or not free:
            raise
        raise InputError(
            f"{type(network.network).__name__} cannot be exported with a free batch, height or width; fix them, for "
            "example with --input_shape 1 3 512 1024"
        ) from e
    if os.path.exists(prefix + ".pdmodel"):
        drop_call_stacks(prefix + ".pdmodel")


def _write_document(document: Dict[str, Any], folder: str) -> None:
    files = [file for file in sorted(os.listdir(folder)) if file != contract.FILE_NAME]
    document["rtseg"]["sha256"] = {file: sha256(os.path.join(folder, file)) for file in files}
    with open(os.path.join(folder, contract.FILE_NAME), "w", encoding="utf-8") as f:
        yaml.dump(document, f, _PlainDumper, sort_keys=False, default_flow_style=None, width=120)


class _PlainDumper(yaml.SafeDumper):
    """Repeats equal lists instead of referring to the first, for simple YAML readers."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _check(folder: str, name: str) -> None:
    """Run what was written, without any optional accelerator, and compare."""
    verification = Predictor(folder, backend="native").verify()
    if not verification.passed:
        raise InputError(
            f"the exported {name} does not compute what the model does ({verification}), so it is not kept; export it "
            "with another --format or another release of Paddle"
        )
