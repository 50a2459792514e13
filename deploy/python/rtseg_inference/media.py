"""Where images come from and where results go: files, folders, videos and cameras."""

import contextlib
import json
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Deque, Generator, Iterator, Optional, Sequence, Type, Union

import cv2

from .arguments import MOST, to_whole
from .coco_file import CocoFile
from .drawing import DEFAULT, Style, overlay
from .errors import InputError, quote
from .files import Array, atomic_path, make_folder, write_image, write_text
from .images import LARGE, VIDEO_SUFFIXES, Found, find_images, fits, read_image, result_folders, too_large
from .pose_predictor import PoseResult
from .predictor import Result

CAMERA = "camera"
MOST_CAMERAS = 99
IMAGE_KINDS = ("masks", "overlays")  #: of results; each has a folder
KINDS = (*IMAGE_KINDS, "json", "coco")
READ_AHEAD, WRITE_BEHIND = 4, 8  #: images
WAITING_PIXELS = LARGE  #: of the images that wait to be segmented, and of those that wait to be written
LEAST_FPS, DEFAULT_FPS, MOST_FPS = 0.01, 25.0, 1000.0


@dataclass(frozen=True)
class Frame:
    """One image of a source, or the reason why it could not be read."""

    name: str  #: path within the output folder, without extension
    image: Optional[Array]  #: (H, W, 3) uint8 BGR
    error: Optional[str] = None
    file: str = ""  #: path of the image file within the input folder

    @property
    def pixels(self) -> int:
        """The number of its pixels; 0 without an image."""
        return 0 if self.image is None else self.image.shape[0] * self.image.shape[1]


class ImageFiles:
    """Images that :func:`.images.find_images` found, in its order."""

    fps: Optional[float] = None

    def __init__(self, found: Found):
        self.paths, self.names, self.files = found.paths, found.names, found.relative
        self.not_taken = found.not_taken

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        for name, path, file in zip(self.names, self.paths, self.files):
            try:
                yield Frame(name, read_image(path), file=file)
            except InputError as e:
                yield Frame(name, None, str(e))


class Video:
    """A video file, or a camera by its number, which has no end.

    Raises:
        InputError: it cannot be opened, or its frames are too large.
    """

    not_taken = ""

    def __init__(self, source: str):
        self.camera = is_camera(source)
        self.source = source
        if self.camera:
            number = to_whole(source[len(CAMERA) + 1 :] or "0")
            if number is None or not 0 <= number <= MOST_CAMERAS:
                raise InputError(f"expected a camera such as camera or camera:1, got {quote(source)!r}; correct it")
            self.name = source.replace(":", "-")
        else:
            if not os.path.isfile(source):
                raise InputError(f"expected a video, got {source!r}, which is not a regular file; copy it to one")
            self.name = os.path.splitext(os.path.basename(source))[0]
        self._capture = cv2.VideoCapture(number) if self.camera else cv2.VideoCapture(source)
        if not self._capture.isOpened():
            what = "camera" if self.camera else "video"
            raise InputError(f"cannot open the {what} {source!r}; check that it exists and that OpenCV can decode it")
        self._check_size(self._property(cv2.CAP_PROP_FRAME_HEIGHT), self._property(cv2.CAP_PROP_FRAME_WIDTH))
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps: Optional[float] = fps if LEAST_FPS <= fps <= MOST_FPS else DEFAULT_FPS  # not so if it is NaN
        self._count = 0 if self.camera else self._property(cv2.CAP_PROP_FRAME_COUNT)
        self.position = 0  #: the number of the frame that is decoded next

    def __len__(self) -> int:
        """The number of frames that the file announces; 0 if unknown."""
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, first: int = 0, end: Optional[int] = None) -> Iterator[Frame]:
        """The frames from number ``first``, which must not have passed yet, to before ``end``; None: to the last."""
        while self.position < first and self._capture.grab():
            self.position += 1
        while self.position >= first and (end is None or self.position < end):
            read, image = self._capture.read()
            if not read:
                yield from self._early_end()
                return
            self._check_size(*image.shape[:2])
            self.position += 1
            name = f"{self.name}/{self.position - 1:06d}"
            yield Frame(name, image, file=name)

    def _early_end(self) -> Iterator[Frame]:
        self._capture.release()
        if self.position < self._count or self.position == 0:
            expected = f"of the {self._count} that it announces" if self._count else "of it"
            message = f"the video {self.source!r} ends early: {self.position} frames {expected} could be decoded"
            yield Frame(f"{self.name}/{self.position:06d}", None, message)

    def _property(self, name: int) -> int:
        """A whole number that the file states, or 0."""
        value = self._capture.get(name)
        return int(value) if 0 <= value <= MOST else 0

    def _check_size(self, height: int, width: int) -> None:
        if not fits(height, width):
            raise InputError(f"{too_large(height, width)} in the video {self.source!r}; shrink it")


