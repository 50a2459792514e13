"""Whether a config's losses fit what its network computes in training, asked before the data are read."""

import contextlib
import copy
import random
import re
import traceback
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np
import paddle
from rtseg_inference.errors import first_line

from ..errors import InputError

_SIDES = (64, 128, 256, 512)  # pixels; networks with token merging or a position embedding refuse the smaller ones


def check_losses(model: paddle.nn.Layer, losses: Dict[str, Any], channels: int) -> None:
    """Refuse losses that are not one for each output of ``model`` in training.

    Nothing is checked where the model computes its losses itself, cannot run on a small square, or is trained by
    several processes, which must not run it before they are connected: PaddleSeg's loop then checks the first batch.

    Args:
        model: (B, channels, H, W) -> list of outputs. It keeps its state.
        losses: PaddleSeg's "types" and "coef", two lists of the same length.

    Raises:
        InputError: the model has another number of outputs.
    """
    if hasattr(model, "loss_computation") or paddle.distributed.get_world_size() > 1:
        return
    outputs = _count_outputs(model, channels)
    if outputs is not None:
        _compare(outputs, len(losses["types"]), type(model).__name__)


@contextlib.contextmanager
def explaining_components(model: paddle.nn.Layer) -> Iterator[None]:
    """Turn errors of PaddleSeg's losses and optimizers that do not suit ``model`` into :class:`InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as e:  # of any kind
        counts = re.search(r"length of logits_list .*: ([0-9]+) != ([0-9]+)", str(e))
        if counts:
            _compare(int(counts[1]), int(counts[2]), type(model).__name__)
        name, purpose = _failed_component(e)
        if name is None:
            raise
        raise InputError(
            f"{name} cannot be used {purpose} {type(model).__name__}: {first_line(e)}; choose another"
        ) from e


def _failed_component(error: Exception) -> Tuple[Optional[str], str]:
    """The class of PaddleSeg's loss or optimizer that failed in its loop, if one did, and what it was used for."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "loss_computation" and module == "paddleseg.core.train":
            loss = type(frame.f_locals.get("loss_i"))
            return loss.__name__ if loss.__module__.startswith("paddleseg.") else None, "on an output of"
        if module.startswith("paddleseg.optimizers."):
            return type(frame.f_locals.get("self")).__name__, "to train"
    return None, ""


def _compare(outputs: int, losses: int, model: str) -> None:
    if outputs != losses:
        raise InputError(
            f"expected a loss for each output of {model} in training, {outputs}, got {losses}; set loss.coef to a list "
            f"of {outputs}"
        )


def _count_outputs(model: paddle.nn.Layer, channels: int) -> Optional[int]:
    """The number of outputs in training, or None if small squares do not tell."""
    with _same_random_numbers(), paddle.no_grad():
        try:
            model = copy.deepcopy(model)  # the statistics of batch norm change
        except Exception:  # a layer of any kind
            return None
        model.train()
        for side in _SIDES:
            images = paddle.zeros([2, channels, side, side])  # two, for batch norm of a single pixel
            try:
                outputs = model(images)
            except Exception:  # of any kind: too small, or made for another size
                continue
            return len(outputs) if isinstance(outputs, (list, tuple)) else None
    return None


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Numbers drawn inside do not change those drawn later."""
    states = random.getstate(), np.random.get_state(), paddle.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        paddle.set_rng_state(states[2])
