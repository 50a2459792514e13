"""One file for all results of a run, in the form of COCO's annotations; see https://cocodataset.org/#format-data."""

import contextlib
import json
from typing import Dict, List, Optional, Sequence, Union

from .files import Array, atomic_path, writing
from .results import coco_annotations


class CocoFile:
    """Writes annotations as they come, under a temporary name; :meth:`close` renames it.

    Memory grows only with the number of images, by what the file states of them. The category of a class is its id.

    Args:
        names: of the classes, by id.

    Raises:
        InputError: the file cannot be written, now or later.
    """

    def __init__(self, path: str, names: Sequence[str]):
        self._path, self._stack = path, contextlib.ExitStack()
        self._images: List[Dict[str, Union[str, int]]] = []
        self._annotations = 0
        temporary = self._stack.enter_context(atomic_path(path))
        self._file = self._stack.enter_context(open(temporary, "w", encoding="ascii"))  # noqa: SIM115  the stack is one
        categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names)]
        self._write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')

    def add(self, file: str, mask: Array) -> None:
        """Add an (H, W) mask, and the path of its image within the input folder."""
        height, width = mask.shape
        image = len(self._images) + 1
        self._images.append({"id": image, "file_name": file, "width": width, "height": height})
        for annotation in coco_annotations(mask, image, self._annotations + 1):
            self._write((",\n" if self._annotations else "\n") + json.dumps(annotation))
            self._annotations += 1

    def close(self, error: Optional[BaseException] = None) -> None:
        """Finish the file, or remove it because of ``error``."""
        if error is not None:
            with contextlib.suppress(type(error)), self._stack:
                raise error
            return
        with self._stack:
            self._write(f'],\n"images": {json.dumps(self._images)}}}\n')

    def _write(self, text: str) -> None:
        with writing(self._path):
            self._file.write(text)
