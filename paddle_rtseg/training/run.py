"""Training, evaluation and prediction from a config, for the commands train, val and predict.

PaddleSeg's loops do the work. This module first checks and builds everything, so that a mistake is reported in one
sentence before anything is written.
"""

import inspect
from typing import Any, Dict, Iterable, Optional, Sequence

import cv2
import paddleseg.core
from paddleseg.cvlibs import Config
from paddleseg.transforms import Compose
from paddleseg.utils import utils
from rtseg_inference import processor

from ..config import Builder, load_model, reporting, use_data_format, use_device
from ..errors import InputError
from ..files import make_folder
from . import checkpoints, onednn


def train(
    config: Config,
    save_dir: str,
    device: Optional[str] = None,
    precision: str = "fp32",
    resume_model: Optional[str] = None,
    do_eval: bool = False,
    seed: Optional[int] = None,
    num_workers: int = 0,
    repeats: int = 1,
    data_format: str = "NCHW",
    to_static_training: bool = False,
    **loop: Any,
) -> None:
    """Train a config's model.

    Args:
        config: from :func:`paddle_rtseg.config.load_config`.
        save_dir: folder for checkpoints; created if missing.
        device: Paddle's name for the device; None for the GPU if Paddle finds one, else the CPU.
        precision: "fp32"; "fp16" for automatic mixed precision on a GPU; "bf16" for convolutions on a CPU.
        resume_model: folder of a checkpoint, or "auto" for the latest complete one in ``save_dir``, if any.
        do_eval: evaluate after each checkpoint.
        repeats: number of times that each sample occurs in an epoch.
        to_static_training: train the compiled graph.
        loop: further arguments of PaddleSeg's ``train``; None keeps PaddleSeg's default. Arguments that the installed
            release does not have must be None.

    Raises:
        InputError: the parts of the config do not match, or this machine or PaddleSeg does not support a setting.
    """
    if precision == "bf16":
        processor.require("bf16")
    device = use_device(device)
    make_folder(save_dir)
    if resume_model == "auto":
        resume_model = checkpoints.latest_complete_checkpoint(save_dir, refuse_foreign=True)
    elif resume_model:
        checkpoints.check_complete(resume_model)
    use_data_format(config, data_format)
    utils.show_env_info()
    utils.show_cfg_info(config)
    utils.set_seed(seed)
    utils.set_cv2_num_threads(num_workers)

    compiled = bool(to_static_training or config.to_static_training)
    if compiled and precision == "bf16":
        raise InputError("--precision bf16 cannot train a compiled graph; omit --to_static_training")
    builder = Builder(config)
    with reporting("the config's model or datasets do not match"):
        model = utils.convert_sync_batchnorm(builder.model, device)
        if not compiled:  # a compiled graph cannot call oneDNN directly
            onednn.accelerate(model, "bf16" if precision == "bf16" else "fp32")
        train_dataset = builder.train_dataset
        val_dataset = builder.val_dataset if do_eval else None
    train_dataset.file_list *= repeats

    loop = {name: value for name, value in loop.items() if value is not None}
    for name in loop.keys() - inspect.signature(paddleseg.core.train).parameters.keys():
        raise InputError(f"--{name} needs a newer PaddleSeg than the one installed; omit it or upgrade PaddleSeg")
    paddleseg.core.train(
        model,
        train_dataset,
        val_dataset=val_dataset,
        optimizer=builder.optimizer,
        losses=builder.loss,
        iters=config.iters,
        batch_size=config.batch_size,
        test_config=config.test_config,
        to_static_training=compiled,
        precision="fp16" if precision == "fp16" else "fp32",
        save_dir=save_dir,
        resume_model=resume_model,
        num_workers=num_workers,
        **loop,
    )


