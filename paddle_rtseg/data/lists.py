"""Text files that list the images and labels of a dataset, a pair on each line."""

import os
import stat
from typing import Iterator, List, Optional, Sequence, Tuple

from ..errors import InputError

#: What may stand between an image and its label, and how a config writes it.
_SEPARATORS = {"\t": r"\t", " ": " ", ",": ",", ";": ";", "|": "|"}
_NAMES = {" ": "a space", "\t": "a tab", None: "spaces"}


class Lines:
    """The lines of a text file that are not blank, used like an open file.

    Raises:
        InputError: the file cannot be read, is no text, or has no lines.
    """

    def __init__(self, path: str):
        self.path = path
        lines = ((number, line.strip()) for number, line in enumerate(_text(path).split("\n"), 1))
        self._numbered: List[Tuple[int, str]] = [(number, line) for number, line in lines if line]
        if not self._numbered:
            raise InputError(f"expected a list of images, got {path!r} without lines; name an image on each")

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[str]:
        return (line for _, line in self._numbered)

    def readlines(self) -> List[str]:
        return list(self)

    def pairs(self, separator: Optional[str], labelled: bool) -> Iterator[List[str]]:
        """Image and label of each line; only the image where there is no label and ``labelled`` is false.

        Args:
            separator: as for ``str.split``.

        Raises:
            InputError: a line has more or fewer parts.
        """
        for number, line in self._numbered:
            parts = _split(line, separator)
            if len(parts) != 2 and (labelled or len(parts) != 1):
                raise InputError(
                    f"expected an image and its label, separated by {_NAMES.get(separator, repr(separator))}, on line "
                    f"{number} of {self.path!r}, got {line[:100]!r}; {_advice(line)}"
                )
            yield parts


def pair_by_name(
    images: Sequence[str], labels: Sequence[str], image_folder: str, label_folder: str, ends: Tuple[str, str]
) -> List[Tuple[str, str]]:
    """Images and labels of the same name, in the order of the images.

    Args:
        images, labels: paths below the two folders.
        ends: what follows the name of an image and of a label, such as "_leftImg8bit.png".

    Raises:
        InputError: there are none, or one has no counterpart.
    """
    folders = image_folder, label_folder
    if not images and not labels:
        raise InputError(
            f"expected images NAME{ends[0]} in {folders[0]!r} and labels NAME{ends[1]} in {folders[1]!r}, got none; "
            "correct dataset_root or complete the dataset"
        )
    by_name = [
        {path[len(folder) : -len(end)]: path for path in paths}
        for paths, folder, end in zip((images, labels), folders, ends)
    ]
    for name in sorted(by_name[0].keys() ^ by_name[1].keys()):
        there = 0 if name in by_name[0] else 1
        missing = folders[1 - there] + name + ends[1 - there]
        raise InputError(
            f"expected {missing!r} to go with {by_name[there][name]!r}, got no such file; add it or remove the other"
        )
    return [(path, by_name[1][name]) for name, path in by_name[0].items()]


def _split(line: str, separator: Optional[str]) -> List[str]:
    return [part.strip() for part in line.split(separator) if part.strip()]


def _advice(line: str) -> str:
    for separator, written in _SEPARATORS.items():
        if len(_split(line, separator)) == 2:
            return f'in a dataset of type Dataset, set separator: "{written}"'
    return r'put a tab between the two and, in a dataset of type Dataset, set separator: "\t"'


def _text(path: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"expected a text file that lists images, got {path!r}, which is not a file; correct it")
        with open(path, encoding="utf-8-sig") as f:
            text = f.read()
    except OSError as e:
        raise InputError(
            f"expected a text file that lists images, got {path!r}, which cannot be read ({e.strerror}); correct it"
        ) from e
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"expected a text file that lists images, got {path!r}, which is no text in UTF-8; save it so")
    return text
