"""Inputs of bulk jobs, what infer makes of them, and how the results of two runs are compared."""

import argparse
import json
import pathlib

import cv2
import numpy as np
from rtseg_inference import cli
from tiny_network import FRAMES

from paddle_rtseg.tools.bulk import parser

FLAGS = ("--backend", "onnxruntime", "--threads", "1")


def make_video(path, frames, size=(64, 48)):
    """A video of noise."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, size)
    pixels = np.random.RandomState(0)
    for _ in range(frames):
        writer.write(pixels.randint(0, 256, (size[1], size[0], 3), np.uint8))
    writer.release()


def make_images(folder, count):
    """``count`` street images, of which every fiftieth is cut short; returns ``folder``."""
    frames = sorted(FRAMES.glob("*.jpg"))
    for k in range(count):
        path = pathlib.Path(folder, f"cam{k % 2}", f"{k:04d}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        data = frames[k % len(frames)].read_bytes()
        path.write_bytes(data[: len(data) // 2] if k % 50 == 10 else data)
    return folder


def arguments(model, source, save_dir, *more) -> argparse.Namespace:
    """The parsed command line of a bulk job."""
    return parser().parse_args(["--model", model, "--input", str(source), "--save_dir", str(save_dir), *FLAGS, *more])


def infer(model, source, save_dir, *more):
    """Run infer on the same."""
    return cli.run(["--model", model, "--input", str(source), "--save_dir", str(save_dir), *FLAGS, *more])


def results(folder):
    """The contents of all files by name, the job's own excepted."""
    files = sorted(pathlib.Path(folder).rglob("*"))
    names = {str(path.relative_to(folder)): path for path in files if path.is_file()}
    return {n: path.read_bytes() for n, path in names.items() if not n.startswith(".bulk") and n != "table.jsonl"}


def table(folder):
    """The rows of a table without the times."""
    lines = pathlib.Path(folder, "table.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "milliseconds"} for line in lines]


def times_of_records(folder):
    """When each record was written, in ns."""
    return {path.name: path.stat().st_mtime_ns for path in pathlib.Path(folder, ".bulk", "records").glob("*")}
