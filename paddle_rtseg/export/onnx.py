"""The exported network in ONNX, for other runtimes; kept only if it computes the same as Paddle's own form.

paddle2onnx silently gets some operators wrong (adaptive pooling with bins of different sizes, in 2.1.0), so its result
is compared with Paddle's, at several sizes if the graph takes any, after :mod:`.onnx_graph` has simplified it.
"""

import importlib.util
import os
import re
import subprocess
import sys
from typing import Any, Callable, Iterator, List, NamedTuple, Optional

import numpy as np
import paddle
from rtseg_inference.contract import Contract, Precision
from rtseg_inference.images import read_image
from rtseg_inference.loaded_model import LoadedModel
from rtseg_inference.selection import load_model

from ..errors import InputError
from ..files import temporary_folder
from .golden import TIES, WIDEST, rounding_error

OPSET = 17
SIZES = ((160, 288), (97, 131))  # in addition to the golden image's; one is odd
PACKAGES = ("paddle2onnx", "onnxruntime", "onnx")
INSTALL = 'pip install "paddle_rtseg[{}]"'
CONVERT = """
import sys
import paddle2onnx
program, weights, path, opset = sys.argv[1:]
# With any other optimize_tool it installs packages itself.
paddle2onnx.export(program, weights, path, opset_version=int(opset), optimize_tool="None")
"""
USE_PADDLE = "export it in Paddle's form"


class Files(NamedTuple):
    """Names of the ONNX files in an exported folder, as deploy.yaml lists them."""

    onnx: str
    onnx_fp16: Optional[str]


def obstacle(precision: str = "fp32") -> Optional[str]:
    """The sentence that says what ONNX in ``precision`` needs that is not there; None if nothing is missing."""
    if paddle.__version__.startswith("2."):
        return f"ONNX needs Paddle 3, from which paddle2onnx converts, and this is Paddle {paddle.__version__}"
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            return f"ONNX needs {' and '.join(PACKAGES[:2])}, but {name} is not installed; {INSTALL.format('onnx')}"
    if precision == "int8" and importlib.util.find_spec("ml_dtypes") is None:  # which onnxruntime does not require
        return f"INT8 needs ml_dtypes, which is not installed; {INSTALL.format('quant')}"
    return None


def write_onnx(folder: str, half: bool = False, write_program: Optional[Callable[[str], None]] = None) -> Files:
    """Convert the model in ``folder``, simplify it and compare the result with Paddle's.

    Args:
        folder: of an exported model in Paddle's form.
        half: write it in half precision too.
        write_program: writes the program that is converted, and its weights, to the path that it is given; None for a
            network whose program in ``folder`` suits ONNX as well.

    Raises:
        InputError: the converter or onnxruntime is missing, cannot handle the network, or gets it wrong.
    """
    reason = obstacle()
    if reason:
        raise InputError(reason)
    import onnx

    from .onnx_gather import gather_per_image
    from .onnx_graph import Graph, simplify
    from .onnx_half import to_half

    predictor = load_model(folder, backend="native")
    contract = predictor.contract
    stem = os.path.splitext(contract.model)[0]
    files = Files(f"{stem}.onnx", f"{stem}_fp16.onnx" if half else None)
    batches = list(_batches(predictor))
    expected = [predictor.runtime.run(batch) for batch in batches]

    def save(name: str, precision: Precision) -> None:
        onnx.save(graph.model(), contract.path(name))
        _compare(predictor, name, precision, batches, expected)

    graph = Graph(_converted(contract, write_program))
    simplify(graph, ("batch", "height", "width", None) if contract.raw_input else ("batch", None, "height", "width"))
    if gather_per_image(graph):
        simplify(graph)
    save(files.onnx, "fp32")
    if files.onnx_fp16:
        to_half(graph)
        save(files.onnx_fp16, "fp16")
    return files


