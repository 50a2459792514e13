"""Training, evaluation and prediction from a config, for the commands train, val and predict.

PaddleSeg's loops do the work. This module first checks and builds everything, so that a mistake is reported in one
sentence before anything is written.
"""

import contextlib
import inspect
import os
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddleseg.core
from paddleseg.cvlibs import Config
from paddleseg.utils import logger, utils
from rtseg_inference import processor
from rtseg_inference.errors import first_line

from ..config import Builder, load_model, reporting, use_data_format, use_device
from ..config_checks import channels, check_prediction
from ..config_files import note
from ..data.keypoints import CocoKeypoints
from ..data.palettes import classes_and_palette
from ..errors import InputError
from ..files import check_folder, new_folder
from . import checkpoints, evaluation, hooks, onednn, scalar_logs, stopping
from .distillation import distillation
from .outputs import check_losses, explaining_components
from .prediction_settings import check_labels, note_large_window, prediction_settings


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
    use_multilabel: Optional[bool] = None,
    epochs: Optional[int] = None,
    patience: Optional[int] = None,
    use_vdl: bool = False,
    use_tb: bool = False,
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
        use_multilabel: evaluate as multi-label segmentation.
        epochs: passes through the training data, in place of the config's ``iters``.
        patience: stop after so many evaluations in a row without a better score; None to never stop early.
        use_vdl, use_tb: write losses and scores for VisualDL, or TensorBoard, to ``save_dir``.
        loop: further arguments of PaddleSeg's ``train``; None keeps PaddleSeg's default.

    Raises:
        InputError: the parts of the config do not match, or this machine or PaddleSeg does not support a setting.
    """
    if precision == "bf16":
        processor.require("bf16")
    compiled = bool(to_static_training or config.to_static_training)
    if compiled and precision == "bf16":
        raise InputError("--precision bf16 cannot train a compiled graph; omit --to_static_training")
    settings = prediction_settings(paddleseg.core.evaluate, config.test_config, use_multilabel=use_multilabel)
    loop = _loop_settings(config, precision, loop)
    if patience is not None and not do_eval:
        raise InputError("--patience has no effect without --do_eval; add it")
    logs = [flag for flag, wanted in (("use_vdl", use_vdl), ("use_tb", use_tb)) if wanted]
    for flag in logs:
        scalar_logs.require(flag)
    if do_eval:
        check_prediction(config.dic)
    device = use_device(device)
    check_folder(save_dir)
    if resume_model == "auto":
        resume_model = checkpoints.latest_complete_checkpoint(save_dir, refuse_foreign=True)
    elif resume_model is not None:
        checkpoints.check_complete(resume_model)
    use_data_format(config, data_format)
    utils.show_env_info()
    utils.show_cfg_info(config)
    utils.set_seed(seed)
    utils.set_cv2_num_threads(num_workers)

    builder = Builder(config)
    with reporting("the config's model or datasets do not match"):
        losses = builder.loss
        check_losses(builder.model, losses, channels(config.dic))
        model = utils.convert_sync_batchnorm(builder.model, device)
        if not compiled:  # a compiled graph cannot call oneDNN directly
            onednn.accelerate(model, "bf16" if precision == "bf16" else "fp32")
        train_dataset = builder.train_dataset
        if repeats > 1:
            train_dataset.file_list *= repeats
        train_dataset.logs = logs
        _set_iterations(config, len(train_dataset), epochs)
        val_dataset = builder.val_dataset if do_eval else None
        optimizer = _optimizer(builder)
    if "teacher" in config.dic:
        model.loss_computation = distillation(builder)
        onednn.accelerate(model.loss_computation.teacher, "bf16" if precision == "bf16" else "fp32")
    start, interval = _iteration(resume_model), loop.get("save_interval") or 1000
    networks = ("best_model", "ema_best_model") if loop.get("use_ema") else ("best_model",)
    if patience is not None:
        val_dataset.patience = stopping.Patience(patience, save_dir, networks, resume_model, start, interval)
    if val_dataset is not None:
        check_labels(settings, val_dataset)
        val_dataset.display = _display(config, val_dataset, save_dir, start, interval, len(networks))

    with new_folder(save_dir), checkpoints.only_run(save_dir), explaining_components(model):
        paddleseg.core.train(
            model,
            train_dataset,
            val_dataset=val_dataset,
            optimizer=optimizer,
            losses=losses,
            iters=config.iters,
            batch_size=config.batch_size,
            test_config=settings,
            to_static_training=compiled,
            precision="fp16" if precision == "fp16" else "fp32",
            save_dir=save_dir,
            resume_model=resume_model,
            num_workers=num_workers,
            use_vdl=bool(logs),
            **loop,
        )
    if val_dataset is not None and paddle.distributed.get_rank() == 0:
        _name_best(save_dir, networks, hooks.score_names(val_dataset)[0])


def _name_best(save_dir: str, networks: Sequence[str], what: str) -> None:
    """Log the files of the best models, and their scores."""
    for name in networks:
        score, step = checkpoints.best_score(save_dir, name, save_dir)
        if step >= 0:
            path = os.path.join(save_dir, name, checkpoints.best_weights(name))
            logger.info(f"The best model is {path}: {what} {score:.4f}, at iteration {step}.")


def _set_iterations(config: Config, images: int, epochs: Optional[int]) -> None:
    """Count the config's iterations from ``epochs``, if they are given, and log both."""
    batches = stopping.batches_per_epoch(images, config.batch_size, paddle.distributed.get_world_size())
    if epochs is not None:
        config.dic["iters"] = max(1, epochs * batches)
    if batches:
        logger.info(
            f"Training for {config.iters} iterations, which are {config.iters / batches:.4g} epochs of {batches} "
            f"iterations with {config.batch_size} images each."
        )


