"""The export of a config's trained model: what ``python -m paddleseg.export`` does."""

import os
import shutil
from typing import Any, Mapping, Optional

from paddleseg.cvlibs import Config

from ..config import load_model, use_device
from ..config_checks import channels, check_prediction
from ..errors import InputError
from ..files import atomic_path
from .calibration import quantization_of
from .exporter import export_model
from .pose import from_dataset, is_pose
from .preprocessing import from_transforms

COLOURS = 3


def export_config(
    config: Config,
    weights: Optional[str],
    save_dir: str,
    device: Optional[str] = None,
    for_fd: bool = False,
    decode: str = "quarter",
    int8: Optional[Mapping[str, Any]] = None,
    **options: Any,
) -> str:
    """Export a config's model with the preprocessing of its ``val_dataset``.

    Args:
        config: from :func:`paddle_rtseg.config.load_config`.
        weights: a file of weights, or None if the config's ``model.pretrained`` is the trained model.
        save_dir: created if necessary.
        device: a device name of Paddle; None for the GPU if Paddle finds one, otherwise the CPU.
        for_fd: name the files inference.*, as FastDeploy expects.
        decode: how keypoints are found in heatmaps, for a network for poses; see :func:`.pose.pose_of`.
        int8: arguments of :func:`.calibration.quantization_of`, with the precision "int8".
        options: further arguments of :func:`.exporter.export_model`.

    Returns:
        ``save_dir``.

    Raises:
        InputError: the weights do not fit, or the model cannot be exported this way.
    """
    check_prediction(config.dic)
    if channels(config.dic) != COLOURS:
        raise InputError(
            f"expected a network of {COLOURS} channels, got {channels(config.dic)}: exported models take colour "
            "images; use predict"
        )
    use_device(device)
    dataset = config.val_dataset_cfg
    transforms = dataset.get("transforms") or []
    quantization = None if int8 is None else quantization_of(config, **int8)
    pose, preprocessing = from_dataset(dataset, decode) if is_pose(dataset) else (None, from_transforms(transforms))
    folder = export_model(
        load_model(config, weights),
        save_dir,
        preprocessing,
        dataset=None if pose else config.dic.get("data") or dataset.get("type"),
        transforms=transforms,
        pose=pose,
        name="inference" if for_fd else "model",
        quantization=quantization,
        **options,
    )
    if for_fd:
        with atomic_path(os.path.join(folder, "inference.yml")) as path:
            shutil.copyfile(os.path.join(folder, "deploy.yaml"), path)
    return folder
