"""The command line: segment an image, a folder, a video or a camera with an exported model."""

import argparse
import contextlib
import itertools
from typing import Iterator, List, Optional, Sequence, Tuple, Type, Union

import cv2
import numpy as np

from . import pose_cli, program
from .arguments import (
    MOST_BATCH,
    MOST_FRAMES,
    MOST_MOTION,
    MOST_THREADS,
    MOST_TILE,
    Parser,
    share,
    tile_size,
    whole_number,
)
from .configuration import AUTO, BACKENDS, PROVIDERS
from .contract import POSE, PRECISIONS, Contract, read_contract
from .drawing import BACKGROUND, Style, clear_class
from .errors import InputError, first_line, listed, quote
from .files import Array, check_folder
from .held_matching import check_hold
from .loaded_model import LoadedModel, Timings
from .media import IMAGE_KINDS, KINDS, Frame, Source, Writer, open_source, prefetched
from .pose_predictor import SHOWN, PosePredictor
from .predictor import Predictor, Result
from .preprocess import Preprocessor
from .progress import ALL_WRITTEN, Progress
from .selection import Kind, fastest_of, predictor_for
from .tiling import FITS, Fit, Tiles, choose_fit
from .video import CHANGE, MOTION, Clip, check_steady

VIDEO_FLAGS = ("steady", "motion", "hold_matching", "hold_change")
SEGMENTATION_FLAGS = ("alpha", "no_legend", "outlines", "clear", "tile", "overlap", "fit", *VIDEO_FLAGS)
POSE_FLAGS = ("boxes", "category", "box_score", "keypoint_score")
Segmenter = Union[Predictor, Tiles, Clip]
FAILURES = (InputError, cv2.error, MemoryError)  #: of one image; the others may go on
DESCRIPTION = """Segment an image, the images of a folder and the folders below it, a video or a camera with an exported
model, or find the keypoints of persons there. The model is first checked against its golden output."""
EPILOG = (
    "Exit status: 0 all written, 1 some images failed, 2 nothing could be done, 130 stopped by Ctrl-C, 143 by SIGTERM."
)


