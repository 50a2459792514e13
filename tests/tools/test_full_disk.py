"""Whatever writes files, to a disk that is full: one sentence, and nothing half-written."""

import os

import numpy as np
import pytest
from rtseg_inference.timing import Journal
from tiny_network import PREPROCESSING

from paddle_rtseg.errors import InputError
from paddle_rtseg.export.exporter import export_model
from paddle_rtseg.training import checkpoints
from paddle_rtseg.weights import save_state

LARGE = {"weight": np.zeros((200, 200), np.float32)}

WRITERS = {
    "safetensors": lambda folder, model: save_state(LARGE, folder / "w.safetensors"),
    "pdparams": lambda folder, model: save_state(LARGE, folder / "w.pdparams"),
    "checkpoint": lambda folder, model: checkpoints.save(LARGE, str(folder / "iter_1" / "model.pdparams")),
    "export": lambda folder, model: export_model(model, folder / "exported", PREPROCESSING, onnx="no"),
    "journal": lambda folder, model: Journal(str(folder / "times.jsonl")).put({"model": "x"}, note="x" * 200_000),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk(writer, full_disk, model):
    with pytest.raises(InputError, match=r"cannot write '.*' \(No space left on device\); make room"):
        WRITERS[writer](full_disk, model)
    assert not [file for _, _, files in os.walk(full_disk) for file in files]
