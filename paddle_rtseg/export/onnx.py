"""The exported network in ONNX beside Paddle's own form, for other runtimes; kept only if it computes the same.

paddle2onnx gets some operators silently wrong (adaptive pooling whose bins differ in size, in 2.1.0), so its result
is compared with Paddle's, at more than one size where the graph takes any.
"""

import os
from typing import Any, Dict, Iterator

import numpy as np
from rtseg_inference import Predictor
from rtseg_inference.contract import Contract
from rtseg_inference.files import read_image

from ..errors import InputError

OPSET = 17
SIZES = ((160, 288), (97, 131))  # besides the golden image's; odd ones too


def write_onnx(folder: str, document: Dict[str, Any]) -> None:
    """Convert the model in ``folder``, compare, and note the file in ``document``.

    Raises:
        InputError: the converter or onnxruntime is missing, cannot take the network, or gets it wrong.
    """
    try:
        import onnxruntime
        import paddle2onnx
    except ImportError as e:
        raise InputError(
            f'ONNX needs paddle2onnx and onnxruntime, and {e.name} is not there; pip install "paddle_rtseg[onnx]"'
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
        optimize_tool="None",  # any other lets it install packages by itself
    )
    if not os.path.isfile(path):
        raise InputError(f"paddle2onnx cannot convert {document['rtseg']['network']}; export it in Paddle's form")
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: it warns of each constant that it does not need
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for batch in _batches(predictor):
            expected = predictor.runtime.run(batch)
            found = session.run(None, {contract.input_name: batch})[0]
            _compare(found, expected, contract, batch.shape)
    except InputError:
        raise
    except Exception as e:  # whatever onnxruntime dies of
        raise InputError(f"onnxruntime cannot run what paddle2onnx made of the network: {e}") from e
    document["rtseg"]["onnx"] = name


def _batches(predictor: Predictor) -> Iterator[np.ndarray]:
    """The golden image, and crops of it enlarged to other sizes where these may be run."""
    import cv2

    contract = predictor.contract
    image = read_image(contract.path(contract.golden.image))
    images = [image]
    if contract.shape.min != contract.shape.max:
        images += [cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for height, width in SIZES]
    for pixels in images:
        shape = (1, *pixels.shape[:2], 3) if contract.raw_input else (1, 3, *pixels.shape[:2])
        if pixels is image or contract.shape.contains(shape):
            yield predictor.preprocess([pixels] * contract.shape.min[0])


def _compare(found: np.ndarray, expected: np.ndarray, contract: Contract, shape: tuple) -> None:
    tolerance = contract.golden.tolerance["fp32"]
    if found.shape != expected.shape:
        raise InputError(f"the ONNX graph gives {found.shape} where Paddle gives {expected.shape}; use Paddle's form")
    if contract.output_op == "argmax":
        agreement = float((found == expected).mean())
        wrong, figure = agreement < tolerance.agreement, f"{100 * agreement:.1f}% of the pixels agree"
    else:
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        wrong, figure = not error <= tolerance.rms_error, f"relative error {error:.1e}"
    if wrong:
        raise InputError(
            f"paddle2onnx got the network wrong ({figure} at input {'x'.join(map(str, shape))}), so its ONNX graph is "
            "not kept; export it in Paddle's form, or at a fixed --input_shape"
        )