def parser(
    prog: str = "python -m rtseg_inference", model: str = "exported model, a folder with deploy.yaml"
) -> argparse.ArgumentParser:
    p = Parser(prog=prog, description=DESCRIPTION, epilog=EPILOG)
    p.add_argument("--model", required=True, help=model)
    p.add_argument("--input", help="image, folder, video, camera or camera:N (default: none, the same as --verify)")
    p.add_argument("--save_dir", default="./output/inference", help="folder to write (default ./output/inference)")
    p.add_argument(
        "--write",
        nargs="+",
        default=list(IMAGE_KINDS),
        metavar="KIND",
        help="masks, overlays, json (areas of the classes) or coco (all masks in one file) (default masks,overlays)",
    )
    p.add_argument(
        "--alpha",
        type=share,
        default=0.5,
        metavar="A",
        help="opacity of the classes in overlays, from 0 to 1 (default 0.5)",
    )
    p.add_argument("--outlines", action="store_true", help="draw lines between the classes in overlays")
    p.add_argument(
        "--clear",
        default=BACKGROUND[0],
        metavar="NAME",
        help="class that is not coloured in overlays; '' for none (default background, if there is such a class)",
    )
    p.add_argument("--no_legend", action="store_true", help="overlays without the names of the classes")
    p.add_argument("--device", choices=list(BACKENDS), default="cpu", help="cpu or gpu (default cpu)")
    p.add_argument(
        "--backend",
        choices=[AUTO, *sorted({backend for backends in BACKENDS.values() for backend in backends})],
        default=AUTO,
        help="auto is the fastest that reproduces the model's golden output (default auto)",
    )
    p.add_argument(
        "--precision",
        choices=[AUTO, *PRECISIONS],
        default=AUTO,
        help="auto is fp32, and on a GPU with --backend auto the fastest of fp32, tf32 and fp16; int8 is for models "
        "exported with it (default auto)",
    )
    p.add_argument(
        "--threads",
        type=whole_number(0, MOST_THREADS),
        default=0,
        metavar="N",
        help="processor threads; 0 is OMP_NUM_THREADS, or every core that the process may use (default 0)",
    )
    p.add_argument(
        "--provider",
        choices=list(PROVIDERS),
        help="what ONNX Runtime runs the network with on a GPU, with --backend onnxruntime (default cuda)",
    )
    p.add_argument(
        "--strict",
        action="store_true",
        help="with ONNX Runtime on a GPU, refuse a network with operators that run on the processor",
    )
    p.add_argument(
        "--batch_size",
        type=whole_number(1, MOST_BATCH),
        default=1,
        metavar="N",
        help="images of one size per batch, or persons with a model for poses (default 1)",
    )
    p.add_argument(
        "--boxes",
        metavar="FILE",
        help="with a model for poses, the boxes of persons: JSON of COCO's annotations or results, or "
        "PaddleDetection's bbox.json (default each image is one person)",
    )
    p.add_argument(
        "--category",
        type=whole_number(),
        metavar="ID",
        help="with --boxes of several categories, the one to take (default the only one)",
    )
    p.add_argument(
        "--box_score",
        type=share,
        default=0.3,
        metavar="S",
        help="with --boxes, leave out those with a lower score (default 0.3)",
    )
    p.add_argument(
        "--keypoint_score",
        type=share,
        default=SHOWN,
        metavar="S",
        help="with a model for poses, draw keypoints with a higher score (default 0.3)",
    )
    p.add_argument(
        "--tile",
        type=tile_size,
        metavar="HxW",
        help="segment in tiles of that height and width, such as 512x1024, and blend them where they overlap "
        "(default: no tiles)",
    )
    p.add_argument(
        "--overlap",
        type=whole_number(0, MOST_TILE),
        metavar="N",
        help="pixels that tiles share, less than half a tile (default: 64, or a quarter of a small tile)",
    )
    p.add_argument(
        "--fit",
        default=FITS[0],
        metavar="RULE",
        help="how a model for images of one size takes others: tile segments in tiles of that size, padded where the "
        "image is smaller; resize resizes them to it (default tile)",
    )
    p.add_argument(
        "--steady",
        type=whole_number(1, MOST_FRAMES),
        default=1,
        metavar="N",
        help="with a video, average the network's outputs over up to N frames where the picture stands still "
        "(default 1)",
    )
    p.add_argument(
        "--motion",
        type=whole_number(0, MOST_MOTION),
        default=MOTION,
        metavar="G",
        help=f"with a video, the picture moves where it changes by more than G of 255 grey levels (default {MOTION})",
    )
    p.add_argument(
        "--hold_matching",
        type=whole_number(1, MOST_FRAMES),
        default=1,
        metavar="N",
        help="with a video and a network that matches tokens, use a matching for up to N frames; needs --backend "
        "onnxruntime (default 1)",
    )
    p.add_argument(
        "--hold_change",
        type=share,
        default=CHANGE,
        metavar="S",
        help="with --hold_matching, match again once more than this share of the picture moved (default 0.5)",
    )
    p.add_argument("--max_frames", type=whole_number(1), metavar="N", help="stop after N images (default: all)")
    p.add_argument("--verify", action="store_true", help="only check the model against its golden output")
    return p


def main(args: argparse.Namespace) -> int:
    """Run the command and return its exit status.

    Raises:
        InputError: nothing can be done at all.
    """
    kinds = written_kinds(args.write)
    contract = read_contract(args.model)
    refuse_flags(args, kinds, contract)
    if args.verify or args.input is None:
        choose(args, None, predictor_for(contract))
        return ALL_WRITTEN
    source = open_source(args.input, args.save_dir)
    if contract.task == POSE:
        return poses(args, kinds, source)
    if "coco" in kinds and source.fps is not None:
        raise InputError("expected images with --write coco, got a video or camera; extract frames, or write json")
    refuse_video_flags(args, source)
    style = chosen_style(args, contract)
    preprocess = Preprocessor(contract)
    fit = chosen_fit(args, preprocess)
    if args.steady > 1:
        check_steady(contract, fit.tile is not None)
    if args.hold_matching > 1:
        check_hold(fit.tile is not None, args.device, args.backend)
    check_folder(args.save_dir)
    predictor, frames = start(args, preprocess, fit, iter(source))
    check_batch(predictor, args.batch_size)
    of_images = fit.applied(predictor, args.batch_size, with_confidence="json" in kinds)
    segmenter: Segmenter = of_images
    if source.fps is not None:
        segmenter = Clip(of_images, args.steady, args.motion, args.hold_matching, args.hold_change)
    if str(fit):
        print(fit)
    progress = Progress(min(len(source), args.max_frames or len(source)))
    frames = prefetched(itertools.islice(frames, args.max_frames))
    with contextlib.closing(frames), Writer(args.save_dir, kinds, source.fps, style) as writer:
        return segment(segmenter, frames, writer, group_size(args), progress, source.not_taken)


