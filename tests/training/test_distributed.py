"""Training in two processes gives what one process gives with twice the batch.

Each process runs this file as a program. ``python test_distributed.py train ARGUMENTS`` is ``paddleseg.train``;
``python test_distributed.py CONFIG SAVE_DIR ITERS ...`` trains into SAVE_DIR with fixed BatchNorm statistics, so that
the number of processes makes no difference. It stops after each of ITERS and resumes. At last it trains with each
process's own statistics, into SAVE_DIR/own, and into SAVE_DIR/unpatched without the patch that evaluates one
network in all processes.
"""

import csv
import json
import pathlib
import sys
import types

import numpy as np
import paddle
import persons
import pytest
from comparing import assert_states_close, load_arrays
from paddleseg.core import evaluate, train
from paddleseg.utils import utils
from processes import HELPERS, python
from tiny_configs import run_command, tiny_config, write_config

from paddle_rtseg.compat.patches import PATCHES
from paddle_rtseg.config import Builder, load_config
from paddle_rtseg.errors import InputError
from paddle_rtseg.training import checkpoints, hooks, poses

pytestmark = pytest.mark.slow


def command(config, save_dir, iters):
    """``python -m paddleseg.train``."""
    arguments = ["--config", config, "--save_dir", save_dir, "--iters", iters, "--device", "cpu", "--seed", "1"]
    run_command("train", *arguments, "--save_interval", "2", "--do_eval", "--resume_model", "auto")


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
    (patch,) = (patch for patch in PATCHES if patch.name == "same BatchNorm statistics in evaluation")
    assert patch.undo()
    command(config, f"{save_dir}/unpatched", "2")


if __name__ == "__main__":
    run_command(*sys.argv[1:]) if sys.argv[1] == "train" else main(*sys.argv[1:])


@pytest.fixture(scope="module")
def configs(tiny_images, tmp_path_factory):
    """Configs of batch 2 and of batch 4. Two processes cannot share the seven images of the evaluation evenly."""
    folder = tmp_path_factory.mktemp("distributed")
    lines = pathlib.Path(tiny_images, "list.txt").read_text().splitlines(keepends=True)
    (folder / "seven.txt").write_text("".join(lines[1:]))
    paths = {}
    for batch_size in (2, 4):
        content = tiny_config(
            tiny_images,
            batch_size=batch_size,
            iters=5,
            transforms=[{"type": "RandomHorizontalFlip"}, {"type": "RandomDistort"}, {"type": "Normalize"}],
            optimizer={"type": "SGD", "momentum": 0.9},
            lr_scheduler={"type": "StepDecay", "learning_rate": 1e-4, "step_size": 2},
        )
        content["val_dataset"].update(val_path=str(folder / "seven.txt"), transforms=[{"type": "Normalize"}])
        content["model"]["drop_path_rate"] = 0.0  # each process draws its own
        paths[batch_size] = write_config(folder / f"batch{batch_size}.yml", content)
    return paths


@pytest.fixture(scope="module")
def one(configs, tmp_path_factory):
    """The folder in which one process has trained, with batch 4."""
    folder = tmp_path_factory.mktemp("one")
    python(__file__, configs[4], folder, 5, check=True, **HELPERS)
    return folder


@pytest.fixture(scope="module")
def two(configs, tmp_path_factory):
    """The folder in which two processes have trained, with batch 2 each, and have resumed once."""
    folder = tmp_path_factory.mktemp("two")
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--devices", "", "--log_dir", folder / "log"]
    python(*launch, __file__, configs[2], folder, 3, 5, check=True, **HELPERS)
    return folder


def test_processes_share_the_persons_of_an_evaluation(tmp_path):
    """Seven persons in two processes: the scores are those of the checkpoint in one."""
    folder = persons.write(tmp_path, train=8, val=7)
    path = write_config(tmp_path / "pose.yml", persons.config(folder, batch_size=2, iters=1))
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--devices", "", "--log_dir", tmp_path / "log"]
    arguments = ["--config", path, "--save_dir", tmp_path / "out", "--device", "cpu", "--do_eval", "--seed", 1]
    python(*launch, __file__, "train", *arguments, check=True, **HELPERS)
    with open(tmp_path / "out" / "evaluation" / "results.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    builder = Builder(load_config(path))
    builder.model.set_state_dict(paddle.load(str(tmp_path / "out" / "iter_1" / "model.pdparams")))
    first, second, each, _, _ = poses.evaluate(builder.model, builder.val_dataset)
    found = [float(row[name]) for name in ("pck_0.1", "pck_0.05", *persons.SKELETON["names"])]
    np.testing.assert_allclose(found, [first, second, *each], atol=1e-6)


def losses(folder, rank):
    return np.array(json.loads((folder / f"losses_{rank}.json").read_text()))


def test_losses(one, two):
    first, second = losses(two, 0), losses(two, 1)
    assert len(first) == len(losses(one, 0)) == 5
    assert not np.isclose(first, second, rtol=1e-5).any()  # the processes saw different images
    np.testing.assert_allclose((first + second) / 2, losses(one, 0), rtol=1e-5)


def test_trained_parameters(one, two):
    a, b = (load_arrays(folder / "iter_5" / "model.pdparams") for folder in (one, two))
    assert_states_close(a, b, atol=1e-5)


def test_checkpoints(two):
    assert sorted(p.name for p in two.glob("*iter_*")) == ["iter_2", "iter_3", "iter_4", "iter_5"]
    for path in two.glob("iter_*"):
        checkpoints.check_complete(str(path))


def test_score_is_that_of_the_checkpoint(configs, two):
    builder = Builder(load_config(configs[2]))

    def scores(folder):
        """The score that the run kept, and the checkpoint's."""
        builder.model.set_state_dict(paddle.load(str(folder / "best_model" / "model.pdparams")))
        score, iteration = checkpoints.best_score(str(folder), "best_model", "iter_2")
        assert iteration == 2
        return score, evaluate(builder.model, builder.val_dataset, print_detail=False)[0]

    kept, expected = scores(two / "own")
    assert kept == pytest.approx(expected, abs=1e-4)
    kept, expected = scores(two / "unpatched")
    assert abs(kept - expected) > 1e-3


def test_resuming_from_different_iterations(monkeypatch):
    monkeypatch.setattr(paddle.distributed, "all_gather", lambda starts, start: starts.extend([start, start * 0]))
    with pytest.raises(InputError, match=r"same iteration, got \[2, 0\]; put --save_dir"):
        hooks.count_batches(types.SimpleNamespace(nranks=2), start_iter=2, iters=4)