def _iteration(checkpoint: Optional[str]) -> int:
    """N of a folder ``iter_N``; 0 for None."""
    return int(os.path.normpath(checkpoint).rpartition("_")[2]) if checkpoint else 0


def _optimizer(builder: Builder) -> Any:
    try:
        return builder.optimizer
    except InputError:
        raise
    except Exception as e:  # of PaddleSeg's, some of which expect a certain network
        name = builder.config.optimizer_cfg["type"]
        raise InputError(
            f"the config's optimizer {name} cannot be built for {type(builder.model).__name__}: {first_line(e)}; "
            "correct its arguments or choose another"
        ) from e


def _display(
    config: Config, dataset: Any, save_dir: str, start: int, interval: int, networks: int
) -> evaluation.Display:
    """How the evaluations during a training are shown, of the network and, if there are two, of its average."""
    evaluation.losses.clear()
    steps = evaluation.steps_of_evaluations(start, interval, config.iters, ("model", "ema")[:networks])
    return evaluation.Display(*_names_and_palette(config, dataset), save_dir, steps)


def _names_and_palette(config: Config, dataset: Any) -> Tuple[Sequence[str], np.ndarray]:
    if isinstance(dataset, CocoKeypoints):
        return dataset.skeleton.names, np.empty((0, 3), np.uint8)
    return classes_and_palette(config.dic.get("data") or type(dataset).__name__, dataset.num_classes)


def _loop_settings(config: Config, precision: str, loop: Dict[str, Any]) -> Dict[str, Any]:
    """Further arguments of PaddleSeg's ``train``, from the flags and from keys that develop's PaddleSeg knows."""
    known = inspect.signature(paddleseg.core.train).parameters
    loop = {name: value for name, value in loop.items() if value is not None}
    for name in loop.keys() - known.keys():
        raise InputError(f"--{name} needs a newer PaddleSeg than the one installed; omit it or upgrade PaddleSeg")
    if "amp_level" in loop and precision != "fp16":
        raise InputError("--amp_level has no effect without --precision fp16; add it")
    if "profiler_options" in loop:
        hooks.check_profiler_options(loop["profiler_options"])
    if "shuffle" in known:
        loop["shuffle"] = config.shuffle
    elif not config.shuffle:
        raise InputError(
            "train_dataset.shuffle: False needs a newer PaddleSeg than the one installed; remove it or upgrade "
            "PaddleSeg"
        )
    if "log_ranks" in config.dic and "logger" in known:
        ranks = config.dic["log_ranks"]
        ranks = ",".join(map(str, ranks)) if isinstance(ranks, list) else ranks
        loop["logger"] = paddleseg.utils.logger.setup_logger(log_ranks=ranks)
    if "print_mem_info" in config.dic and "print_mem_info" in known:
        loop["print_mem_info"] = config.dic["print_mem_info"]
    for name, needed in (("log_ranks", "logger"), ("print_mem_info", "print_mem_info")):
        if name in config.dic and needed not in known:
            note(f"{name} has no effect: it needs a newer PaddleSeg than the one installed")
    return loop


def evaluate(
    config: Config,
    weights: Optional[str],
    device: Optional[str] = None,
    num_workers: int = 0,
    data_format: str = "NCHW",
    **test_time: Any,
) -> None:
    """Evaluate weights on a config's validation data; print the output of PaddleSeg's ``evaluate``.

    Args:
        weights: the file of weights; None if the config's ``model.pretrained`` is the trained model.
        test_time: see :func:`.prediction_settings.prediction_settings`.

    Raises:
        InputError: the weights or the data do not match the config.
    """
    settings = prediction_settings(paddleseg.core.evaluate, config.test_config, **test_time)
    check_prediction(config.dic)
    use_device(device)
    use_data_format(config, data_format)
    utils.show_env_info()
    utils.show_cfg_info(config)
    model = load_model(config, weights)
    onednn.accelerate(model)
    with reporting("the config's validation data cannot be read"):
        dataset = Builder(config).val_dataset
    dataset.display = evaluation.Display(*_names_and_palette(config, dataset))
    check_labels(settings, dataset)
    if settings.get("is_slide"):
        with contextlib.suppress(Exception):  # a defect that evaluation will report
            note_large_window(settings, *dataset[0]["img"].shape[-2:])
    hooks.evaluate(model, dataset, num_workers=num_workers, **settings)
