"""The patches of PaddleSeg that concern datasets, how their files are read, and scores."""

from rtseg_inference.images import read_image

from ..data import labels, lists, scores
from ..training import hooks
from .patch import Patch

_DATASETS = "paddleseg.datasets."

#: Datasets that read a list of pairs: the module, the class, the separator, and whether labels may be missing.
_LISTS = (
    ("dataset", "Dataset", "separator", "self.mode != 'test'"),
    ("chase_db1", "CHASEDB1", "", "True"),
    ("drive", "DRIVE", "", "True"),
    ("hrf", "HRF", "", "True"),
    ("mini_deep_globe_road_extraction", "MiniDeepGlobeRoadExtraction", "'|'", "True"),
    ("optic_disc_seg", "OpticDiscSeg", "", "mode != 'test'"),
    ("pp_humanseg14k", "PPHumanSeg14K", "' '", "mode != 'test'"),
    ("stare", "STARE", "", "True"),
)
#: Datasets that read a list of names.
_NAMES = (
    ("eg1800", "EG1800", "open(path, 'r')"),
    ("pascal_context", "PascalContext", "open(file_path, 'r')"),
    ("supervisely", "SUPERVISELY", "open(path, 'r')"),
    ("voc", "PascalVOC", "open(file_path, 'r')"),
    ("voc", "PascalVOC", "open(file_path_aug, 'r')"),
    ("pssl", "PSSLDataset", "open(train_list_file)"),
    ("pssl", "PSSLDataset", "open(class_id_file)"),
)

DATA_PATCHES = (
    *(
        Patch(
            name=f"list of {dataset}",
            defect="a blank line ends training, and the error names neither the file nor the line",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"{_DATASETS}{module}:{dataset}.__init__",
            changes=[
                ("open(file_path, 'r')", "open_list(file_path)"),
                (
                    f"for line in f:\n                items = line.strip().split({separator})\n",
                    f"for items in f.pairs({separator or None}, {labelled}):\n",
                ),
            ],
            names={"open_list": lists.Lines},
            seen="2026-11-27",
        )
        for module, dataset, separator, labelled in _LISTS
    ),
    *(
        Patch(
            name=f"{opened} of {dataset}",
            defect="a blank line of the list becomes an image",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"{_DATASETS}{module}:{dataset}.__init__",
            changes=[(opened, opened.replace("open(", "open_list(").replace(", 'r'", ""))],
            names={"open_list": lists.Lines},
            seen="2026-11-27",
        )
        for module, dataset, opened in _NAMES
    ),
    *(
        Patch(
            name=f"pairs of {dataset}",
            defect="images and labels are paired by their order: one missing file shifts all that follow",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"{_DATASETS}{module}:{dataset}.__init__",
            changes=[
                ("zip(img_files, label_files)", f"pair_by_name(img_files, label_files, img_dir, label_dir, {ends})")
            ],
            names={"pair_by_name": lists.pair_by_name},
            seen="2026-11-27",
        )
        for module, dataset, ends in (
            ("cityscapes", "Cityscapes", ("_leftImg8bit.png", "_gtFine_labelTrainIds.png")),
            ("cocostuff", "CocoStuff", (".jpg", ".png")),
        )
    ),
    Patch(
        name="images and labels, read",
        defect="a JPEG that is cut short is filled up with grey, images of any size are decoded, pipes hang, labels of "
        "16 bits become zeros",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.transforms.transforms:Compose.__call__",
        changes=[
            ("cv2.imread(", "read_image("),
            ("np.asarray(Image.open(data['label']))", "read_label(data['label'])"),
        ],
        names={"read_image": read_image, "read_label": labels.read_label},
        seen="2026-11-27",
    ),
    Patch(
        name="labels of ADE20K, read",
        defect="labels are read in another way than those of other datasets",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_DATASETS + "ade:ADE20K.__getitem__",
        changes=[("np.asarray(Image.open(label_path))", "read_label(label_path)")],
        names={"read_label": labels.read_label},
        seen="2026-11-27",
    ),
    Patch(
        name="edges of ADE20K",
        defect="edge=True names the label by a variable that training does not have: NameError",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_DATASETS + "ade:ADE20K.__getitem__",
        changes=[("                    label, radius=2", "                    data['label'], radius=2")],
        seen="2026-11-27",
    ),
    *(
        Patch(
            name=f"images of {dataset}, read",
            defect="a file that is missing or cannot be decoded raises TypeError",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"{_DATASETS}{module}:{dataset}.__getitem__",
            changes=[("cv2.imread(", "read_image(")],
            names={"read_image": read_image},
            seen="2026-11-27",
        )
        for module, dataset in (("eg1800", "EG1800"), ("supervisely", "SUPERVISELY"))
    ),
    Patch(
        name="downloads, complete",
        defect="an interrupted download stays under its final name and is used from then on",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.download:download_file_and_uncompress",
        changes=[("_download_file(url", "download_whole(_download_file, url")],
        names={"download_whole": hooks.download_whole},
        seen="2026-11-27",
    ),
    Patch(
        name="downloads, unlocked",
        defect="a download that fails leaves the file that keeps other processes waiting",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.download:download_file_and_uncompress",
        changes=[
            ("        if rank_id_curr_node == 0:\n", "        if rank_id_curr_node == 0:\n          try:\n"),
            ("            os.remove(lock_path)\n", "          finally:\n            os.remove(lock_path)\n"),
        ],
        seen="2026-11-27",
    ),
    Patch(
        name="downloads, found",
        defect="the page that says that a file was not found is kept as the file",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.download:_download_file",
        changes=[("timeout=15)\n", "timeout=15); r.raise_for_status()\n")],
        seen="2026-11-27",
    ),
    Patch(
        name="definition of mean IoU",
        defect="evaluate() does not say that its mean IoU counts classes that occur nowhere",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.val:evaluate",
        changes=[
            (
                "logger.info(infor)\n",
                "logger.info(infor)\n        logger.info('[EVAL] ' + evaluation_in_words(class_iou, *metrics_input))\n",
            )
        ],
        names={"evaluation_in_words": scores.evaluation_in_words},
        seen="2026-11-27",
    ),
)
