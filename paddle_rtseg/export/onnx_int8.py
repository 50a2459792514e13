"""An ONNX graph in INT8: its convolutions multiply 8-bit integers, everything else stays in float32.

Activations have 8 bits without a sign, weights 8 or 7 with one and a scale for each output channel. Softmax,
normalisation, resizing and the matching of token merging are left as they are: their results are ranked or summed. In
float32 stay also the first and the last convolution, which take little of the time, while the first one alone costs
most of the error; and those that read a reduction, whose maps are small: OpenVINO 2026.4 quantises a ReduceMax wrongly,
by which RTFormer-Slim lost a point of mIoU.
"""

import contextlib
import logging
from typing import Iterator, List

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
            nodes_to_exclude=_in_float(model.graph),
        )


def _in_float(graph: onnx.GraphProto) -> List[str]:
    """The convolutions that stay in float32: the first, the last, and those of pooled maps."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    producers = {name: node.op_type for node in graph.node for name in node.output}
    pooled = [node.name for node in convolutions if producers.get(node.input[0], "").startswith("Reduce")]
    return [convolutions[0].name, convolutions[-1].name, *pooled] if convolutions else []


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