def refuse_flags(args: argparse.Namespace, kinds: Sequence[str], contract: Contract) -> None:
    """Raise :class:`.InputError` if something is asked for that only a model of the other kind does."""
    others, what = (SEGMENTATION_FLAGS, "segmentation") if contract.task == POSE else (POSE_FLAGS, "poses")
    for flag in given(args, others):
        raise InputError(f"expected --{flag} with a model for {what} only, got one for another task; leave it out")
    if contract.task == POSE and not set(kinds) <= set(IMAGE_KINDS):
        raise InputError(f"expected --write overlays with a model for poses, got {','.join(kinds)}; correct it")


def refuse_video_flags(args: argparse.Namespace, source: Source) -> None:
    """Raise :class:`.InputError` if something is asked for that only a video can have."""
    for flag in given(args, VIDEO_FLAGS):
        if source.fps is None:
            raise InputError(f"expected a video or camera with --{flag}, got images; leave it out")


def given(args: argparse.Namespace, flags: Sequence[str]) -> List[str]:
    """Those of the flags whose value is not the default."""
    usual = parser()
    return [flag for flag in flags if getattr(args, flag) != usual.get_default(flag)]


def poses(args: argparse.Namespace, kinds: List[str], source: Source) -> int:
    """Find the keypoints of persons, and return the exit status."""
    plan = pose_cli.Plan(args, source)
    check_folder(args.save_dir)
    predictor = choose(args, None, PosePredictor)
    check_batch(predictor, args.batch_size)
    progress = Progress(min(len(source), args.max_frames or len(source)))
    frames = prefetched(itertools.islice(iter(source), args.max_frames))
    with contextlib.closing(frames), Writer(args.save_dir, kinds, source.fps) as writer:
        status, timings = pose_cli.estimate(predictor, frames, writer, plan, args, progress, source.not_taken)
    if timings:
        print(report(timings))
    return status


def chosen_style(args: argparse.Namespace, contract: Contract) -> Style:
    """How overlays look.

    Raises:
        InputError: ``--clear`` is a name that no class has.
    """
    clear_class(contract.classes, args.clear)
    return Style(args.alpha, not args.no_legend, args.outlines, args.clear)


def chosen_fit(args: argparse.Namespace, preprocess: Preprocessor) -> Fit:
    """How images are brought to the sizes that the model takes; raises :class:`.InputError` as :func:`.choose_fit`."""
    return choose_fit(preprocess, args.tile, args.overlap, args.fit)


def group_size(args: argparse.Namespace) -> int:
    """How many images are segmented together; of large ones, for which tiles are asked, one waits at a time."""
    return 1 if args.tile else int(args.batch_size)


def start(
    args: argparse.Namespace, preprocess: Preprocessor, fit: Fit, frames: Iterator[Frame]
) -> Tuple[Predictor, Iterator[Frame]]:
    """The requested predictor, chosen on the first readable image if the model takes it, and all frames."""
    first = list(take_until_readable(frames))
    parts = [fit.part_of(f.image) for f in first if f.image is not None]
    sample = next((part for part in parts if takes(preprocess, part)), None)
    chosen = choose(args, sample, Predictor)
    return chosen, itertools.chain(iter(first), frames)  # an iterator keeps no frame that has passed


def check_batch(predictor: LoadedModel, size: int) -> None:
    """Raise :class:`.InputError` if the model takes no batch of that size."""
    most = predictor.preprocess.shape.max[0]
    if 0 < most < size:
        raise InputError(f"expected --batch_size of at most {most}, the model's largest batch, got {size}; lower it")


def written_kinds(words: Sequence[str]) -> List[str]:
    """What ``--write`` asks for, in the forms ``masks,overlays`` and ``masks overlays``."""
    kinds = [kind for word in words for kind in word.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"expected --write {', '.join(KINDS[:-1])} or {KINDS[-1]}, got '{kind}'")
    return kinds


