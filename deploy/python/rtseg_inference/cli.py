"""The command: segment an image, a folder, a video or a camera with an exported model."""

import argparse
import itertools
import sys
import time
from typing import List, Optional, Sequence

import numpy as np

from .contract import read_contract
from .errors import InputError
from .files import make_folder
from .media import Frame, Writer, open_source, prefetched
from .predictor import Predictor
from .preprocess import Preprocessor
from .runtime import BACKENDS
from .selection import fastest

ALL_WRITTEN, SOME_FAILED, CANNOT_START = 0, 1, 2
AUTO = "auto"


def parser(
    prog: str = "python -m rtseg_inference", model: str = "exported model, a folder with deploy.yaml"
) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog=prog, description=__doc__)
    p.add_argument("--model", required=True, help=model)
    p.add_argument(
        "--input", help="image, folder, video, camera or camera:N; without it the configurations are only checked"
    )
    p.add_argument("--save_dir", default="./output/inference", help="folder to write (default ./output/inference)")
    p.add_argument(
        "--write",
        nargs="+",
        choices=["masks", "overlays"],
        default=["masks", "overlays"],
        help="what to write (default both)",
    )
    p.add_argument("--device", choices=list(BACKENDS), default="cpu")
    p.add_argument(
        "--backend",
        choices=[AUTO, *sorted({b for backends in BACKENDS.values() for b in backends})],
        default=AUTO,
        help="auto: the fastest that reproduces the model's golden output (default)",
    )
    p.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32")
    p.add_argument("--threads", type=int, default=0, help="processor threads (default: all cores)")
    p.add_argument("--batch_size", type=int, default=1, help="images at a time, if of one size (default 1)")
    p.add_argument("--max_frames", type=int, metavar="N", help="stop after N images")
    return p


def main(args: argparse.Namespace) -> int:
    """Run the command; gives the exit status.

    Raises:
        InputError: nothing can be done at all.
    """
    if args.batch_size < 1 or args.threads < 0 or (args.max_frames is not None and args.max_frames < 1):
        raise InputError("expected --batch_size and --max_frames of 1 or more and --threads of 0 or more")
    contract = read_contract(args.model)
    if args.input is None:
        choose(args, None)
        return ALL_WRITTEN
    source = open_source(args.input)
    make_folder(args.save_dir)
    frames = iter(source)
    first = list(take_until_readable(frames))
    sample = next((f.image for f in first if f.image is not None and takes(Preprocessor(contract), f.image)), None)
    predictor = choose(args, sample)
    frames = prefetched(itertools.islice(itertools.chain(first, frames), args.max_frames))
    total = min(len(source), args.max_frames or len(source))
    with Writer(args.save_dir, args.write, source.fps) as writer:
        return segment(predictor, frames, writer, args.batch_size, total)


def take_until_readable(frames):
    """The frames up to and with the first that has an image."""
    for frame in frames:
        yield frame
        if frame.image is not None:
            return


def takes(preprocess: Preprocessor, image: np.ndarray) -> bool:
    """Whether the model takes an image of this size."""
    try:
        preprocess([image])
    except InputError:
        return False
    return True


def choose(args: argparse.Namespace, sample: Optional[np.ndarray]) -> Predictor:
    """The predictor asked for, held to the golden output."""
    if args.backend == AUTO:
        predictor, trials = fastest(args.model, args.device, args.precision, args.threads, sample)
        for trial in trials:
            print(trial)
        print(f"using {predictor.configuration}")
        return predictor
    predictor = Predictor(args.model, args.device, args.backend, args.precision, args.threads)
    verification = predictor.verify()
    if not verification.passed:
        raise InputError(
            f"{predictor.configuration} does not reproduce the model's golden output ({verification}); use another "
            "--backend or --precision"
        )
    print(f"using {predictor.configuration} ({verification})")
    return predictor


def segment(predictor: Predictor, frames, writer: Writer, batch_size: int, total: int) -> int:
    """Segment all frames and write the results; report those that fail and go on.

    Returns:
        The exit status.
    """
    progress, timings, failed = Progress(total), [], 0
    start = time.perf_counter()
    try:
        for group in batches(frames, batch_size):
            for frame, outcome in predict(predictor, group):
                if isinstance(outcome, str):
                    failed += 1
                    progress.say(f"skipped {frame.name}: {outcome}")
                else:
                    writer.write(frame.name, outcome)
                    timings.append((outcome.timings, len(group)))
                progress.step()
    except KeyboardInterrupt:
        progress.say("stopped")
    progress.close()
    seconds = time.perf_counter() - start
    print(f"{len(timings)} written to {writer.folder}, {failed} failed, {len(timings) / seconds:.1f} images/s")
    if timings:
        print(report(timings))
    return SOME_FAILED if failed else ALL_WRITTEN


def batches(frames, size: int):
    """Lists of up to ``size`` frames whose images have one shape; a frame without image is alone."""
    group: List[Frame] = []
    for frame in frames:
        shape = getattr(frame.image, "shape", None)
        if group and (len(group) == size or shape is None or shape != group[0].image.shape):
            yield group
            group = []
        if shape is None:
            yield [frame]
        else:
            group.append(frame)
    if group:
        yield group


def predict(predictor: Predictor, group: Sequence[Frame]):
    """Pairs of a frame and its result, or the reason why there is none."""
    if group[0].image is None:
        return [(group[0], group[0].error)]
    try:
        return list(zip(group, predictor.predict([frame.image for frame in group])))
    except InputError as e:
        return [(frame, str(e)) for frame in group]


def report(timings) -> str:
    """Percentiles of the milliseconds per image."""
    lines = ["ms per image     p50      p90      p99"]
    for part in ("pre", "run", "post"):
        values = [getattr(t, part) / n for t, n in timings]
        lines.append(f"{part:12s}" + "".join(f"{p:9.2f}" for p in np.percentile(values, (50, 90, 99))))
    return "\n".join(lines)


class Progress:
    """A bar on stderr, where that is a terminal."""

    WIDTH = 30

    def __init__(self, total: int):
        self.total, self.done, self.start = total, 0, time.perf_counter()
        self.shown = sys.stderr.isatty()

    def step(self) -> None:
        self.done += 1
        if not self.shown:
            return
        rate = self.done / (time.perf_counter() - self.start)
        filled = self.WIDTH * min(self.done, self.total) // self.total if self.total else 0
        bar = "#" * filled + "." * (self.WIDTH - filled)
        print(f"\r[{bar}] {self.done}/{self.total or '?'} {rate:6.1f} images/s", end="", file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        """Print a line without breaking the bar."""
        print(("\r\033[K" if self.shown else "") + message, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print(file=sys.stderr)


def run(arguments: Optional[Sequence[str]] = None) -> int:
    """Parse, run, and turn what the user can put right into one sentence."""
    args = parser().parse_args(arguments)
    try:
        return main(args)
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        return CANNOT_START
    except KeyboardInterrupt:
        return 130
