"""Checkpoints, written atomically.

``train()`` saves each checkpoint to a folder ``iter_N`` with ``model.pdparams``, ``model.pdopt`` and, with EMA,
``ema_model.pdparams``. It also keeps ``best_model`` and ``ema_best_model``. Here a folder ``iter_N`` is written under a
temporary name and renamed once complete, and all other files are replaced atomically. A run that is killed, or fills
the disk, therefore leaves earlier checkpoints intact.
"""

import glob
import os
import pickletools
import re
import shutil
from typing import Any, List, Optional, Tuple

from ..errors import InputError
from ..files import atomic_path, make_folder

_PARTIAL = ".partial-"
_FILES = ("model.pdparams", "model.pdopt")


def latest_complete_checkpoint(save_dir: str) -> Optional[str]:
    """The folder ``iter_N`` with the greatest N in ``save_dir`` that :func:`check_complete` accepts, or None."""
    for path in reversed(_numbered(save_dir)):
        if _defect(path) is None:
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
    except OSError as e:
        if os.path.basename(folder).startswith(_PARTIAL):
            shutil.rmtree(folder, ignore_errors=True)
        raise InputError(
            f"expected to write {os.path.basename(path)} to {os.path.dirname(folder)!r}, got {e.strerror!r}; make room "
            f"or choose another --save_dir, then {_advice(os.path.dirname(folder))}"
        ) from e


def save_score(folder: str, mean_iou: float, iteration: int) -> None:
    """Save the mIoU of the model in ``folder``, in the file and format of PaddleSeg's develop branch."""
    save({"mIoU": float(mean_iou), "iter": iteration}, _score_file(folder))


def best_score(save_dir: str, name: str, resume_model: Optional[str]) -> Tuple[float, int]:
    """mIoU and iteration of the best model so far, ``name`` in ``save_dir``; (-1.0, -1) for a new run."""
    import paddle

    path = _score_file(os.path.join(save_dir, name))
    if resume_model is None or not os.path.exists(path):
        return -1.0, -1
    score = paddle.load(path)
    return score["mIoU"], score["iter"]


def resume_ema(ema_model, model, resume_model: Optional[str]) -> None:
    """Load the averaged parameters from the checkpoint; if it has none, start from those of ``model``."""
    import paddle
    from paddleseg.utils import init_ema_params

    init_ema_params(ema_model, model)
    path = os.path.join(resume_model or "", "ema_model.pdparams")
    if resume_model is not None and os.path.exists(path):
        ema_model.set_state_dict(paddle.load(path))


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


def _defect(path: str) -> Optional[str]:
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
            with open(file, "rb") as f:
                for _ in pickletools.genops(f):  # reads a pickle to its end without executing it
                    pass
        except (ValueError, OSError):
            return f"{name} is cut short or not a checkpoint"
    return None


def _advice(save_dir: str) -> str:
    latest = latest_complete_checkpoint(save_dir)
    return f"resume with --resume_model {latest}" if latest else "start again without --resume_model"


def _score_file(folder: str) -> str:
    prefix = "ema_" if os.path.basename(folder).startswith("ema_") else ""
    return os.path.join(folder, prefix + "model.pdstates")