Source = Union[ImageFiles, Video]


def is_camera(source: str) -> bool:
    """Whether ``source`` means a camera, and no file has that name."""
    return source.split(":")[0] == CAMERA and not os.path.lexists(source)


def open_source(source: str, save_dir: str) -> Source:
    """Open ``camera``, ``camera:N``, a folder, a video or an image, whose results go to ``save_dir``.

    Raises:
        InputError: it does not exist, holds no images, cannot be opened, or would be overwritten by its own results.
    """
    if is_camera(source):
        return Video(source)
    if not os.path.exists(source):
        raise InputError(f"expected an image, a folder, a video or {CAMERA}, got {source!r}, which does not exist")
    if source.lower().endswith(VIDEO_SUFFIXES) and not os.path.isdir(source):
        return Video(source)
    return ImageFiles(find_images(source, leave_out=result_folders(source, save_dir, IMAGE_KINDS)))


class Writer:
    """Writes results in the background: ``masks/NAME.png`` with class ids, ``overlays/NAME.jpg``, or for a video
    ``NAME.mp4``, ``json/NAME.json`` with the areas of the classes, and ``coco.json`` with all masks. A context manager;
    leaving it waits until everything is written. The overlay of a large image is drawn over the image itself.

    Raises:
        InputError: the folder cannot be written, now or later.
    """

    def __init__(self, folder: str, kinds: Sequence[str], fps: Optional[float], style: Style = DEFAULT):
        self.folder, self.kinds, self.fps, self.style = make_folder(folder), kinds, fps, style
        self._video: Optional[VideoFile] = None
        self._coco: Optional[CocoFile] = None
        self._pool = ThreadPoolExecutor(1)  # one, so that a video's frames stay in order
        self._backlog = Backlog(WRITE_BEHIND)
        self._pending: Deque[Future[None]] = deque()

    def __enter__(self) -> "Writer":
        return self

    def write(self, name: str, result: Union[Result, PoseResult], file: str = "") -> None:
        """Queue a result, of the image ``file`` of the input folder; wait if the disk falls behind."""
        self._backlog.enter(_pixels(result))
        self._pending.append(self._pool.submit(self._write, name, result, file))
        large = _pixels(result) > WAITING_PIXELS  # it is written before anything else is decoded
        while self._pending and (large or self._pending[0].done()):
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
            for whole in (self._video, self._coco):
                if whole:
                    whole.close(error)

    def _write(self, name: str, result: Union[Result, PoseResult], file: str) -> None:
        try:
            self._write_files(name, result, file)
        finally:
            self._backlog.leave(_pixels(result))

    def _write_files(self, name: str, result: Union[Result, PoseResult], file: str) -> None:
        if "overlays" in self.kinds:
            self._write_overlay(name, self._picture(result))
        if isinstance(result, PoseResult):
            return
        if "masks" in self.kinds:
            result.save(os.path.join(self.folder, "masks", name + ".png"))
        if "json" in self.kinds:
            write_text(os.path.join(self.folder, "json", name + ".json"), json.dumps(result.areas(), indent=1) + "\n")
        if "coco" in self.kinds:
            if self._coco is None:
                self._coco = CocoFile(os.path.join(self.folder, "coco.json"), result.contract.classes)
            self._coco.add(file, result.mask)

    def _picture(self, result: Union[Result, PoseResult]) -> Array:
        """The overlay."""
        if isinstance(result, PoseResult):
            return result.overlay()
        names, palette = result.contract.classes, result.contract.palette
        return overlay(
            result.image,
            result.mask,
            names,
            palette,
            self.style,
            every_class=self.fps is not None,  # the frames of a video have one size, and so have their legends
            in_place=_pixels(result) > WAITING_PIXELS,
        )

    def _write_overlay(self, name: str, picture: Array) -> None:
        if self.fps is None:
            write_image(os.path.join(self.folder, "overlays", name + ".jpg"), picture)
            return
        if self._video is None:
            path = os.path.join(self.folder, "overlays", os.path.dirname(name) + ".mp4")
            self._video = VideoFile(path, self.fps, picture.shape[:2])
        self._video.write(picture)


