"""PaddleSeg configs small enough for a test, and the commands that read them."""

import importlib
import pathlib
from typing import Any, Dict

import paddle
import yaml
from tiny_models import TINY_RTFORMER

#: The network of a tiny config, without its classes.
TRAINED = {"type": "RTFormer_Slim", **TINY_RTFORMER, "layer_nums": [1, 1, 1]}


def tiny_config(root: Any, num_classes: int = 4, **parts: Any) -> Dict[str, Any]:
    """A complete config: a tiny RTFormer for the images and labels that ``list.txt`` in the folder ``root`` names.

    ``parts`` replace top-level keys; ``transforms`` is short for that of both datasets.
    """
    transforms = parts.pop("transforms", [{"type": "Normalize"}])
    dataset = {
        "type": "Dataset",
        "dataset_root": str(root),
        "num_classes": num_classes,
        "transforms": transforms,
    }
    return {
        "batch_size": 1,
        "iters": 1,
        "train_dataset": {**dataset, "mode": "train", "train_path": f"{root}/list.txt"},
        "val_dataset": {**dataset, "mode": "val", "val_path": f"{root}/list.txt"},
        "model": {**TRAINED, "num_classes": num_classes},
        "optimizer": {"type": "SGD"},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.01},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 0.4]},
        **parts,
    }


def write_config(path: Any, content: Dict[str, Any]) -> str:
    """Write ``content`` as YAML, without aliases, and return the path."""
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})
    pathlib.Path(path).write_text(yaml.dump(content, Dumper=dumper))
    return str(path)


def run_command(name: str, *arguments: Any) -> Any:
    """``python -m paddle_rtseg.NAME ARGUMENTS``, in this process."""
    tool = importlib.import_module(f"paddle_rtseg.tools.{name}")
    with paddle.utils.unique_name.guard():  # as in a process of its own
        return tool.main(tool.parser().parse_args([str(argument) for argument in arguments]))
