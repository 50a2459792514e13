"""PaddleSeg's own deploy/python/infer.py and this package's predictor, timed alternately from image file to mask.

Unmodified, infer.py does not run on Paddle 3.3: memory optimisation needs the new executor there, and oneDNN fails
unless a pass is deleted. Here it gets both fixes, oneDNN and all cores, which are its best working options. It runs in
a separate process, so that it does not benefit from this package's process settings. Our predictors use the fastest
backend on this machine.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import statistics
from types import SimpleNamespace
from typing import Sequence

from rtseg_inference import environment, processor
from rtseg_inference.contract import read_contract
from rtseg_inference.images import read_image

from ..errors import InputError
from ..weights.limits import quote


def compare_infer(infer: str, theirs: str, ours: Sequence[str], image: str, turns: int = 21) -> None:
    """Time both, and print the medians and the agreement of the masks.

    Args:
        infer: infer.py in a PaddleSeg clone.
        theirs: exported model for infer.py, with argmax.
        ours: exported models for this package; FOLDER:bf16 runs in bfloat16.
        image: the image file.
        turns: measurements per predictor.

    Raises:
        InputError: a file is missing, this processor does not compute in a precision of ``ours``, a model is damaged,
            or infer.py fails.
    """
    models = [text.partition(":") for text in ours]
    for _, _, precision in models:
        processor.require(precision)
    _check_files(infer, theirs, image)
    for folder, _, _ in models:
        read_contract(folder)
    cores = str(environment.usable_cores())
    os.environ.update(OMP_NUM_THREADS=cores, FLAGS_paddle_num_threads=cores)
    spawn = multiprocessing.get_context("spawn")
    connection, end = spawn.Pipe()
    spawn.Process(target=serve, args=(end, infer, theirs, image), daemon=True).start()  # it ends with this one
    end.close()  # so that each process gets an end of file if the other one dies
    environment.configure()

    from rtseg_inference.selection import fastest

    from .timing import measure

    def ask():
        with contextlib.suppress(OSError):  # it ended, but may have said why
            connection.send(True)
        try:
            mask = connection.recv()
        except (EOFError, OSError):
            mask = "its process ended"
        if isinstance(mask, str):
            raise InputError(f"expected a mask from {infer!r}, got an error: {mask}; try it alone")
        return mask

    runs = {"PaddleSeg's infer.py": ask}
    mask = ask()
    for text in ours:
        folder, _, precision = text.partition(":")
        predictor, _ = fastest(folder, precision=precision or "fp32")
        runs[f"{text}, {predictor.configuration}"] = lambda predictor=predictor: predictor.predict(image)
        agreement = 100 * (mask == predictor.predict(image).mask).mean()
        print(f"{text}: the mask agrees with infer.py's in {agreement:.3f} % of the pixels")
    times = {name: statistics.median(taken) for name, taken in measure(runs, turns).items()}
    first = next(iter(times.values()))
    for name, milliseconds in times.items():
        print(f"{name}: {milliseconds:.1f} ms, {first / milliseconds:.2f} times as fast")
    connection.send(False)


def serve(connection, infer: str, folder: str, image: str) -> None:
    """Send the mask for each True received, until False; what went wrong, as text, is sent instead of a mask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to both processes; the other one ends this
    try:
        theirs = their_predictor(infer, folder)
        while connection.recv():
            connection.send(their_mask(theirs, image))
    except EOFError:  # the other process ended
        pass
    except Exception as e:  # of a program that is not ours
        connection.send(f"{type(e).__name__} {quote(e)}")


def _check_files(infer: str, theirs: str, image: str) -> None:
    for name, path in (("infer.py", infer), ("deploy.yaml", os.path.join(theirs, "deploy.yaml"))):
        if not os.path.isfile(path) or not path.endswith(os.path.splitext(name)[1]):
            raise InputError(f"expected a file {name}, got {path!r}, which is none; check --infer and --theirs")
    read_image(image)


def their_predictor(path: str, folder: str):
    """The Predictor of infer.py with oneDNN, on all cores of this machine."""
    spec = importlib.util.spec_from_file_location("infer", path)
    infer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(infer)
    make = infer.create_predictor

    def create_predictor(config):
        if config.prog_file().endswith(".json"):
            config.enable_new_executor()
            config.delete_pass("onednn_placement_pass")
        return make(config)

    infer.create_predictor = create_predictor
    threads = environment.usable_cores()
    arguments = {"cfg": f"{folder}/deploy.yaml", "device": "cpu", "cpu_threads": threads, "enable_mkldnn": True}
    return infer.Predictor(SimpleNamespace(**arguments, print_detail=False, with_argmax=False, benchmark=False))


def their_mask(theirs, image: str):
    """infer.py's steps for one image, except drawing: (H, W) class ids."""
    predictor = theirs.predictor
    batch = theirs._preprocess(image)[None]
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    source.reshape(batch.shape)
    source.copy_from_cpu(batch)
    predictor.run()
    output = predictor.get_output_handle(predictor.get_output_names()[0])
    return theirs._postprocess(output.copy_to_cpu())[0]
