"""Pack trained weights to be given away: half precision, with all that is needed to use them.

python -m paddle_rtseg.release --config C.yml --model_path W.pdparams --save NAME.safetensors \\
    --note miou=57.9 --note terms=CC-BY-NC-4.0
"""

import argparse
import json
import os

from paddle_rtseg.tools import arguments


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m paddle_rtseg.release", description=__doc__.splitlines()[0])
    arguments.add_common(p)
    arguments.add_weights(p, required=True)
    p.add_argument("--save", required=True, metavar="FILE.safetensors")
    p.add_argument("--note", action="append", default=[], metavar="KEY=TEXT", help="more metadata, such as terms")
    return p


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.config import Builder, load_config, load_model
    from paddle_rtseg.errors import InputError
    from paddle_rtseg.files import sha256
    from paddle_rtseg.weights import released, save_state

    config = load_config(args.config, opts=args.opts)
    network = load_model(config, args.model_path)  # the weights are those of this config
    model = {key: value for key, value in config.dic["model"].items() if key != "pretrained"}
    classes = getattr(Builder(config).train_dataset_class, "NUM_CLASSES", None)  # of a named dataset
    dataset = config.val_dataset_cfg
    metadata = {
        "model": model.pop("type"),
        "arguments": json.dumps({"num_classes": classes, **model}),
        "dataset": dataset["type"],
        "transforms": json.dumps(dataset.get("transforms") or []),
        "config": os.path.basename(args.config),
    }
    for note in args.note:
        key, equals, text = note.partition("=")
        if not equals or key in metadata:
            raise InputError(f"expected --note KEY=TEXT with a key of its own, got {note!r}; correct it")
        metadata[key] = text
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_state(released.halve(state), args.save, metadata)
    print(f"{args.save}: {os.path.getsize(args.save) / 1e6:.1f} MB, sha256 {sha256(args.save)}")


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
