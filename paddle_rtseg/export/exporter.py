"""Export a trained network to a folder for Paddle Inference: the program, its weights, deploy.yaml and a golden pair of
input and output that every runtime is checked against."""

import dataclasses
import functools
import math
import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec
from rtseg_inference.contract import (
    FILE_NAME,
    FREE,
    HEATMAPS,
    INT8,
    OUTPUT_OPS,
    Contract,
    Golden,
    Input,
    Output,
    Preprocessing,
    ShapeRange,
    TensorRT,
    Tolerance,
    write_contract,
)
from rtseg_inference.files import write_image
from rtseg_inference.geometry import sizes
from rtseg_inference.images import pixel_limit, read_image
from rtseg_inference.pose_contract import Pose
from rtseg_inference.predictor import to_mask
from rtseg_inference.preprocess import Preprocessor
from rtseg_inference.selection import load_model

from ..data.palettes import classes_and_palette
from ..errors import InputError
from ..files import exclusive, new_folder, partial_folder, path_text, sha256
from ..models.base import SegmentationModel
from ..models.merging_schedule import merges_by_matching
from ..models.resizing import resize_operators, resizes_by_matrices
from ..models.selection import scattering
from ..trt_report.source_lines import drop_call_stacks, keep_source_lines
from ..weights.limits import quote
from . import FORMATS, ONNX, PRECISIONS
from .golden import TIES, WIDEST, Change, rounding_error, street_scene
from .graph import CameraInput, ExportedNetwork
from .int8 import Quantization, add_int8
from .onnx import obstacle, write_onnx
from .pdmodel import old_program
from .pose import POSE_TOLERANCE, check_keypoints, check_pose, golden_person

INPUT_NAME = "x"  # PaddleSeg's
DEFAULT_SIZE = (512, 1024)  # the size to tune for if the graph takes any
DEFAULT_MAX_BATCH = 4
GOLDEN_SIZE = (128, 192)
GOLDEN_VALUES = 1 << 17  # at most this many values of the output are stored: half a megabyte
# The agreement is loose for the lower precisions, because an untrained or undecided network has many pixels close to a
# tie.
TOLERANCE = {
    "fp32": Tolerance(rms_error=1e-3, agreement=0.999),
    "tf32": Tolerance(rms_error=1e-2, agreement=0.99),
    "fp16": Tolerance(rms_error=1e-2, agreement=0.99),
    "bf16": Tolerance(rms_error=5e-2, agreement=0.97),
}
FP32_OPS = ("layer_norm",)  # its sums of squares overflow in fp16


