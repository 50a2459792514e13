"""The loader that training and evaluation read batches with.

An error in a thread or process that loads data reaches Paddle's caller as "Blocking queue is killed", with a
traceback for the reason; a label that is no class reaches it as an error inside the loss, as a wrong mIoU, or on a GPU
as nothing at all. Here either ends in one sentence that names the file.
"""

from typing import Any, Dict, List, Optional

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ..errors import InputError
from .check import range_defect, read_pair

_DEFECT = "defect"


class CheckedLoader(paddle.io.DataLoader):
    """``paddle.io.DataLoader`` for a segmentation dataset.

    Iteration raises InputError where a sample's files cannot be read or its labels are out of range. Every other error
    of the dataset is left alone.
    """

    def __init__(self, dataset, **arguments):
        super().__init__(_Checked(dataset), collate_fn=_collate, **arguments)

    def __iter__(self):
        for batch in super().__iter__():
            if isinstance(batch, dict) and _DEFECT in batch:
                raise InputError(bytes(batch[_DEFECT].numpy()).decode())
            yield batch


class _Checked(paddle.io.Dataset):
    """Samples of a dataset, or in the place of one ``{"defect": sentence}``, which no thread or process can lose.

    Sentences travel as arrays of bytes, since Paddle wants an array in every batch.
    """

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Dict[str, Any]:
        try:
            sample = self.dataset[index]
        except Exception:
            defect = self._file_defect(index)
            if defect is None:
                raise
        else:
            defect = self._label_defect(index, sample)
        return {_DEFECT: np.frombuffer(defect.encode(), np.uint8)} if defect else sample

    def _file_defect(self, index: int) -> Optional[str]:
        try:
            if hasattr(self.dataset, "file_list"):
                read_pair(self.dataset, index)
        except InputError as e:
            return str(e)
        return None

    def _label_defect(self, index: int, sample: Any) -> Optional[str]:
        known = all(hasattr(self.dataset, name) for name in ("file_list", "mode", "num_classes", "ignore_index"))
        if not known or not isinstance(sample, dict) or sample.get("label") is None:
            return None
        label, size = sample["label"], sample["img"].shape[-2:]
        if self.dataset.mode != "train" and sample.get("trans_info"):
            size = sample["trans_info"][0][1]  # labels are evaluated at the size that the image had at first
        defect = self._file_defect(index) if tuple(label.shape[-2:]) != tuple(size) else None
        return defect or range_defect(label, self.dataset, self.dataset.file_list[index][1])


def _collate(samples: List[Any]) -> Any:
    for sample in samples:
        if isinstance(sample, dict) and _DEFECT in sample:
            return sample
    return default_collate_fn(samples)