def evaluate(
    config: Config,
    weights: Optional[str],
    device: Optional[str] = None,
    num_workers: int = 0,
    data_format: str = "NCHW",
    auc_roc: bool = False,
    **test_time: Any,
) -> None:
    """Evaluate weights on a config's validation data; print the output of PaddleSeg's ``evaluate``.

    Args:
        weights: the file of weights; None if the config's ``model.pretrained`` is the trained model.
        test_time: see :func:`test_time_settings`.

    Raises:
        InputError: the weights or the data do not match the config.
    """
    settings = test_time_settings(config.test_config, "aug_eval", **test_time)
    use_device(device)
    use_data_format(config, data_format)
    utils.show_env_info()
    utils.show_cfg_info(config)
    model = load_model(config, weights)
    onednn.accelerate(model)
    with reporting("the config's validation data cannot be read"):
        dataset = Builder(config).val_dataset
    paddleseg.core.evaluate(model, dataset, num_workers=num_workers, auc_roc=auc_roc, **settings)


def predict(
    config: Config,
    weights: Optional[str],
    image_path: Optional[str],
    save_dir: str,
    device: Optional[str] = None,
    custom_color: Optional[Sequence[int]] = None,
    **test_time: Any,
) -> None:
    """Segment images, and write PaddleSeg's ``pseudo_color_prediction/`` and ``added_prediction/`` to ``save_dir``.

    Args:
        weights: the file of weights; None if the config's ``model.pretrained`` is the trained model.
        image_path: an image, a folder of images, or a text file that lists images.
        custom_color: R, G, B of each class, as one flat list.
        test_time: see :func:`test_time_settings`.

    Raises:
        InputError: there are no images, one cannot be decoded, or the weights do not match the config.
    """
    settings = {name: value for name, value in config.test_config.items() if name != "aug_eval"}
    settings = test_time_settings(settings, "aug_pred", **test_time)
    if custom_color:
        settings["custom_color"] = custom_color
    use_device(device)
    if not image_path:
        raise InputError("expected images, got none; name a file or a folder with --image_path")
    with reporting(f"expected images at {image_path!r}"):
        images, folder = utils.get_image_list(image_path)
    check_readable(images)
    make_folder(save_dir)
    utils.show_env_info()
    utils.show_cfg_info(config)
    model = load_model(config, weights)
    transforms = Compose(Builder(config).val_transforms)
    # The weights were loaded strictly above; PaddleSeg's own loader would only warn about missing parameters.
    paddleseg.core.predict(model, None, transforms, images, image_dir=folder, save_dir=save_dir, **settings)


def test_time_settings(
    settings: Dict[str, Any],
    switch: str,
    augment: bool = False,
    scales: Any = 1.0,
    flip_horizontal: bool = False,
    flip_vertical: bool = False,
    is_slide: bool = False,
    crop_size: Optional[Sequence[int]] = None,
    stride: Optional[Sequence[int]] = None,
) -> Dict[str, Any]:
    """A config's ``test_config``, overridden by the arguments.

    Args:
        settings: the ``test_config``.
        switch: PaddleSeg's name for ``augment``: "aug_eval" or "aug_pred".
        augment: average over ``scales`` and flips.
        is_slide: use sliding windows of ``crop_size`` at steps of ``stride``, both (width, height) in pixels.

    Raises:
        InputError: sliding windows without a size or a stride.
    """
    settings = dict(settings)
    if augment:
        settings.update(scales=scales, flip_horizontal=flip_horizontal, flip_vertical=flip_vertical)
        settings[switch] = True
    if is_slide:
        if not crop_size or not stride:
            raise InputError("--is_slide expects --crop_size W H and --stride W H, got at most one of them; give both")
        settings.update(is_slide=True, crop_size=crop_size, stride=stride)
    return settings


def check_readable(images: Iterable[str]) -> None:
    """Raise :class:`InputError` for the first image that is missing or cannot be decoded."""
    for path in images:
        if cv2.imread(path, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
            raise InputError(f"expected an image, got {path!r}, which is missing or cannot be decoded; remove it")