def export_model(
    model: nn.Layer,
    save_dir: str,
    preprocessing: Preprocessing,
    input_shape: Optional[Sequence[Optional[int]]] = None,
    output_op: str = "argmax",
    raw_input: bool = False,
    format: Optional[str] = None,
    precision: str = "fp32",
    onnx: Optional[str] = None,
    dataset: Optional[str] = None,
    transforms: Sequence[Dict[str, Any]] = (),
    name: str = "model",
    golden_image: Optional[str] = None,
    pose: Optional[Pose] = None,
    quantization: Optional[Quantization] = None,
) -> str:
    """Export ``model`` to ``save_dir``, atomically.

    The folder gets the program (``name``.json or ``name``.pdmodel), its weights, deploy.yaml and the golden pair.
    Before these are moved to ``save_dir``, Paddle Inference runs them and the result is compared with the model's.

    Args:
        model: (B, 3, H, W) -> list whose first element is (B, num_classes, H, W) logits.
        save_dir: created if necessary.
        preprocessing: what happens to an image before the network.
        input_shape: (N, 3, H, W); None or -1 leaves a dimension free; without a shape, batch, height and width are,
            except that a network of one size has the size to which ``preprocessing`` brings every image.
        output_op: one of ``OUTPUT_OPS``; see :class:`.graph.ExportedNetwork`.
        raw_input: the graph takes (N, H, W, 3) uint8 BGR images and normalises them itself.
        format: "json" (Paddle 3), "pdmodel" (Paddle 2 and 3; OpenVINO and TensorRT subgraphs need it), "onnx"
            (in addition to Paddle's form), or None for the default form of the running Paddle and, if possible, ONNX.
        precision: "fp16" writes the ONNX form in half precision too, "int8" in INT8.
        onnx: whether the ONNX form is written: "required", "if possible" (a line says why not) or "no"; None for what
            ``format`` and ``precision`` ask for.
        dataset: PaddleSeg's name of the dataset, or a dataset file, which gives the classes their names and colours.
        transforms: ``preprocessing`` as PaddleSeg's transforms, for its scripts.
        name: file name of the program, without extension.
        golden_image: an image file to check with, instead of the drawn street.
        pose: of a network that gives (B, K, H / 4, W / 4) heatmaps of one person's keypoints: what surrounds it, see
            :func:`.pose.pose_of`; it fixes the height and width of the input.
        quantization: with "int8", how the network is quantised, and what is asked of the result.

    Returns:
        ``save_dir``.

    Raises:
        InputError: the model cannot be exported like this, by this Paddle, or to this folder.
    """
    save_dir = path_text(save_dir, "a folder to write")
    dataset = None if dataset is None else path_text(dataset, "the name of a dataset, or a dataset file")
    golden_image = None if golden_image is None else path_text(golden_image, "an image file as golden_image")
    if not isinstance(model, nn.Layer):
        raise InputError(f"expected a network, a paddle.nn.Layer, got {quote(repr(model))}; pass the network first")
    if not isinstance(preprocessing, Preprocessing):
        raise InputError(
            f"expected what happens to an image as a Preprocessing, got {quote(repr(preprocessing))}; pass "
            "Preprocessing(...) of paddle_rtseg.export.preprocessing"
        )
    if not isinstance(transforms, (list, tuple)):
        raise InputError(f"expected PaddleSeg's transforms as a list, got {quote(repr(transforms))}; correct it")
    if pose is not None:
        input_shape = check_pose(pose, preprocessing, input_shape, output_op)
        output_op = HEATMAPS
    elif output_op not in OUTPUT_OPS:
        raise InputError(f"expected the output op to be one of {', '.join(OUTPUT_OPS)}, got {output_op!r}")
    if output_op == "logits" and not hasattr(model, "low_resolution_logits"):
        raise InputError(
            f"{type(model).__name__} does not provide its logits before the last upsampling; export it with argmax"
        )
    program = f"{name}.{_program_format(format)}"
    onnx = _checked_onnx(onnx, format, precision)
    if (precision == INT8) != (quantization is not None) or (quantization is not None and pose is not None):
        raise InputError(
            f"expected a Quantization for precision 'int8' of a network for segmentation, and for no other, got "
            f"{quote(repr(quantization))} with {precision!r}; correct one of them"
        )
    shape = _checked_shape(model, _only_shape(model, preprocessing) if input_shape is None else input_shape)
    if raw_input:
        _check_raw_input(preprocessing, shape)

    was_training = model.training
    model.eval()
    try:
        channels = _num_channels(model, shape)
        if pose is not None:
            check_keypoints(pose, channels)
        with new_folder(save_dir), exclusive(save_dir), partial_folder(save_dir) as partial:
            network = _exported_network(model, output_op, preprocessing, raw_input)
            contract = Contract(
                folder=partial,
                model=program,
                params=f"{name}.pdiparams",
                sha256={},
                paddle_version=paddle.__version__,
                network=type(model).__name__,
                preprocess=dataclasses.replace(preprocessing, in_graph=raw_input),
                pose=pose,
                **_interface(model, channels, preprocessing, shape, output_op, raw_input, dataset),
            )
            paddleseg = _paddleseg_section(contract, transforms, shape)
            contract = _write_golden(network, contract, golden_image)
            _write_program(network, raw_input, shape, os.path.join(partial, program))
            write_contract(_with_checksums(contract), paddleseg)
            _check(contract)
            if onnx != "no":
                form = _program_format(format)
                program = _program_for_onnx(model, output_op, preprocessing, raw_input, shape, form)
                contract = _with_onnx(contract, onnx == "required", precision == "fp16", program)
                write_contract(_with_checksums(contract), paddleseg)
            if quantization is not None:
                contract = add_int8(contract, quantization)
                write_contract(_with_checksums(contract), paddleseg)
                for backend in contract.int8.backends:
                    _check(contract, backend, INT8)
            # deploy.yaml comes last: until then the folder has none, or one whose checksums do not match.
            for file in sorted(os.listdir(partial), key=lambda file: file == FILE_NAME):
                os.replace(os.path.join(partial, file), os.path.join(save_dir, file))
    finally:
        if was_training:
            model.train()
    return save_dir


