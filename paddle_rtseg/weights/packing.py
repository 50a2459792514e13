"""Trained weights packed for release: half precision, with the metadata that rebuilds the network."""

import json
import os
from typing import Dict, Optional, Sequence

from paddleseg.cvlibs import Config

from ..config import Builder, load_model
from ..errors import InputError
from ..files import sha256
from .released import halve
from .state import save_state

#: What an export needs to know of a ``val_dataset`` of persons.
PERSONS = ("skeleton", "input_size", "flip_test")


def pack(config: Config, name: str, weights: Optional[str], path: str, notes: Sequence[str] = ()) -> str:
    """Write a config's trained weights to ``path``; see :mod:`.released` for the metadata.

    Args:
        config: from :func:`paddle_rtseg.config.load_config`.
        name: of the config, for the metadata.
        weights: the trained weights, which must fit the config's model.
        path: the .safetensors file to write.
        notes: "KEY=TEXT" for further metadata, such as "terms=CC-BY-NC-4.0".

    Returns:
        A line with the file's size and SHA-256.

    Raises:
        InputError: the weights do not fit, or a note is not KEY=TEXT or names a key that is set already.
    """
    network = load_model(config, weights)
    model = {key: value for key, value in config.dic["model"].items() if key != "pretrained"}
    dataset = config.val_dataset_cfg
    if "num_keypoints" not in model:
        classes = getattr(Builder(config).train_dataset_class, "NUM_CLASSES", None)  # of a named dataset
        model = {"num_classes": classes, **model}
    metadata: Dict[str, str] = {
        "model": model.pop("type"),
        "arguments": json.dumps(model),
        "dataset": dataset["type"],
        "transforms": json.dumps(dataset.get("transforms") or []),
        "config": name,
    }
    persons = {key: dataset[key] for key in PERSONS if key in dataset}
    if persons:
        metadata["persons"] = json.dumps(persons)
    for note in notes:
        key, equals, text = note.partition("=")
        if not equals or key in metadata:
            raise InputError(f"expected --note KEY=TEXT with a key of its own, got {note!r}; correct it")
        metadata[key] = text
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_state(halve(state), path, metadata)
    return f"{path}: {os.path.getsize(path) / 1e6:.1f} MB, sha256 {sha256(path)}"
