"""A model in a process of Ray Serve: an image waits a few milliseconds for others, and they run as one batch."""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Callable, Dict, List, Sequence, Union

import cv2
from ray import serve
from rtseg_inference import Predictor, Result, cli, environment
from rtseg_inference.configuration import Configuration
from rtseg_inference.errors import InputError
from rtseg_inference.files import Array
from rtseg_inference.images import decode_image
from rtseg_inference.media import Frame
from rtseg_inference.tiling import choose_fit

from ..weights import released
from .api import BODY, DETAILS, MASK, OVERLAY, Answer


@dataclass(frozen=True)
class Plan:
    """A model, and how its replicas run it."""

    name: str
    model: str  #: its folder, or the name of bundled weights
    configuration: Configuration
    batch_size: int
    batch_wait: float  #: seconds
    max_megapixels: int

    def predictor(self) -> Predictor:
        """The predictor of a replica."""
        set_up(self.max_megapixels)
        return Predictor(released.exported(self.model), **asdict(self.configuration))


def set_up(max_megapixels: int) -> None:
    """What has to be done in a process before it loads a model."""
    os.environ["RTSEG_MEGAPIXELS"] = str(max_megapixels)
    environment.configure()


class Replica:
    """Decodes and segments images, and encodes the results."""

    def __init__(self, plan: Plan):
        self.plan = plan
        predictor = plan.predictor()
        fit = choose_fit(predictor.preprocess)  # images of any size, as infer takes them
        self.segmenter = fit.applied(predictor, plan.batch_size, with_confidence=True)
        # Decoding and encoding go on while the network runs, whose threads stay those of one caller.
        self.codecs, self.network = ThreadPoolExecutor(2), ThreadPoolExecutor(1)
        self._segment.set_max_batch_size(plan.batch_size)
        self._segment.set_batch_wait_timeout_s(plan.batch_wait)

    async def __call__(self, data: bytes, form: str) -> Union[Answer, str]:
        """The answer in that form, or a sentence on why the image cannot be segmented."""
        start = perf_counter()
        try:
            image = await _in(self.codecs, decode_image, data, BODY)
        except InputError as e:
            return str(e)
        decoded = perf_counter()
        outcome = await self._segment(image)
        if isinstance(outcome, str):
            return outcome
        result, milliseconds = outcome
        begun = perf_counter()
        content = await _in(self.codecs, encoded, result, form, self.plan.name)
        milliseconds = {
            "decode": 1e3 * (decoded - start),
            **milliseconds,
            "encode": 1e3 * (perf_counter() - begun),
        }
        return Answer(content, form, milliseconds)

    @serve.batch
    async def _segment(self, images: List[Array]) -> List[Any]:
        return await _in(self.network, segment_all, self.segmenter, images)


def segment_all(segmenter: cli.Segmenter, images: Sequence[Array]) -> List[Any]:
    """For each (H, W, 3) uint8 BGR image the result and its milliseconds, or why there is none.

    Images of one size are a batch.
    """
    outcomes: Dict[str, Any] = {}
    frames = [Frame(str(i), image) for i, image in enumerate(images)]
    frames.sort(key=lambda frame: frame.image.shape)  # type: ignore[union-attr]
    for group in cli.batches(iter(frames), len(frames)):
        for frame, outcome in cli.predict(segmenter, group):
            outcomes[frame.name] = outcome if isinstance(outcome, str) else (outcome, _share(outcome, len(group)))
    return [outcomes[str(i)] for i in range(len(images))]


def _share(result: Result, batch: int) -> Dict[str, float]:
    timings = result.timings
    parts = {"pre": timings.pre, "network": timings.run, "post": timings.post}
    return {part: milliseconds / batch for part, milliseconds in parts.items()}


def encoded(result: Result, form: str, model: str) -> bytes:
    """A result as an image file or JSON."""
    return {MASK: _mask, OVERLAY: _overlay, DETAILS: _details}[form](result, model)


def _mask(result: Result, model: str) -> bytes:
    return bytes(cv2.imencode(".png", result.mask)[1].tobytes())


def _overlay(result: Result, model: str) -> bytes:
    return bytes(cv2.imencode(".jpg", result.overlay(legend=True))[1].tobytes())


def _details(result: Result, model: str) -> bytes:
    found = [
        {
            "class_id": polygon.class_id,
            "name": result.contract.classes[polygon.class_id],
            "outline": polygon.outline.tolist(),
            "holes": [hole.tolist() for hole in polygon.holes],
        }
        for polygon in result.polygons()
    ]
    return json.dumps({"model": model, **result.areas(), "polygons": found}).encode()


async def _in(pool: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
