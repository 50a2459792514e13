"""Checkpoints, written atomically.

``train()`` saves each checkpoint to a folder ``iter_N`` with ``model.pdparams``, ``model.pdopt`` and, with EMA,
``ema_model.pdparams``. It also keeps ``best_model`` and ``ema_best_model``. Here a folder ``iter_N`` is written under a
temporary name and renamed once complete, and all other files are replaced atomically. A run that is killed, or fills
the disk, therefore leaves earlier checkpoints intact.
"""

import contextlib
import glob
import json
import os
import re
import shutil
from typing import Any, ContextManager, Dict, List, Optional, Tuple

from ..errors import InputError
from ..files import atomic_path, exclusive, make_folder
from ..weights import paddle_files
from ..weights.limits import quote
from ..weights.state import load_weights, shorten

_PARTIAL = ".partial-"
_FILES = ("model.pdparams", "model.pdopt")


def latest_complete_checkpoint(save_dir: str, refuse_foreign: bool = False) -> Optional[str]:
    """The folder ``iter_N`` with the greatest N in ``save_dir`` that :func:`check_complete` accepts, or None.

    Args:
        refuse_foreign: a file that training did not write is an error, and not passed over like one that is cut short.

    Raises:
        InputError: with ``refuse_foreign``, a newer checkpoint holds more than tensors and numbers.
    """
    for path in reversed(_numbered(save_dir)):
        if _defect(path, refuse_foreign) is None:
            return path
    return None


def check_complete(path: str) -> None:
    """Refuse a folder that training cannot be resumed from.

    Raises:
        InputError: the checkpoint is not complete; the message names the latest one that is.
    """
    defect = _defect(path)
    if defect is not None:
        raise InputError(
            "expected a complete checkpoint, a folder iter_N with model.pdparams and model.pdopt, "
            f"got {path!r} ({defect}); {_advice(os.path.dirname(os.path.normpath(path)))}"
        )


def only_run(save_dir: str) -> ContextManager[None]:
    """Keep other runs away from ``save_dir``, whose unfinished checkpoints :func:`begin` would take for leftovers.

    Of the processes of one run, the first holds it.

    Raises:
        InputError: another run is writing there.
    """
    first = os.environ.get("PADDLE_TRAINER_ID", "0") == "0"
    return exclusive(save_dir) if first else contextlib.nullcontext()


def begin(folder: str) -> str:
    """Start the checkpoint ``folder``; return the folder to write it in until :func:`publish`.

    Unfinished checkpoints that killed runs left in the same place are removed.
    """
    save_dir, name = os.path.split(folder)
    for leftover in _partials(save_dir):
        shutil.rmtree(leftover) if os.path.isdir(leftover) else os.unlink(leftover)
    return make_folder(os.path.join(save_dir, _PARTIAL + name))


def publish(partial: str) -> str:
    """Give a finished checkpoint its final name, replacing any checkpoint of that name; return the path."""
    save_dir, name = os.path.split(partial)
    folder = os.path.join(save_dir, name[len(_PARTIAL) :])
    replaced = partial + "-replaced"
    if os.path.exists(folder):
        os.rename(folder, replaced)
    os.rename(partial, folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return folder


def save(state: Any, path: str) -> None:
    """``paddle.save``, but atomic: on failure the file at ``path`` stays as it was.

    Raises:
        InputError: the file cannot be written; the message names the latest complete checkpoint.
    """
    import paddle

    folder = os.path.dirname(path)
    try:
        with atomic_path(path) as temporary:
            paddle.save(state, temporary)
    except InputError as e:
        if os.path.basename(folder).startswith(_PARTIAL):
            shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"{e}, then {_advice(os.path.dirname(folder))}") from e


def save_score(folder: str, mean_iou: float, iteration: int) -> None:
    """Save the mIoU of the model in ``folder``: for PaddleSeg's develop branch, in its format, and as JSON."""
    score = {"mIoU": float(mean_iou), "iter": iteration}
    save(score, _score_file(folder))
    with atomic_path(os.path.join(folder, "score.json")) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump({**score, "file": best_weights(folder)}, file)


def best_weights(folder: str) -> str:
    """Name of the file of weights in the folder of a best model."""
    return _prefix(folder) + "model.pdparams"


def best_score(save_dir: str, name: str, resume_model: Optional[str]) -> Tuple[float, int]:
    """mIoU and iteration of the best model so far, ``name`` in ``save_dir``; (-1.0, -1) for a new run."""
    path = _score_file(os.path.join(save_dir, name))
    if resume_model is None or not os.path.exists(path):
        return -1.0, -1
    score = paddle_files.load_dict(path)
    mean_iou, iteration = score.get("mIoU"), score.get("iter")
    if type(mean_iou) is not float or type(iteration) is not int:
        raise InputError(f"expected the numbers mIoU and iter in {path!r}, got something else; remove the file")
    return mean_iou, iteration


