"""An ONNX graph in INT8: its convolutions multiply 8-bit integers, everything else stays in float32.

Activations have 8 bits without a sign, weights 8 or 7 with one and a scale for each output channel. The first and the
last convolution stay in float32 too: they take little of the time, and the first one alone costs most of the error.
So do softmax, normalisation, resizing and the matching of token merging, whose results are ranked or summed.
"""

import contextlib
import logging
from typing import Iterator

import numpy as np
import onnx

OPERATORS = ("Conv", "Relu")  # a Relu after a convolution becomes the lower end of its range


def to_int8(source: str, target: str, input_name: str, batches: Iterator[np.ndarray], weight_bits: int) -> None:
    """Write the graph ``source`` in INT8 to ``target``, with the ranges that its tensors have on ``batches``.

    Args:
        source: a simplified graph, as :mod:`.onnx` writes it.
        batches: inputs of the graph, which may differ in size.
        weight_bits: 8 or 7; see :func:`rtseg_inference.processor.weight_bits`.
    """
    model = onnx.load(source)
    for i, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}.{i}"  # by which the quantiser tells nodes apart
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    with _own_logging():
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def get_next(self):
                batch = next(batches, None)
                return None if batch is None else {input_name: batch}

        quantize_static(
            model,
            target,
            Reader(),
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            reduce_range=weight_bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*convolutions[:1], *convolutions[-1:]],
        )


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Keep the quantiser from setting up Python's logging at its import, and from advising what has been done."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
