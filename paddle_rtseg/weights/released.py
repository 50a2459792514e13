"""Weights bundled with this package, by name: "rtformer_slim_camvid", "segformerpp_b0_camvid", "lrformer_t_camvid",
"segformerpp_b0_lspet".

Each is a ``.safetensors`` file next to this module, written by ``python -m paddle_rtseg.release``, with kernels and
matrices in half precision. Its metadata describes it: ``model`` and ``arguments`` (JSON) rebuild the network; it was
trained by ``config``, whose ``dataset`` and ``transforms`` (JSON) are repeated; ``data`` and ``terms`` name the data
and the terms of use, and ``miou`` is the mean IoU on the test set, in percent. A network for poses has instead
``pck``, the share of joints within 0.2 of the box, and ``persons`` (JSON), the skeleton and size of its
``val_dataset``.
"""

import difflib
import json
import os
from typing import Any, Dict, Mapping, Optional

import numpy as np
import safetensors
from numpy.typing import NDArray

from ..errors import InputError
from ..files import sha256
from .limits import quote

#: SHA-256 of each file.
SHA256: Dict[str, str] = {
    "rtformer_slim_camvid": "16cb8f82872197996545eb418dcffa30834fbb373f62a2f66f5fc2bd48b37e41",
    "segformerpp_b0_camvid": "1439d121c31bff883c42e06be64071d90df744125e98ca450b082157de5bb5c7",
    "lrformer_t_camvid": "56fad9e419b2c7d561364f175ab3f5c0b1ca5e6fe8dbf240c16fe4ef3ffb654e",
    "segformerpp_b0_lspet": "75154f3ad2ef549628fcea0aaa7928792e6076d19e79a6f076a83a29253e0e62",
}
FOLDER = os.path.dirname(os.path.abspath(__file__))


class Release:
    """Bundled weights and their metadata.

    Raises:
        InputError: the file is missing or is not the one that was released.
    """

    def __init__(self, name: str):
        self.name, self.sha256 = name, SHA256[name]
        self.path = os.path.join(FOLDER, name + ".safetensors")
        if not os.path.isfile(self.path) or sha256(self.path) != self.sha256:
            raise InputError(f"{self.path}, the released weights, was not found or was modified; reinstall the package")
        with safetensors.safe_open(self.path, "numpy") as file:
            self.metadata: Dict[str, str] = file.metadata()
        self.model = self.metadata["model"]
        self.arguments: Dict[str, Any] = json.loads(self.metadata["arguments"])


def find(name: str) -> Optional[Release]:
    """The bundled weights called ``name``, or None."""
    return Release(name) if name in SHA256 else None


def find_for(model: str, pretrained: Any) -> Optional[Release]:
    """The bundled weights of a network of this package, by their name or by their data.

    Args:
        model: the network's name, such as "SegFormerPP".
        pretrained: such as "segformerpp_b0_camvid" or "camvid".
    """
    if not isinstance(pretrained, str):
        return None
    named = (Release(name) for name in SHA256 if pretrained in (name, name.rpartition("_")[2]))
    return next((release for release in named if release.model == model), None)


def exported(model: str) -> str:
    """The folder of an exported model, given as such or as the name of bundled weights, which are exported once.

    Raises:
        InputError: there is no such folder and no such name, or the bundled weights were modified, or cannot be
            exported into the cache.
    """
    release = find(model)
    if release is None and not os.path.exists(model):
        raise InputError(
            f"expected the folder of an exported model, or one of {', '.join(SHA256)}, got {quote(model)!r}; "
            + hint(model, "check the path")
        )
    if release is None:
        return model
    from ..export.from_release import cached_export

    return cached_export(release)


def hint(path: str, otherwise: str) -> str:
    """What to do about a path where nothing is: take the bundled weights of nearly that name, or ``otherwise``."""
    near = difflib.get_close_matches(os.path.basename(path)[:100], SHA256, n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def halve(state: Mapping[str, NDArray[Any]]) -> Dict[str, NDArray[Any]]:
    """Kernels and matrices in half precision; vectors unchanged: they take little space, and variances may be tiny."""
    return {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in state.items()}