def _pixels(result: Union[Result, PoseResult]) -> int:
    return result.image.shape[0] * result.image.shape[1]


class VideoFile:
    """An MP4 under a temporary name, renamed when it is closed without an error and removed otherwise.

    Its codec takes even sizes only: the last row or column of odd ones is there twice. Frames of another size than
    ``size``, height and width, are resized to it.
    """

    def __init__(self, path: str, fps: float, size: Sequence[int]):
        self._file = contextlib.ExitStack()
        temporary = self._file.enter_context(atomic_path(path))
        self._height, self._width = size
        even = self._width + self._width % 2, self._height + self._height % 2
        self._writer = cv2.VideoWriter(temporary, cv2.VideoWriter.fourcc(*"mp4v"), fps, even)
        if not self._writer.isOpened():
            error = InputError("this OpenCV cannot write MP4 videos; write masks only, with --write masks")
            self.close(error)
            raise error

    def write(self, image: Array) -> None:
        height, width = self._height, self._width
        if image.shape[:2] != (height, width):
            image = cv2.resize(image, (width, height))
        self._writer.write(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))

    def close(self, error: Optional[BaseException] = None) -> None:
        """Finish the file, or remove it because of ``error``."""
        self._writer.release()
        self._file.__exit__(type(error) if error else None, error, None)


class Backlog:
    """Room for images that wait: a number of them, and of their pixels unless one waits alone."""

    def __init__(self, most: int):
        self._most, self._count, self._pixels, self._closed = most, 0, 0, False
        self._changed = threading.Condition()

    def enter(self, pixels: int) -> None:
        """Wait for room, and take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(pixels))
            self._count, self._pixels = self._count + 1, self._pixels + pixels

    def await_small(self) -> None:
        """Wait until no image is there that only fits alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pixels <= WAITING_PIXELS)

    def leave(self, pixels: int) -> None:
        """Give the room back."""
        with self._changed:
            self._count, self._pixels = self._count - 1, self._pixels - pixels
            self._changed.notify_all()

    def close(self) -> None:
        """Let all waiting threads go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self, pixels: int) -> bool:
        return self._count == 0 or (self._count < self._most and self._pixels + pixels <= WAITING_PIXELS)


def prefetched(frames: Iterator[Frame]) -> Generator[Frame, None, None]:
    """The same frames, decoded in a thread that runs up to ``READ_AHEAD`` frames ahead; close it to stop early.

    While a frame of more than ``WAITING_PIXELS`` is segmented, none is decoded.
    """
    backlog = Backlog(READ_AHEAD)

    def read() -> Optional[Frame]:
        backlog.await_small()
        frame = next(frames, None)
        backlog.enter(frame.pixels if frame else 0)
        return frame

    with ThreadPoolExecutor(1) as pool:
        try:
            pending: Deque[Future[Optional[Frame]]] = deque(pool.submit(read) for _ in range(READ_AHEAD))
            while True:
                frame = pending.popleft().result()
                if frame is None:
                    return
                pixels = frame.pixels
                if pixels <= WAITING_PIXELS:
                    backlog.leave(pixels)
                pending.append(pool.submit(read))
                yield frame
                del frame  # its memory, before the next is waited for
                if pixels > WAITING_PIXELS:
                    backlog.leave(pixels)
        finally:
            backlog.close()
