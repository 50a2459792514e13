"""Units of work: some images, a range of a video's frames, or a video's overlay; and which of them are finished.

The name of a unit says what it covers, so that the names of the records are all that a repeated run needs to know.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Set

from .inputs import Item

_IMAGES = re.compile(r"images-(\d+)-(\d+)")


@dataclass(frozen=True)
class Unit:
    """Work for one worker, at the end of which a record is written.

    ``kind`` is "images", "frames" or "overlay". ``first`` and ``end`` are numbers of items, or for frames of frames;
    None is the end of the video. ``video`` is the number of the item for frames and overlays.
    """

    kind: str
    paths: List[str]
    names: List[str]
    first: int = 0
    end: Optional[int] = None
    video: Optional[int] = None

    @property
    def name(self) -> str:
        """Sorted by it, records are in the order of the items and frames."""
        if self.kind == "images":
            return f"images-{self.first:09d}-{self.end:09d}"
        return f"video-{self.video:09d}-{self.kind}-{self.first:09d}"

    def as_dict(self) -> Dict[str, Any]:
        """What the constructor takes, as JSON has it."""
        return asdict(self)


def image_units(items: Sequence[Item], finished: Collection[str], size: int) -> Iterator[Unit]:
    """The images of ``items`` that no record covers, in units of up to ``size`` of neighbours.

    Args:
        finished: names of records.
    """
    covered = images_in(finished)
    left = [i for i, item in enumerate(items) if not item.is_video and i not in covered]
    start = 0
    for k in range(1, len(left) + 1):
        if k == len(left) or k - start == size or left[k] != left[k - 1] + 1:
            yield _images(items, left[start], left[k - 1] + 1)
            start = k


def _images(items: Sequence[Item], first: int, end: int) -> Unit:
    some = items[first:end]
    return Unit("images", [i.path for i in some], [i.name for i in some], first, end)


def images_in(names: Collection[str]) -> Set[int]:
    """The numbers of the images that records of these names cover."""
    ranges = filter(None, map(_IMAGES.fullmatch, names))
    return {i for m in ranges for i in range(int(m[1]), int(m[2]))}


def video_units(items: Sequence[Item], lengths: Mapping[int, int], size: int) -> Iterator[Unit]:
    """Ranges of up to ``size`` frames of the videos, the last of each open to its end.

    Args:
        lengths: the frames that each video announces, by the number of its item; 0 if unknown.
    """
    for number, length in lengths.items():
        starts = range(0, max(length, 1), size)
        for start in starts:
            end = None if start == starts[-1] else start + size
            yield _of_video("frames", items[number], number, start, end)


def images_of(unit: Unit, lengths: Mapping[int, int]) -> int:
    """The images or frames of a unit, as far as they are known."""
    if unit.kind == "images":
        return len(unit.paths)
    end = lengths[unit.video or 0] if unit.end is None else unit.end
    return max(0, end - unit.first)


def overlay_units(items: Sequence[Item], numbers: Collection[int]) -> Iterator[Unit]:
    """The overlays of videos whose frames are all finished."""
    return (_of_video("overlay", items[number], number) for number in numbers)


def _of_video(kind: str, item: Item, number: int, first: int = 0, end: Optional[int] = None) -> Unit:
    return Unit(kind, [item.path], [item.name], first, end, number)
