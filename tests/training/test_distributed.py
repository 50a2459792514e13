"""Training in two processes is training in one with twice the batch.

Also the program that each process runs: ``python test_distributed.py CONFIG SAVE_DIR ITERS ...`` trains, for each ITERS
in turn, into SAVE_DIR with fixed BatchNorm statistics, so that the number of processes makes no difference, resuming
what is there; and last into SAVE_DIR/own with statistics of each process's own.
"""

import json
import pathlib
import subprocess
import sys
import types

import numpy as np
import paddle
import pytest
import yaml
from paddleseg.core import evaluate, train
from paddleseg.utils import utils

from paddle_rtseg.config import Builder, load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.training import checkpoints, hooks


def command(config, save_dir, iters):
    """``python -m paddleseg.train``, in a process that may have trained before."""
    from paddle_rtseg.tools import train as tool

    arguments = ["--config", config, "--save_dir", save_dir, "--iters", iters, "--device", "cpu", "--seed", "1"]
    arguments += ["--save_interval", "2", "--do_eval", "--resume_model", "auto"]
    with paddle.utils.unique_name.guard():
        tool.main(tool.parser().parse_args(arguments))


def main(config, save_dir, *stops):
    losses, compute = [], train.__globals__["loss_computation"]

    def loss_computation(*args, **kwargs):
        parts = compute(*args, **kwargs)
        losses.append(float(sum(parts)))
        return parts

    def fix_statistics(model, device):
        for layer in model.sublayers():
            if isinstance(layer, paddle.nn.BatchNorm2D):
                layer._use_global_stats = True
        return model

    train.__globals__["loss_computation"] = loss_computation
    convert, utils.convert_sync_batchnorm = utils.convert_sync_batchnorm, fix_statistics
    for iters in stops:
        command(config, save_dir, iters)
    rank = paddle.distributed.get_rank()
    pathlib.Path(f"{save_dir}/losses_{rank}.json").write_text(json.dumps(losses))
    utils.convert_sync_batchnorm = convert
    command(config, f"{save_dir}/own", "2")


if __name__ == "__main__":
    main(*sys.argv[1:])


@pytest.fixture(scope="module")
def configs(tiny_images, tmp_path_factory):
    """Configs of batch 2 and of batch 4; seven images are evaluated, which two processes cannot share evenly."""
    folder = tmp_path_factory.mktemp("distributed")
    lines = pathlib.Path(tiny_images, "list.txt").read_text().splitlines(keepends=True)
    (folder / "seven.txt").write_text("".join(lines[1:]))
    dataset = {"type": "Dataset", "dataset_root": tiny_images, "num_classes": 4}
    transforms = [{"type": "RandomHorizontalFlip"}, {"type": "RandomDistort"}, {"type": "Normalize"}]
    content = {
        "iters": 5,
        "train_dataset": {**dataset, "mode": "train", "train_path": f"{tiny_images}/list.txt"},
        "val_dataset": {**dataset, "mode": "val", "val_path": str(folder / "seven.txt")},
        "model": {"type": "RTFormer_Slim", "layer_nums": [1, 1, 1], "base_channels": 8, "head_channels": 8},
        "optimizer": {"type": "SGD", "momentum": 0.9},
        "lr_scheduler": {"type": "StepDecay", "learning_rate": 1e-4, "step_size": 2},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 0.4]},
    }
    content["train_dataset"]["transforms"] = transforms
    content["val_dataset"]["transforms"] = transforms[-1:]
    content["model"]["drop_path_rate"] = 0.0  # each process draws its own
    paths = {}
    for batch_size in (2, 4):
        paths[batch_size] = str(folder / f"batch{batch_size}.yml")
        pathlib.Path(paths[batch_size]).write_text(yaml.safe_dump({"batch_size": batch_size, **content}))
    return paths


@pytest.fixture(scope="module")
def one(configs, tmp_path_factory):
    """The folder in which one process has trained, with batch 4."""
    folder = tmp_path_factory.mktemp("one")
    program = [sys.executable, __file__, configs[4], str(folder), "5"]
    subprocess.run(program, check=True)
    return folder


@pytest.fixture(scope="module")
def two(configs, tmp_path_factory):
    """The folder in which two processes have trained, with batch 2 each, and have resumed once."""
    folder = tmp_path_factory.mktemp("two")
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--devices", ""]
    launch += ["--log_dir", str(folder / "log")]
    subprocess.run([*launch, __file__, configs[2], str(folder), "3", "5"], check=True)
    return folder


def losses(folder, rank):
    return np.array(json.loads((folder / f"losses_{rank}.json").read_text()))


def state(path):
    return {key: np.asarray(value) for key, value in paddle.load(str(path)).items()}


def test_losses(one, two):
    first, second = losses(two, 0), losses(two, 1)
    assert len(first) == len(losses(one, 0)) == 5
    assert np.abs(first - second).min() > 0.01  # they have seen different images
    np.testing.assert_allclose((first + second) / 2, losses(one, 0), rtol=1e-5)


def test_trained_parameters(one, two):
    a, b = (state(folder / "iter_5" / "model.pdparams") for folder in (one, two))
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_checkpoints(two):
    assert sorted(p.name for p in two.glob("*iter_*")) == ["iter_2", "iter_3", "iter_4", "iter_5"]
    for path in two.glob("iter_*"):
        checkpoints.check_whole(str(path))


def test_score_is_that_of_the_checkpoint(configs, two):
    builder = Builder(load_config(configs[2]))
    model = builder.model
    model.set_state_dict(paddle.load(str(two / "own" / "best_model" / "model.pdparams")))
    expected = evaluate(model, builder.val_dataset, print_detail=False)[0]
    assert checkpoints.best_score(str(two / "own"), "best_model", "iter_2") == (pytest.approx(expected, abs=1e-4), 2)


def test_processes_that_resume_from_different_iterations(monkeypatch):
    monkeypatch.setattr(paddle.distributed, "all_gather", lambda starts, start: starts.extend([start, start * 0]))
    with pytest.raises(InputError, match=r"same iteration, got \[2, 0\]; put --save_dir"):
        hooks.count_batches(types.SimpleNamespace(nranks=2), start_iter=2, iters=4)
