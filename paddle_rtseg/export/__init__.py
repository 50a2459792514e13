"""From a trained model to a folder that Paddle Inference runs: ``python -m paddleseg.export``."""

#: Forms of an exported program; "onnx" is written in addition to Paddle's.
FORMATS = ("json", "pdmodel", "onnx")

#: Precisions that an export can add, of the ONNX form.
PRECISIONS = ("fp32", "fp16", "int8")
#: Whether the ONNX form is written.
ONNX = ("required", "if possible", "no")
