"""Weights that come with this package, by name: "rtformer_slim_camvid".

Each is a ``.safetensors`` file beside this module, kernels and matrices in half precision, that ``python -m
paddle_rtseg.release`` wrote. Its metadata says what it is: ``model`` and ``arguments`` (JSON) rebuild the network,
``dataset`` and ``transforms`` (JSON) are those of ``config``, with which it was trained, and ``data``, ``terms`` and
``miou`` (test, in percent) say on what, under which terms and how well.
"""

import json
import os
from typing import Any, Dict, Mapping, Optional

import numpy as np
import safetensors

from ..errors import InputError
from ..files import sha256

#: SHA-256 of each file.
SHA256: Dict[str, str] = {
    "rtformer_slim_camvid": "16cb8f82872197996545eb418dcffa30834fbb373f62a2f66f5fc2bd48b37e41",
}
FOLDER = os.path.dirname(os.path.abspath(__file__))


class Release:
    """Weights that come with this package, and what their file says of itself.

    Raises:
        InputError: the file is not the one that was released.
    """

    def __init__(self, name: str):
        self.name, self.sha256 = name, SHA256[name]
        self.path = os.path.join(FOLDER, name + ".safetensors")
        if not os.path.isfile(self.path) or sha256(self.path) != self.sha256:
            raise InputError(f"expected the released weights in {self.path}, got none or others; install them again")
        with safetensors.safe_open(self.path, "numpy") as file:
            self.metadata: Dict[str, str] = file.metadata()
        self.model = self.metadata["model"]
        self.arguments: Dict[str, Any] = json.loads(self.metadata["arguments"])


def find(name: str) -> Optional[Release]:
    """The weights called ``name``, or None if there are none of this name."""
    return Release(name) if name in SHA256 else None


def halve(state: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Kernels and matrices in half precision; vectors, which hardly count, stay: variances may be tiny."""
    return {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in state.items()}
