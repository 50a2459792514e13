"""From a trained model to a folder that Paddle Inference runs: ``python -m paddleseg.export``."""

#: Forms of an exported program; "onnx" is written in addition to Paddle's.
FORMATS = ("json", "pdmodel", "onnx")