def restore(model, optimizer, parameters: Dict[str, Any], optimizer_state: Dict[str, Any]) -> None:
    """Give a model and its optimizer the state of a checkpoint.

    Args:
        model: a ``paddle.nn.Layer``.
        optimizer: a ``paddle.optimizer.Optimizer`` of the model's parameters.
        parameters: the content of ``model.pdparams``.
        optimizer_state: the content of ``model.pdopt``.

    Raises:
        InputError: they are another network's, or another optimizer's.
    """
    load_weights(model, parameters)
    _check_optimizer(optimizer, optimizer_state)
    try:
        optimizer.set_state_dict(optimizer_state)
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as e:
        raise InputError(
            f"model.pdopt is not the state of the config's {type(optimizer).__name__} ({quote(e)}); resume with the "
            "config that the checkpoint was trained with"
        ) from e


def resume_ema(ema_model, model, resume_model: Optional[str]) -> None:
    """Load the averaged parameters from the checkpoint; if it has none, start from those of ``model``."""
    from paddleseg.utils import init_ema_params

    init_ema_params(ema_model, model)
    path = os.path.join(resume_model or "", "ema_model.pdparams")
    if resume_model is not None and os.path.exists(path):
        load_weights(ema_model, paddle_files.load_state(path))


def earlier(save_dir: str, resume_model: Optional[str]) -> List[str]:
    """The checkpoints in ``save_dir`` up to and including the resumed one, oldest first."""
    if resume_model is None:
        return []
    return [path for path in _numbered(save_dir) if _number(path) <= _number(resume_model)]


def _numbered(save_dir: str) -> List[str]:
    """The folders ``iter_N`` in ``save_dir``, sorted by N."""
    return sorted((p for p in glob.glob(os.path.join(glob.escape(save_dir), "iter_*")) if _number(p) >= 0), key=_number)


def _number(path: str) -> int:
    """N of a folder ``iter_N``; -1 for any other name."""
    match = re.fullmatch(r"iter_(\d+)", os.path.basename(os.path.normpath(path)))
    return int(match.group(1)) if match else -1


def _partials(save_dir: str) -> List[str]:
    """Unfinished folders and files in ``save_dir`` and its best models."""
    pattern = os.path.join(glob.escape(save_dir), "{}" + _PARTIAL + "*")
    return glob.glob(pattern.format("")) + glob.glob(pattern.format("*best_model" + os.sep))


def _defect(path: str, refuse_foreign: bool = False) -> Optional[str]:
    """Why training cannot be resumed from ``path``, or None if it can."""
    if not os.path.isdir(path):
        return "no such folder"
    if _number(path) < 0:
        return "not named iter_N"
    for name in (*_FILES, "ema_model.pdparams"):
        file = os.path.join(path, name)
        if not os.path.isfile(file):
            if name in _FILES:
                return f"{name} is missing"
            continue
        try:
            paddle_files.scan(file)
        except InputError as e:
            if not isinstance(e.__cause__, InputError):
                return f"{name} is cut short or not a checkpoint"
            if refuse_foreign:
                raise
            return f"{name} cannot be used: {e.__cause__}"
    return None


def _check_optimizer(optimizer, state: Dict[str, Any]) -> None:
    """Refuse the state of an optimizer whose numbers belong to other parameters or to another schedule.

    Paddle checks neither before the first step.
    """
    groups = optimizer._parameter_list or []
    schedule, saved = optimizer._learning_rate, state.get("LR_Scheduler")
    if saved is not None and hasattr(schedule, "state_dict") and not _fits(saved, schedule.state_dict()):
        raise InputError(
            f"model.pdopt is not the state of the config's {type(optimizer).__name__} with "
            f"{type(schedule).__name__}: its LR_Scheduler differs; resume with the config that the checkpoint was "
            "trained with"
        )
    parameters = [p for item in groups for p in (item["params"] if isinstance(item, dict) else [item])]
    foreign = []
    for name, value in state.items():
        if name in ("LR_Scheduler", "master_weights"):
            continue
        shapes = [list(p.shape) for p in parameters if name.startswith(p.name + "_")]
        if not hasattr(value, "shape") or not any(list(value.shape) in ([], [1], shape) for shape in shapes):
            foreign.append(name)
    if foreign:
        raise InputError(
            f"model.pdopt is another network's: its {shorten(foreign)} fit no parameter; resume with the config that "
            "the checkpoint was trained with"
        )


def _fits(saved: Any, own: Any) -> bool:
    """Whether a saved value has the entries of ``own``, and numbers where ``own`` has numbers."""
    if isinstance(own, dict):
        return isinstance(saved, dict) and all(key in saved and _fits(saved[key], own[key]) for key in own)
    return not isinstance(own, (int, float)) or isinstance(saved, (int, float))


def _advice(save_dir: str) -> str:
    latest = latest_complete_checkpoint(save_dir)
    return f"resume with --resume_model {latest}" if latest else "start again without --resume_model"


def _score_file(folder: str) -> str:
    return os.path.join(folder, _prefix(folder) + "model.pdstates")


def _prefix(folder: str) -> str:
    return "ema_" if os.path.basename(folder).startswith("ema_") else ""
