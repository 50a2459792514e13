"""The exported network in ONNX, for other runtimes; kept only if it computes the same as Paddle's own form.

paddle2onnx silently gets some operators wrong (adaptive pooling with bins of different sizes, in 2.1.0), so its result
is compared with Paddle's, at several sizes if the graph takes any.
"""

import os
from typing import Iterator

import numpy as np
from rtseg_inference import Predictor
from rtseg_inference.contract import Contract
from rtseg_inference.files import read_image

from ..errors import InputError

OPSET = 17
SIZES = ((160, 288), (97, 131))  # in addition to the golden image's; one is odd


def write_onnx(folder: str) -> str:
    """Convert the model in ``folder`` and compare the result with Paddle's.

    Returns:
        The name of the ONNX file.

    Raises:
        InputError: the converter or onnxruntime is missing, cannot handle the network, or gets it wrong.
    """
    try:
        import onnxruntime
        import paddle2onnx
    except ImportError as e:
        raise InputError(
            f'ONNX needs paddle2onnx and onnxruntime, but {e.name} is not installed; pip install "paddle_rtseg[onnx]"'
        ) from e
    predictor = Predictor(folder, backend="native")
    contract = predictor.contract
    name = os.path.splitext(contract.model)[0] + ".onnx"
    path = os.path.join(folder, name)
    paddle2onnx.export(
        contract.path(contract.model),
        contract.path(contract.params),
        path,
        opset_version=OPSET,
        optimize_tool="None",  # with any other it installs packages itself
    )
    if not os.path.isfile(path):
        raise InputError(f"paddle2onnx cannot convert {contract.network}; export it in Paddle's form")
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: it warns about each unused constant
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for batch in _batches(predictor):
            expected = predictor.runtime.run(batch)
            found = session.run(None, {contract.input.name: batch})[0]
            _compare(found, expected, contract, batch.shape)
    except InputError:
        raise
    except Exception as e:  # however onnxruntime fails
        raise InputError(f"onnxruntime cannot run the graph that paddle2onnx wrote: {e}") from e
    return name


def _batches(predictor: Predictor) -> Iterator[np.ndarray]:
    """The golden image, and the same resized to those ``SIZES`` that the graph takes."""
    import cv2

    contract = predictor.contract
    image = read_image(contract.path(contract.golden.image))
    images = [image]
    if contract.input.shape.min != contract.input.shape.max:
        images += [cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for height, width in SIZES]
    for pixels in images:
        shape = (1, *pixels.shape[:2], 3) if contract.raw_input else (1, 3, *pixels.shape[:2])
        if pixels is image or contract.input.shape.contains(shape):
            yield predictor.preprocess([pixels] * contract.input.shape.min[0])


def _compare(found: np.ndarray, expected: np.ndarray, contract: Contract, shape: tuple) -> None:
    tolerance = contract.golden.tolerance["fp32"]
    if found.shape != expected.shape:
        raise InputError(f"the ONNX graph gives {found.shape} where Paddle gives {expected.shape}; use Paddle's form")
    if contract.output.op == "argmax":
        agreement = float((found == expected).mean())
        wrong, figure = agreement < tolerance.agreement, f"{100 * agreement:.1f}% of the pixels agree"
    else:
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        wrong, figure = not error <= tolerance.rms_error, f"relative error {error:.1e}"
    if wrong:
        raise InputError(
            f"paddle2onnx converted the network wrongly ({figure} at input {'x'.join(map(str, shape))}), so its ONNX "
            "graph is not kept; export it in Paddle's form, or at a fixed --input_shape"
        )
