"""The data loader for training and evaluation.

Paddle's own loader hides errors. If a worker process fails, the caller only sees "Blocking queue is killed"; without
workers, the caller hangs. A label out of range fails inside the loss, gives a wrong mIoU, or on a GPU goes unnoticed.
This loader raises an exception in each case, with a one-sentence message for a defective file.
"""

import contextlib
import functools
import gc
import signal
import sys
import traceback
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn
from rtseg_inference.errors import first_line

from ..data.check import in_a_sentence, range_defect, read_pair
from ..errors import InputError
from .sampling import Draw

#: A batch that could not be read has one of these keys instead of "img": a message for the user, or a traceback.
_DEFECT, _ERROR = "defect", "error"


class CheckedLoader(paddle.io.DataLoader):
    """``paddle.io.DataLoader`` for a segmentation dataset.

    Iteration raises InputError if files are unreadable, labels are out of range or samples differ in size, and
    RuntimeError with the traceback for any other error in the dataset or its transforms.
    """

    def __init__(self, dataset, worker_init_fn: Optional[Callable[[int], None]] = None, **arguments):
        start = functools.partial(_start_worker, worker_init_fn)
        super().__init__(_Checked(dataset), collate_fn=_collate, worker_init_fn=start, **arguments)

    def __iter__(self):
        # A worker that collects what is left of another loader waits for threads that it does not have, for ever.
        with _nothing_to_collect() if self.num_workers else contextlib.nullcontext():
            batches = super().__iter__()
        try:
            for batch in batches:
                if isinstance(batch, dict) and _DEFECT in batch:
                    if sys.stderr.isatty():
                        print(file=sys.stderr)  # a progress bar leaves the cursor in its line
                    raise InputError(_text(batch[_DEFECT]))
                if isinstance(batch, dict) and _ERROR in batch:
                    raise RuntimeError(f"the dataset or one of its transforms failed:\n{_text(batch[_ERROR])}")
                yield batch
        finally:
            # Paddle stops its threads and processes only on garbage collection, and may hang there.
            batches._try_shutdown_all()


@contextlib.contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Processes that are started inside never collect what exists now."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Checked(paddle.io.Dataset):
    """A dataset that returns errors as samples, because Paddle's threads and processes lose exceptions."""

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Dict[str, Any]:
        if isinstance(index, Draw):
            index.seed_transforms()
        try:
            sample = self.dataset[index]
        except InputError as e:
            return {_DEFECT: _bytes(str(e))}
        except Exception as e:
            defect = self._file_defect(index) or _transform_defect(e)
            return {_DEFECT: _bytes(defect)} if defect else {_ERROR: _bytes(traceback.format_exc())}
        defect = self._label_defect(index, sample)
        return {_DEFECT: _bytes(defect)} if defect else sample

    def _file_defect(self, index: int) -> Optional[str]:
        try:
            if hasattr(self.dataset, "file_list"):
                read_pair(self.dataset, index)
        except InputError as e:
            return str(e)
        except OSError as e:
            return in_a_sentence(self.dataset.file_list[index], e)
        except Exception:  # of the dataset itself: the caller reports it
            return None
        return None

    def _label_defect(self, index: int, sample: Any) -> Optional[str]:
        known = all(hasattr(self.dataset, name) for name in ("file_list", "mode", "num_classes", "ignore_index"))
        if not known or not isinstance(sample, dict) or sample.get("label") is None:
            return None
        label, size = sample["label"], sample["img"].shape[-2:]
        if self.dataset.mode != "train" and sample.get("trans_info"):
            size = sample["trans_info"][0][1]  # evaluation compares with labels at the original size
        defect = self._file_defect(index) if tuple(label.shape[-2:]) != tuple(size) else None
        return defect or range_defect(label, self.dataset, self.dataset.file_list[index][1])


def _start_worker(init: Optional[Callable[[int], None]], number: int) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the process that started the workers: it ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if init is not None:
        init(number)


def _transform_defect(error: Exception) -> Optional[str]:
    """A sentence, if one of PaddleSeg's transforms failed; its arguments do not suit the images."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        transform = type(frame.f_locals.get("self"))
        if transform.__module__.startswith("paddleseg.transforms.") and transform.__name__ != "Compose":
            return (
                f"the transform {transform.__name__} fails: {first_line(error)}; correct its arguments in the config, "
                "or leave it out"
            )
    return None


def _collate(samples: List[Any]) -> Any:
    """Stack samples; if one of them is an error, return that instead."""
    for sample in samples:
        if isinstance(sample, dict) and (_DEFECT in sample or _ERROR in sample):
            return sample
    try:
        return default_collate_fn(samples)
    except Exception:
        sizes = sorted({sample["img"].shape[-2:] for sample in samples if isinstance(sample, dict) and "img" in sample})
        if len(sizes) < 2:
            return {_ERROR: _bytes(traceback.format_exc())}
        listed = " and ".join(f"{width} x {height}" for height, width in sizes)
        sentence = (
            f"expected images of one size in a batch, got {listed}; "
            "add a crop or a resize to the transforms, or set batch_size to 1"
        )
        return {_DEFECT: _bytes(sentence)}


def _bytes(text: str) -> np.ndarray:
    """Text as an array, since Paddle can only pass batches of arrays between processes."""
    return np.frombuffer(text.encode(), np.uint8)


def _text(array: paddle.Tensor) -> str:
    return bytes(array.numpy()).decode()
