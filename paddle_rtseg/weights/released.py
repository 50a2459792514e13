"""Weights that come with this package, by name.

Each is a ``.safetensors`` file in half precision beside this module. Its metadata says what it is: ``model`` and
``arguments`` (JSON) rebuild the network, ``config`` names the config it was trained with, ``data``, ``terms`` and
``miou`` say on what, under which terms and how well.
"""

import json
import os
from dataclasses import dataclass
from typing import Any, Dict, Optional

import safetensors

from ..errors import InputError
from ..files import sha256

#: SHA-256 of each file.
SHA256: Dict[str, str] = {}


@dataclass(frozen=True)
class Released:
    """Weights that come with this package, and what their file says of itself."""

    name: str
    path: str
    metadata: Dict[str, str]

    @property
    def model(self) -> str:
        """Registered name of the network."""
        return self.metadata["model"]

    @property
    def arguments(self) -> Dict[str, Any]:
        """Keyword arguments that the network was built with."""
        return json.loads(self.metadata["arguments"])


def find(name: str) -> Optional[Released]:
    """The released weights called ``name``, such as "rtformer_slim_camvid", or None.

    Raises:
        InputError: their file is not the one that was released.
    """
    if name not in SHA256:
        return None
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".safetensors")
    if not os.path.isfile(path) or sha256(path) != SHA256[name]:
        raise InputError(f"expected the released weights at {path}, got none or others; install the package again")
    with safetensors.safe_open(path, "numpy") as file:
        return Released(name, path, file.metadata())
