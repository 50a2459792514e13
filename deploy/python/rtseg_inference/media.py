"""Where images come from and where results go: files, folders, videos and cameras."""

import contextlib
import os
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Deque, Iterator, List, Optional, Sequence

import cv2
import numpy as np

from .errors import InputError
from .files import atomic_path, make_folder, read_image, write_image
from .predictor import Result

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")
VIDEO_EXTENSIONS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CAMERA = "camera"
READ_AHEAD = 4
WRITE_BEHIND = 8
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Frame:
    """One image of a source, or why it could not be had."""

    name: str  #: path within the output folder, without extension
    image: Optional[np.ndarray]  #: (H, W, 3) uint8 BGR
    error: Optional[str] = None


class ImageFiles:
    """An image file, or the images of a folder and the folders below it, in the order of their names."""

    fps = None

    def __init__(self, path: str):
        if os.path.isdir(path):
            self.root = path
            self.paths = [
                os.path.join(folder, file)
                for folder, _, files in sorted(os.walk(path))
                for file in sorted(files)
                if file.lower().endswith(IMAGE_EXTENSIONS)
            ]
            if not self.paths:
                raise InputError(f"expected images ({', '.join(IMAGE_EXTENSIONS)}) in {path!r}, got none")
        else:
            self.root, self.paths = os.path.dirname(path), [path]
        self.names = unique_names([os.path.relpath(p, self.root or ".") for p in self.paths])

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        for name, path in zip(self.names, self.paths):
            try:
                yield Frame(name, read_image(path))
            except InputError as e:
                yield Frame(name, None, str(e))


class Video:
    """A video file, or a camera by its number, which has no end.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, source: str):
        self.camera = source.split(":")[0] == CAMERA
        number = source[len(CAMERA) + 1 :] or "0"
        if self.camera and not number.isdigit():
            raise InputError(f"expected a camera such as camera or camera:1, got {source!r}")
        self.source = source
        self.name = source.replace(":", "-") if self.camera else os.path.splitext(os.path.basename(source))[0]
        self._capture = cv2.VideoCapture(int(number) if self.camera else source)
        if not self._capture.isOpened():
            what = "camera" if self.camera else "video"
            raise InputError(f"cannot open the {what} {source!r}; check that it is there and that OpenCV can decode it")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        self._count = 0 if self.camera else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __len__(self) -> int:
        """Frames that the file says it has; 0 where that is not known."""
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while True:
            read, image = self._capture.read()
            if not read:
                break
            yield Frame(f"{self.name}/{number:06d}", image)
            number += 1
        self._capture.release()
        if number < self._count or number == 0:
            expected = f"of the {self._count} that it announces" if self._count else "of it"
            message = f"the video {self.source!r} ends early: {number} frames {expected} could be decoded"
            yield Frame(f"{self.name}/{number:06d}", None, message)


def open_source(source: str):
    """What ``source`` names: ``camera``, ``camera:N``, a folder, a video or an image.

    Raises:
        InputError: nothing of that name, or it holds no images, or cannot be opened.
    """
    if source.split(":")[0] == CAMERA and not os.path.exists(source):
        return Video(source)
    if not os.path.exists(source):
        raise InputError(f"expected an image, a folder, a video or {CAMERA}, got {source!r}, which does not exist")
    return Video(source) if source.lower().endswith(VIDEO_EXTENSIONS) else ImageFiles(source)


class Writer:
    """Writes results in the background: ``masks/NAME.png`` with class ids, ``overlays/NAME.jpg``, or for a video
    ``NAME.mp4``. A context manager: leaving it waits for what is under way.

    Raises:
        InputError: the folder cannot be written, now or when a result is.
    """

    def __init__(self, folder: str, kinds: Sequence[str], fps: Optional[float]):
        self.folder, self.kinds, self.fps = make_folder(folder), kinds, fps
        self._video: Optional[VideoFile] = None
        self._pool = ThreadPoolExecutor(1)  # one, so that a video's frames stay in order
        self._pending: Deque[Future] = deque()

    def __enter__(self) -> "Writer":
        return self

    def write(self, name: str, result: Result) -> None:
        """Queue a result; waits when the disk falls behind."""
        self._pending.append(self._pool.submit(self._write, name, result))
        while len(self._pending) > WRITE_BEHIND or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()

    def __exit__(self, kind, error, trace) -> None:
        try:
            while self._pending:
                self._pending.popleft().result()
        except BaseException as e:
            error = e
            raise
        finally:
            self._pool.shutdown()
            if self._video:
                self._video.close(error)

    def _write(self, name: str, result: Result) -> None:
        if "masks" in self.kinds:
            result.save(os.path.join(self.folder, "masks", name + ".png"))
        if "overlays" not in self.kinds:
            return
        if self.fps is None:
            write_image(os.path.join(self.folder, "overlays", name + ".jpg"), result.overlay())
            return
        if self._video is None:
            path = os.path.join(self.folder, "overlays", os.path.dirname(name) + ".mp4")
            self._video = VideoFile(path, self.fps, result.image.shape[:2])
        self._video.write(result.overlay())


class VideoFile:
    """An MP4 that takes its name when it is closed, or is removed."""

    def __init__(self, path: str, fps: float, size: Sequence[int]):
        self._file = contextlib.ExitStack()
        temporary = self._file.enter_context(atomic_path(path))
        self._writer = cv2.VideoWriter(temporary, cv2.VideoWriter_fourcc(*"mp4v"), fps, tuple(size[::-1]))
        if not self._writer.isOpened():
            error = InputError("this OpenCV cannot write MP4 videos; write masks only, with --write masks")
            self.close(error)
            raise error

    def write(self, image: np.ndarray) -> None:
        self._writer.write(image)

    def close(self, error: Optional[BaseException] = None) -> None:
        """Finish the file, or remove it because of ``error``."""
        self._writer.release()
        self._file.__exit__(type(error) if error else None, error, None)


def prefetched(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames, decoded in a thread ``READ_AHEAD`` frames before they are asked for."""
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, frames, None) for _ in range(READ_AHEAD))
        while True:
            frame = pending.popleft().result()
            if frame is None:
                return
            pending.append(pool.submit(next, frames, None))
            yield frame


def unique_names(paths: Sequence[str]) -> List[str]:
    """Paths without their extensions, except where two would then be the same."""
    stems = [os.path.splitext(p)[0] for p in paths]
    count = Counter(stems)
    return [stem if count[stem] == 1 else path for stem, path in zip(stems, paths)]
