"""Run networks for segmentation and poses exported by paddle_rtseg.

Needs NumPy, OpenCV, PyYAML, and Paddle, ONNX Runtime or OpenVINO.

from rtseg_inference import Predictor

predictor = Predictor("output/inference_model")
result = predictor.predict("street.jpg")
result.save("mask.png")
"""

from . import environment  # noqa: F401  has to come first, see its docstring
from .errors import InputError
from .loaded_model import Timings, Verification
from .pose_predictor import Person, PosePredictor, PoseResult
from .predictor import Predictor, Result
from .selection import fastest

__all__ = [
    "InputError",
    "Person",
    "PosePredictor",
    "PoseResult",
    "Predictor",
    "Result",
    "Timings",
    "Verification",
    "fastest",
]
