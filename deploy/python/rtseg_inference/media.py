"""Where images come from and where results go: files, folders, videos and cameras."""

import contextlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Deque, Iterator, Optional, Sequence, Type, Union

import cv2

from .errors import InputError
from .files import Array, atomic_path, make_folder, write_image
from .images import find_images, read_image
from .predictor import Result

CAMERA = "camera"
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
READ_AHEAD = 4
WRITE_BEHIND = 8
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Frame:
    """One image of a source, or the reason why it could not be read."""

    name: str  #: path within the output folder, without extension
    image: Optional[Array]  #: (H, W, 3) uint8 BGR
    error: Optional[str] = None


class ImageFiles:
    """An image file, or the images of a folder and the folders below it, in the order of their names."""

    fps: Optional[float] = None

    def __init__(self, path: str):
        found = find_images(path)
        self.paths, self.names = found.paths, found.names

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
        self._capture = cv2.VideoCapture(int(number)) if self.camera else cv2.VideoCapture(source)
        if not self._capture.isOpened():
            what = "camera" if self.camera else "video"
            raise InputError(f"cannot open the {what} {source!r}; check that it exists and that OpenCV can decode it")
        self.fps: Optional[float] = self._capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        self._count = 0 if self.camera else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __len__(self) -> int:
        """The number of frames that the file announces; 0 if unknown."""
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


Source = Union[ImageFiles, Video]


def open_source(source: str) -> Source:
    """Open ``camera``, ``camera:N``, a folder, a video or an image.

    Raises:
        InputError: it does not exist, holds no images, or cannot be opened.
    """
    if source.split(":")[0] == CAMERA and not os.path.exists(source):
        return Video(source)
    if not os.path.exists(source):
        raise InputError(f"expected an image, a folder, a video or {CAMERA}, got {source!r}, which does not exist")
    return Video(source) if source.lower().endswith(VIDEO_SUFFIXES) else ImageFiles(source)


class Writer:
    """Writes results in the background: ``masks/NAME.png`` with class ids, ``overlays/NAME.jpg``, or for a video
    ``NAME.mp4``. A context manager; leaving it waits until everything is written.

    Raises:
        InputError: the folder cannot be written, now or later.
    """

    def __init__(self, folder: str, kinds: Sequence[str], fps: Optional[float]):
        self.folder, self.kinds, self.fps = make_folder(folder), kinds, fps
        self._video: Optional[VideoFile] = None
        self._pool = ThreadPoolExecutor(1)  # one, so that a video's frames stay in order
        self._pending: Deque[Future[None]] = deque()

    def __enter__(self) -> "Writer":
        return self

    def write(self, name: str, result: Result) -> None:
        """Queue a result; wait if the disk falls behind."""
        self._pending.append(self._pool.submit(self._write, name, result))
        while len(self._pending) > WRITE_BEHIND or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
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
    """An MP4 under a temporary name, renamed when it is closed without an error and removed otherwise."""

    def __init__(self, path: str, fps: float, size: Sequence[int]):
        self._file = contextlib.ExitStack()
        temporary = self._file.enter_context(atomic_path(path))
        self._writer = cv2.VideoWriter(temporary, cv2.VideoWriter.fourcc(*"mp4v"), fps, (size[1], size[0]))
        if not self._writer.isOpened():
            error = InputError("this OpenCV cannot write MP4 videos; write masks only, with --write masks")
            self.close(error)
            raise error

    def write(self, image: Array) -> None:
        self._writer.write(image)

    def close(self, error: Optional[BaseException] = None) -> None:
        """Finish the file, or remove it because of ``error``."""
        self._writer.release()
        self._file.__exit__(type(error) if error else None, error, None)


def prefetched(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames, decoded in a thread that runs ``READ_AHEAD`` frames ahead."""
    with ThreadPoolExecutor(1) as pool:
        pending: Deque[Future[Optional[Frame]]] = deque(pool.submit(next, frames, None) for _ in range(READ_AHEAD))
        while True:
            frame = pending.popleft().result()
            if frame is None:
                return
            pending.append(pool.submit(next, frames, None))
            yield frame