def _converted(contract: Contract, write_program: Optional[Callable[[str], None]]) -> Any:
    """What paddle2onnx makes of Paddle's form, or of what ``write_program`` writes, as an ``onnx.ModelProto``.

    It runs in a process of its own, because it aborts its process on what it does not support.
    """
    import onnx

    with temporary_folder() as folder:
        path = os.path.join(folder, "converted.onnx")
        program, weights = (os.path.abspath(contract.path(name)) for name in (contract.model, contract.params))
        if write_program is not None:
            program, weights = (os.path.join(folder, os.path.basename(path)) for path in (program, weights))
            write_program(program)
        command = [sys.executable, "-c", CONVERT, program, weights, path, str(OPSET)]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode or not os.path.isfile(path):
            reasons = re.findall(r"\[ERROR\]\s*(?:\[Paddle2ONNX\])?\s*(.+)", done.stdout.decode(errors="replace"))
            reason = reasons[0].strip() if reasons else f"exit status {done.returncode}"
            raise InputError(f"paddle2onnx cannot convert {contract.network} ({reason}); {USE_PADDLE}")
        return onnx.load(path)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _batches(predictor: LoadedModel) -> Iterator[np.ndarray]:
    """The golden image, the same with its mirror image, and resized to those ``SIZES`` that the graph takes."""
    import cv2

    contract = predictor.contract
    image = read_image(contract.path(contract.golden.image))
    if contract.pose is not None:
        image = cv2.resize(image, contract.pose.input_size, interpolation=cv2.INTER_LINEAR)
    images = [image]
    if contract.input.shape.min != contract.input.shape.max:
        images += [cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for height, width in SIZES]
    for pixels in images:
        shape = (1, *pixels.shape[:2], 3) if contract.raw_input else (1, 3, *pixels.shape[:2])
        if pixels is image or contract.input.shape.contains(shape):
            yield predictor.preprocess([pixels] * contract.input.shape.min[0])
    if contract.input.shape.max[0] != contract.input.shape.min[0]:
        yield predictor.preprocess([image, np.ascontiguousarray(image[:, ::-1])])


def _compare(
    predictor: LoadedModel, name: str, precision: Precision, batches: List[np.ndarray], expected: List[np.ndarray]
) -> None:
    """Run the ONNX file ``name`` on the processor and hold its outputs to Paddle's.

    Raises:
        InputError: onnxruntime cannot run it, or they differ by more than the golden pair's tolerance, and more than
            another rounding explains.
    """
    import onnxruntime

    contract = predictor.contract

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(contract.path(name), options, providers=["CPUExecutionProvider"])
        found = [session.run(None, {contract.input.name: batch})[0] for batch in batches]
    except Exception as e:  # however onnxruntime fails
        raise InputError(f"onnxruntime cannot run the graph that paddle2onnx wrote ({_line(e)}); {USE_PADDLE}") from e
    for batch, output, wanted in zip(batches, found, expected):
        figure = _difference(output, wanted, contract, precision)
        if figure and not _is_rounding(predictor, batch, output, wanted):
            what = "its ONNX graph" if precision == "fp32" else "its ONNX graph in half precision"
            raise InputError(
                f"paddle2onnx converted the network wrongly ({figure} at input {'x'.join(map(str, batch.shape))}), so "
                f"{what} is not kept; {USE_PADDLE}, or at a fixed --input_shape"
            )


def _is_rounding(predictor: LoadedModel, batch: np.ndarray, found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the output of a network of matching tokens differs by a tie that was decided otherwise."""
    contract = predictor.contract
    if contract.output.op == "argmax" or contract.raw_input or found.shape != expected.shape:
        return False
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    allowed = TIES * rounding_error(lambda change: predictor.runtime.run(change(batch)), expected)
    return error <= min(allowed, WIDEST)


def _difference(found: np.ndarray, expected: np.ndarray, contract: Contract, precision: Precision) -> Optional[str]:
    """How the output differs, in words; None if it is within the tolerance."""
    tolerance = contract.golden.tolerance_of(precision)
    if found.shape != expected.shape:
        return f"shape {found.shape} where Paddle gives {expected.shape}"
    if contract.output.op == "argmax":
        agreement = float((found == expected).mean())
        return None if agreement >= tolerance.agreement else f"{100 * agreement:.1f}% of the pixels agree"
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    return None if error <= tolerance.rms_error else f"relative error {error:.1e}"
