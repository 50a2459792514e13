"""Which images and videos a job segments, and the names of their results."""

import glob
import os
import posixpath
import re
from dataclasses import dataclass
from typing import List, Sequence, Tuple

from rtseg_inference.errors import quote
from rtseg_inference.images import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Found,
    find_images,
    result_folders,
    unique_names,
)

from ..errors import InputError
from .storage import find_files, is_address

SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Item:
    """An image or a video."""

    path: str  #: or an address such as s3://bucket/street.jpg
    name: str  #: of its results, without extension; for a video that of the folder of its frames

    @property
    def is_video(self) -> bool:
        """Whether it is a video, by its name."""
        return self.path.lower().endswith(VIDEO_SUFFIXES)


def find_items(sources: Sequence[str], save_dir: str, kinds: Sequence[str]) -> List[Item]:
    """The images, then the videos, of folders, lists (.txt), patterns such as ``a/*.jpg``, files and addresses.

    Names are relative to the folder that all sources have in common. For one source they are those of ``infer``.

    Args:
        kinds: the folders of results in ``save_dir``, which are not searched.

    Raises:
        InputError: a source has none, or the results would overwrite the images.
    """
    found = [_find(source, save_dir, kinds) for source in sources]
    root = _common([f.root for f in found])
    paths = list(dict.fromkeys(path for f in found for path in f.paths))
    items = [Item(path, name) for path, name in zip(paths, _names(paths, _relative(paths, root)))]
    return sorted(items, key=lambda item: item.is_video)  # stable: the order is kept


def _find(source: str, save_dir: str, kinds: Sequence[str]) -> Found:
    if is_address(source):
        return Found(*find_files(source, SUFFIXES))
    if os.path.isfile(source) and source.lower().endswith(".txt"):
        return Found(os.path.dirname(source), _listed(source))
    if not os.path.exists(source) and glob.has_magic(source):
        return _matching(source)
    if not os.path.exists(source):
        raise InputError(
            f"expected an image, a folder, a list, a pattern or a video, got {source!r}, which does not exist"
        )
    if source.lower().endswith(VIDEO_SUFFIXES) and not os.path.isdir(source):
        return Found(os.path.dirname(source), [source])
    leave_out = () if is_address(save_dir) else result_folders(source, save_dir, kinds)
    return find_images(source, leave_out, suffixes=SUFFIXES)


def _listed(path: str) -> List[str]:
    """The lines of a list, relative to its folder."""
    try:
        with open(path, encoding="utf-8") as f:
            lines = [line.strip() for line in f]
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"expected a text file with a path on each line, got {path!r} ({e}); correct it") from e
    folder = os.path.dirname(path)
    paths = [line if is_address(line) else os.path.join(folder, line) for line in lines if line]
    for p in paths:
        if not p.lower().endswith(SUFFIXES):
            raise InputError(f"expected images and videos in the list {path!r}, got {quote(p)!r}; remove it")
    if not paths:
        raise InputError(f"expected a path on each line of {path!r}, got none; add some")
    return paths


def _matching(pattern: str) -> Found:
    paths = sorted(p for p in glob.glob(pattern, recursive=True) if p.lower().endswith(SUFFIXES) and os.path.isfile(p))
    if not paths:
        raise InputError(f"expected images or videos that match {pattern!r}, got none; correct the pattern")
    fixed = re.split(r"[*?[]", pattern)[0]
    return Found(os.path.dirname(fixed), paths)


def _common(roots: Sequence[str]) -> str:
    """The folder that contains all ``roots``; empty if some are addresses and others are not, or on different hosts."""
    if len(set(roots)) == 1:
        return roots[0]
    if any(map(is_address, roots)):
        return posixpath.commonpath(roots) if all(map(is_address, roots)) else ""
    return os.path.commonpath([os.path.abspath(root) for root in roots])


def _relative(paths: Sequence[str], root: str) -> List[str]:
    local = Found(root, [p for p in paths if not is_address(p)]).relative
    remaining = iter(local)
    return [_below(p, root) if is_address(p) else next(remaining) for p in paths]


def _below(address: str, root: str) -> str:
    """The part of an address below ``root``, or below its scheme."""
    if is_address(root) and address.startswith(root):
        return address[len(root) :].lstrip("/")
    return address.partition("://")[2].lstrip("/")


def _names(paths: Sequence[str], relative: Sequence[str]) -> List[str]:
    """As :func:`.images.unique_names`; a video keeps its suffix where its frames would get among other images."""
    names = unique_names(relative)
    folders = {posixpath.dirname(name).lower() for name, path in zip(names, paths) if not _is_video(path)}
    below = {folder[: m.start()] for folder in folders for m in re.finditer("/|$", folder)}
    pairs: Sequence[Tuple[str, str, str]] = list(zip(names, paths, relative))
    return [whole if _is_video(path) and name.lower() in below else name for name, path, whole in pairs]


def _is_video(path: str) -> bool:
    return path.lower().endswith(VIDEO_SUFFIXES)