def take_until_readable(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames up to and including the first that has an image."""
    for frame in frames:
        yield frame
        if frame.image is not None:
            return


def takes(preprocess: Preprocessor, image: Array) -> bool:
    """Whether the model accepts an image of this size."""
    try:
        preprocess.input_shape([image])
    except FAILURES:
        return False
    return True


def choose(args: argparse.Namespace, sample: Optional[Array], kind: Type[Kind]) -> Kind:
    """The requested predictor, checked against the golden output."""
    if args.backend == AUTO:
        if args.provider is not None:
            raise InputError(f"expected --backend onnxruntime with --provider {args.provider}, got 'auto'; add it")
        predictor, trials = fastest_of(kind, args.model, args.device, args.precision, args.threads, sample, args.strict)
        for trial in trials:
            print(trial)
        print(f"using {predictor.configuration}{on_processor(predictor)}")
        return predictor
    precision = "fp32" if args.precision == AUTO else args.precision
    predictor = kind(args.model, args.device, args.backend, precision, args.threads, args.provider, args.strict)
    verification = predictor.verify()
    if not verification.passed:
        raise InputError(
            f"{predictor.configuration} does not reproduce the model's golden output ({verification}); use another "
            "--backend or --precision"
        )
    print(f"using {predictor.configuration} ({verification}){on_processor(predictor)}")
    return predictor


def on_processor(predictor: LoadedModel) -> str:
    """The operators that run on the processor although a GPU was asked for; empty if none is known to."""
    names = getattr(predictor.runtime, "on_processor", [])
    return f"; on the processor: {listed(names)}" if names else ""


def segment(
    predictor: Segmenter,
    frames: Iterator[Frame],
    writer: Writer,
    batch_size: int,
    progress: Progress,
    not_taken: str = "",
) -> int:
    """Segment all frames and write the results; frames that fail are reported and skipped.

    Returns:
        The exit status.
    """
    timings: List[Tuple[Timings, int]] = []
    interrupted = False
    try:
        for group in batches(frames, batch_size):
            for frame, outcome in predict(predictor, group):
                if isinstance(outcome, str):
                    progress.skipped(frame.name, outcome)
                else:
                    writer.write(frame.name, outcome, frame.file)
                    timings.append((outcome.timings, len(group)))
                    progress.wrote()
            del frame, outcome
            group.clear()  # the images, before the next are decoded
    except KeyboardInterrupt:  # what has been segmented is still written
        program.stopping()
        progress.say("stopped")
        interrupted = True
    status = progress.close(writer.folder, not_taken)
    if isinstance(predictor, Clip) and str(predictor.flicker):
        print(predictor.flicker)
    if isinstance(predictor, Clip) and predictor.matched:
        print(f"matched tokens in {predictor.matched} of {len(timings)} frames")
    if timings:
        print(report(timings))
    return program.INTERRUPTED if interrupted else status


def batches(frames: Iterator[Frame], size: int) -> Iterator[List[Frame]]:
    """Lists of up to ``size`` frames whose images have one shape; a frame without an image comes alone."""
    group: List[Frame] = []
    for frame in frames:
        shape = None if frame.image is None else frame.image.shape
        if group and shape != getattr(group[0].image, "shape", None):
            yield group
            group = []
        group.append(frame)
        del frame
        if len(group) == size or shape is None:
            yield group
            group = []
    if group:
        yield group


def predict(predictor: Segmenter, group: Sequence[Frame]) -> List[Tuple[Frame, Union[Result, str]]]:
    """Each frame with its result, or with the reason why there is none."""
    images = [frame.image for frame in group if frame.image is not None]
    if not images:
        return [(frame, str(frame.error)) for frame in group]
    try:
        results = predictor.predict(images)
        assert isinstance(results, list) and len(results) == len(group)
        return list(zip(group, results))
    except FAILURES as e:
        reason = str(e) if isinstance(e, InputError) else f"cannot be segmented ({quote(first_line(e))}); shrink it"
        return [(frame, reason) for frame in group]


def report(timings: Sequence[Tuple[Timings, int]]) -> str:
    """Percentiles of the milliseconds per image."""
    lines = ["ms per image     p50      p90      p99"]
    for part in ("pre", "run", "post"):
        values = [getattr(t, part) / n for t, n in timings]
        lines.append(f"{part:12s}" + "".join(f"{p:9.2f}" for p in np.percentile(values, (50, 90, 99))))
    return "\n".join(lines)


def run(arguments: Optional[Sequence[str]] = None) -> int:
    """Parse the arguments and run; print errors that the user can fix in one line."""
    args = parser().parse_args(arguments)
    return program.run(lambda: main(args))