def _program_format(format: Optional[str]) -> str:
    """The requested form or this Paddle's default: json or pdmodel."""
    if format not in (*FORMATS, None):
        raise InputError(f"expected the format to be one of {', '.join(FORMATS)}, got {format!r}")
    writes_json = not paddle.__version__.startswith("2.") and paddle.framework.use_pir_api()
    if format == "json" and not writes_json:
        raise InputError(
            f"Paddle {paddle.__version__} cannot write json programs here; use Paddle 3 without "
            "FLAGS_enable_pir_api=0, or --format pdmodel"
        )
    return "json" if writes_json and format != "pdmodel" else "pdmodel"


def _checked_onnx(onnx: Optional[str], format: Optional[str], precision: str) -> str:
    """Whether the ONNX form is written, one of ``ONNX``; what is missing for it is known before anything is traced."""
    if precision not in PRECISIONS:
        raise InputError(f"expected the precision to be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if onnx not in (*ONNX, None):
        raise InputError(f"expected onnx to be one of {', '.join(ONNX)}, got {onnx!r}")
    lower = precision != "fp32"
    if onnx is None:
        onnx = "required" if lower or format == "onnx" else "if possible" if format is None else "no"
    if lower and (onnx == "no" or format not in (None, "onnx")):
        raise InputError(
            f"expected --format onnx with --precision {precision}, which is a form of the ONNX graph, got {format}; "
            "leave --format out"
        )
    reason = obstacle(precision) if onnx == "required" else None
    if reason:
        raise InputError(reason)
    return onnx


def _exported_network(
    model: nn.Layer, output_op: str, preprocessing: Preprocessing, raw_input: bool
) -> ExportedNetwork:
    network = ExportedNetwork(model, output_op, CameraInput(preprocessing) if raw_input else None)
    network.eval()
    return network


def _program_for_onnx(
    model: nn.Layer, output_op: str, preprocessing: Preprocessing, raw_input: bool, shape: Sequence[int], format: str
) -> Optional[Callable[[str], None]]:
    """What writes the program to convert to ONNX, where Paddle's own, of ``format``, does not suit other runtimes."""
    if not merges_by_matching(model) and (format == "pdmodel" or not resizes_by_matrices(model)):
        return None
    network = _exported_network(model, output_op, preprocessing, raw_input)  # that has not been traced yet

    def write(path: str) -> None:
        with scattering(), resize_operators():
            _write_program(network, raw_input, shape, path)

    return write


def _with_onnx(
    contract: Contract, required: bool, half: bool, write_program: Optional[Callable[[str], None]]
) -> Contract:
    """Write the ONNX form; unless it is required, say in a line why it cannot be written."""
    try:
        files = write_onnx(contract.folder, half, write_program)
    except InputError as e:
        if required:
            raise
        print(f"without an ONNX form: {e}")
        _remove_onnx(contract)
        return contract
    return dataclasses.replace(contract, onnx=files.onnx, onnx_fp16=files.onnx_fp16)


def _remove_onnx(contract: Contract) -> None:
    """Remove what was not kept."""
    for file in os.listdir(contract.folder):
        if file.endswith(".onnx"):
            os.unlink(contract.path(file))


def _only_shape(model: nn.Layer, preprocessing: Preprocessing) -> Optional[List[int]]:
    """The input shape of a network of one size, if every image is brought to the same; otherwise None."""
    if not _fixed_size_reason(model):
        return None
    resize, pad = preprocessing.resize, preprocessing.pad
    if pad is None and (resize is None or resize.rule != "exact"):
        return None
    return [FREE, 3, *sizes(preprocessing, (1, 1)).network]


def _checked_shape(model: nn.Layer, input_shape: Optional[Sequence[Optional[int]]]) -> List[int]:
    """(N, 3, H, W) with -1 for free dimensions."""
    given = (FREE, 3, FREE, FREE) if input_shape is None else input_shape
    if not isinstance(given, (list, tuple)) or not all(n is None or type(n) is int for n in given):
        raise InputError(
            f"expected an input shape N 3 H W, -1 for free dimensions, got {quote(repr(given))}; correct it"
        )
    shape = [FREE if n is None else n for n in given]
    if len(shape) != 4 or shape[1] != 3 or any(n != FREE and n < 1 for n in shape):
        raise InputError(f"expected an input shape N 3 H W, -1 for free dimensions, got {shape}; give four numbers")
    pixels = math.prod(n for n in (shape[0], *shape[2:]) if n != FREE)
    if pixels > pixel_limit():
        raise InputError(
            f"expected an input of at most {pixel_limit() // 10**6} megapixels, got {shape}; shrink it, or raise "
            "RTSEG_MEGAPIXELS"
        )
    reason = _fixed_size_reason(model)
    if reason and FREE in shape[2:]:
        raise InputError(
            f"{type(model).__name__} cannot be exported with a free height and width: {reason}; give "
            "--input_shape -1 3 H W, or a Resize in the val_dataset"
        )
    minimum = _min_size(model)
    if any(n != FREE and n < minimum for n in shape[2:]):
        raise InputError(
            f"{type(model).__name__} takes images of at least {minimum} x {minimum} pixels, got an input shape of "
            f"{shape[2]} x {shape[3]}; enlarge it"
        )
    return shape


def _fixed_size_reason(model: nn.Layer) -> Optional[str]:
    """Why height and width must be fixed, if they must: the network's reason or its backbone's."""
    return next(filter(None, _stated(model, "fixed_size_reason")), None)


def _min_size(model: nn.Layer) -> int:
    return max(filter(None, _stated(model, "min_input_size")), default=1)


def _stated(model: nn.Layer, name: str) -> List[Any]:
    """What a network and its backbone say of themselves; PaddleSeg's networks do not pass on what our backbones say."""
    return [getattr(part, name, None) for part in (model, getattr(model, "backbone", None))]


def _check_raw_input(preprocessing: Preprocessing, shape: Sequence[int]) -> None:
    resize = preprocessing.resize
    if preprocessing.pad or (resize and (resize.rule, resize.interpolation) != ("exact", "linear")):
        raise InputError(
            "with --raw_input the graph can resize to one size with linear interpolation and cannot pad; change the "
            "val_dataset's transforms or leave --raw_input out"
        )
    if resize and any(n not in (FREE, m) for n, m in zip(shape[2:], (resize.height, resize.width))):
        raise InputError(
            f"expected an input of the size that the graph resizes to, {resize.height} x {resize.width}, got "
            f"{shape[2]} x {shape[3]}; make them equal"
        )


def _interface(
    model: nn.Layer,
    channels: int,
    preprocessing: Preprocessing,
    shape: Sequence[int],
    output_op: str,
    raw_input: bool,
    dataset: Optional[str],
) -> Dict[str, Any]:
    """The fields of the contract that describe what goes into the graph and what comes out of it."""
    taken, built_for = _shape_ranges(model, shape, preprocessing, raw_input)
    argmax, of_pose = output_op == "argmax", output_op == HEATMAPS
    classes, palette = classes_and_palette(dataset, channels) if not of_pose else ((), np.empty((0, 3), int))
    return {
        "input": Input(
            name=INPUT_NAME,
            dtype="uint8" if raw_input else "float32",
            layout="NHWC" if raw_input else "NCHW",
            color="BGR" if raw_input else "RGB",
            shape=taken,
        ),
        "output": Output(output_op, "int32" if argmax else "float32", channels),
        "classes": tuple(classes),
        "palette": tuple(map(tuple, palette.tolist())),
        "golden": Golden(
            image="golden_input.png",
            mask=None if of_pose else "golden_mask.png",
            output=None if argmax else "golden_output.npy",
            step=1,
            tolerance=POSE_TOLERANCE if of_pose else TOLERANCE,
        ),
        "tensorrt": TensorRT(shape=built_for, workspace_mb=1024, min_subgraph_size=3, fp32_ops=FP32_OPS),
    }


def _shape_ranges(
    model: nn.Layer, shape: Sequence[int], preprocessing: Preprocessing, raw_input: bool
) -> Tuple[ShapeRange, ShapeRange]:
    """What the graph takes, and what a TensorRT engine is built for, which is bounded."""
    resize = preprocessing.resize
    low, usual = _min_size(model), DEFAULT_SIZE
    spatial = list(shape[2:])
    if raw_input and resize:  # a graph that resizes takes images of any size
        low, spatial = 1, [FREE, FREE]
    elif resize and resize.rule == "exact":
        usual = resize.height, resize.width
    batch = shape[0]
    one_or_fixed = 1 if batch == FREE else batch
    opt = [max(u, low) if n == FREE else n for n, u in zip(spatial, usual)]

    def in_layout(batch: int, size: Sequence[int]) -> Tuple[int, ...]:
        return (batch, *size, 3) if raw_input else (batch, 3, *size)

    taken = ShapeRange(
        min=in_layout(one_or_fixed, [low if n == FREE else n for n in spatial]),
        opt=in_layout(one_or_fixed, opt),
        max=in_layout(batch, spatial),
    )
    largest = in_layout(
        DEFAULT_MAX_BATCH if batch == FREE else batch, [2 * o if n == FREE else n for n, o in zip(spatial, opt)]
    )
    return taken, dataclasses.replace(taken, max=largest)


def _paddleseg_section(
    contract: Contract, transforms: Sequence[Dict[str, Any]], shape: Sequence[int]
) -> Dict[str, Any]:
    """The section of deploy.yaml that PaddleSeg writes itself, for its own scripts."""
    return {
        "model": contract.model,
        "params": contract.params,
        "transforms": list(transforms),
        "input_shape": [None if n == FREE else n for n in shape],
        "output_op": contract.output.op,
        "output_dtype": contract.output.dtype,
    }


def _num_channels(model: nn.Layer, shape: Sequence[int]) -> int:
    """Classes, or keypoints."""
    height, width = (max(_min_size(model), g) if n == FREE else n for n, g in zip(shape[2:], GOLDEN_SIZE))
    with paddle.no_grad():
        return int(model(paddle.zeros([max(1, shape[0]), 3, height, width]))[0].shape[1])


def _write_golden(network: ExportedNetwork, contract: Contract, image_file: Optional[str]) -> Contract:
    """Store the golden image and what the trained network makes of it, before any export.

    Returns:
        ``contract`` with the step at which the output was stored, the person that was found, and a tolerance that
        allows for ties between tokens that match.
    """
    golden, preprocessor = contract.golden, Preprocessor(contract)
    image = read_image(image_file) if image_file else street_scene(*_golden_size(contract))

    def run(images: Sequence[np.ndarray], change: Change = lambda batch: batch) -> np.ndarray:
        batch = change(preprocessor([*images, *[images[-1]] * (contract.input.shape.min[0] - len(images))]))
        with paddle.no_grad():
            return network(paddle.to_tensor(batch)).numpy()[: len(images)]

    def of_person(change: Change) -> np.ndarray:
        return golden_person(image, contract.pose, functools.partial(run, change=change))[1]

    def of_image(change: Change) -> np.ndarray:
        return run([image], change)[0]

    write_image(contract.path(golden.image), image)
    if contract.pose is not None:
        person, output = golden_person(image, contract.pose, run)
        golden = dataclasses.replace(golden, person=person)
    else:
        (output,) = run([image])
        write_image(contract.path(golden.mask), to_mask(output, contract, image.shape[:2]))
    step = 1
    if golden.output:
        while output[:, ::step, ::step].size > GOLDEN_VALUES:
            step += 1
        np.save(contract.path(golden.output), output[:, ::step, ::step])
    if golden.output and not contract.raw_input and merges_by_matching(network.network):
        error = TIES * rounding_error(of_person if contract.pose else of_image, output)
        error = min(float(f"{error:.2g}"), WIDEST)
        widened = {
            precision: dataclasses.replace(tolerance, rms_error=max(tolerance.rms_error, error))
            for precision, tolerance in golden.tolerance.items()
        }
        golden = dataclasses.replace(golden, tolerance=widened)
    return dataclasses.replace(contract, golden=dataclasses.replace(golden, step=step))


def _golden_size(contract: Contract) -> List[int]:
    """Height and width of an image that the exported network takes."""
    pad, shape = contract.preprocess.pad, contract.input.shape
    if pad:
        return [3 * pad.height // 4, 3 * pad.width // 4]
    first = 1 if contract.raw_input else 2  # the axis of the height
    bounds = zip(shape.min[first:], shape.max[first:], GOLDEN_SIZE)
    return [max(low, usual) if high == FREE else high for low, high, usual in bounds]


def _write_program(network: ExportedNetwork, raw_input: bool, shape: Sequence[int], path: str) -> None:
    """Trace ``network`` and write its weights and its program, in the form given by the extension of ``path``."""
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
        reason = [line.strip() for line in str(e).splitlines() if line.strip()]  # the last line holds the cause
        raise InputError(
            f"Paddle {paddle.__version__} cannot write {type(network.network).__name__} as pdmodel "
            f"({reason[-1] if reason else type(e).__name__}); export it with Paddle 2.6.2 or 3.0.0"
        ) from e


def _trace(network: ExportedNetwork, spec: InputSpec, prefix: str) -> None:
    # full_graph, because a partial program cannot be exported, and Paddle 2.6 fails to trace one on Python 3.11.
    static = paddle.jit.to_static(network, input_spec=[spec], full_graph=True)
    try:
        keep_source_lines(static)  # for trt_report
        paddle.jit.save(static, prefix)
    except Exception as e:
        free = any(n in (None, FREE) for n in spec.shape)
        if isinstance(network.network, SegmentationModel) or not free:
            raise
        raise InputError(
            f"{type(network.network).__name__} cannot be exported with a free batch, height or width "
            f"({_last_line(e)}); fix them, for example with --input_shape 1 3 512 1024"
        ) from e
    if os.path.exists(prefix + ".pdmodel"):
        drop_call_stacks(prefix + ".pdmodel")


def _last_line(e: Exception) -> str:
    """What went wrong inside the network: Paddle puts the lines of the code that it traced before it."""
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return quote(lines[-1].partition("InputError: ")[2] or lines[-1]) if lines else type(e).__name__


def _with_checksums(contract: Contract) -> Contract:
    """``contract`` with the SHA-256 of every file that was written to its folder."""
    files = [file for file in sorted(os.listdir(contract.folder)) if file != FILE_NAME]
    return dataclasses.replace(contract, sha256={file: sha256(contract.path(file)) for file in files})


def _check(contract: Contract, backend: str = "native", precision: str = "fp32") -> None:
    """Run what was written, by default without any optional accelerator, and compare it with what the model gave."""
    verification = load_model(contract.folder, backend=backend, precision=precision).verify()
    if not verification.passed:
        raise InputError(
            f"the exported {contract.network} does not compute what the model does ({verification}), so it is not "
            "kept; export it with another --format or another release of Paddle"
        )
