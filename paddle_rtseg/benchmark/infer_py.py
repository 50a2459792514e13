"""From image file to mask: PaddleSeg's own deploy/python/infer.py beside this package's predictor, in turns.

    python -m paddle_rtseg.benchmark.infer_py --infer PaddleSeg/deploy/python/infer.py --image FILE \
        --theirs DIR --ours DIR ...

DIR are folders that ``python -m paddleseg.export`` wrote; DIR:bf16 is run in bfloat16. infer.py as it is does not run
on Paddle 3.3, whose memory optimisation needs the new executor and whose oneDNN fails unless a pass is left out; here
it gets both, and oneDNN and all cores, which are its best working options. It has a process of its own, so that
nothing this package does to a process helps it. Each of ours runs on the backend that is the fastest here.
"""

import argparse
import importlib.util
import multiprocessing
import os
import statistics
from types import SimpleNamespace

from rtseg_inference import environment


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--infer", required=True, metavar="FILE", help="infer.py in a clone of PaddleSeg")
    p.add_argument("--theirs", required=True, metavar="DIR", help="network for infer.py, exported with its argmax")
    p.add_argument("--ours", required=True, nargs="+", metavar="DIR[:bf16]", help="networks for this package")
    p.add_argument("--image", required=True)
    p.add_argument("--turns", type=int, default=21)
    args = p.parse_args()
    cores = str(environment.usable_cores())
    os.environ.update(OMP_NUM_THREADS=cores, FLAGS_paddle_num_threads=cores)
    spawn = multiprocessing.get_context("spawn")
    theirs, end = spawn.Pipe()
    spawn.Process(target=serve, args=(end, args.infer, args.theirs, args.image)).start()
    end.close()  # whatever ends that process is then an end of file here, and the other way round
    environment.configure()

    from rtseg_inference.selection import fastest

    from paddle_rtseg.benchmark.timing import measure

    def ask():
        theirs.send(True)
        return theirs.recv()

    runs = {"PaddleSeg's infer.py": ask}
    mask = ask()
    for text in args.ours:
        folder, _, precision = text.partition(":")
        predictor, _ = fastest(folder, precision=precision or "fp32")
        runs[f"{text}, {predictor.configuration}"] = lambda predictor=predictor: predictor.predict(args.image)
        agreement = 100 * (mask == predictor.predict(args.image).mask).mean()
        print(f"{text}: the mask agrees with infer.py's in {agreement:.3f} % of the pixels")
    times = {name: statistics.median(taken) for name, taken in measure(runs, args.turns).items()}
    first = next(iter(times.values()))
    for name, milliseconds in times.items():
        print(f"{name}: {milliseconds:.1f} ms, {first / milliseconds:.2f} times as fast")
    theirs.send(False)


def serve(connection, infer: str, folder: str, image: str) -> None:
    """Answer each True with the mask, until False."""
    theirs = their_predictor(infer, folder)
    while connection.recv():
        connection.send(their_mask(theirs, image))


def their_predictor(path: str, folder: str):
    """The Predictor of infer.py on this machine's cores, with oneDNN."""
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
    """What infer.py does with one image, but for the drawing: (H, W) class ids."""
    predictor = theirs.predictor
    batch = theirs._preprocess(image)[None]
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    source.reshape(batch.shape)
    source.copy_from_cpu(batch)
    predictor.run()
    output = predictor.get_output_handle(predictor.get_output_names()[0])
    return theirs._postprocess(output.copy_to_cpu())[0]


if __name__ == "__main__":
    main()
