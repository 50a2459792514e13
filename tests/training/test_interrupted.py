"""A training run that is killed and resumed many times ends like one that was never stopped.

This file is also the program that kills: ``python test_interrupted.py CONFIG SAVE_DIR SEED KILLS`` sends SIGKILL to the
training command KILLS times, at moments drawn from SEED, and then lets it finish. Every attempt is a fork of this
process, which has only imported Paddle, because starting Python takes seconds.
"""

import os
import random
import signal
import sys
import time

import pytest
from comparing import assert_states_close, load_arrays, zip_strict
from paddleseg.core import train
from processes import HELPERS, python
from tiny_configs import tiny_config, write_config

from paddle_rtseg.tools import train as tool
from paddle_rtseg.training import checkpoints

pytestmark = pytest.mark.slow

ITERS, KILLS = 40, 10


def attempt(config, save_dir, steps):
    """Train in a fork of this process that writes a byte to ``steps`` in every iteration; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    compute = train.__globals__["loss_computation"]

    def loss_computation(*args, **kwargs):
        os.write(steps, b".")
        return compute(*args, **kwargs)

    train.__globals__["loss_computation"] = loss_computation
    arguments = ["--config", config, "--save_dir", save_dir, "--device", "cpu", "--seed", "1", "--do_eval", "--use_ema"]
    arguments += ["--save_interval", "3", "--resume_model", "auto", "--keep_checkpoint_max", "2"]
    tool.main(tool.parser().parse_args(arguments))
    os._exit(0)


def main(config, save_dir, seed, kills):
    moments = random.Random(int(seed))
    for _ in range(int(kills)):
        seen, steps = os.pipe()
        pid = attempt(config, save_dir, steps)
        os.close(steps)  # so that reading ends if the training does
        for _ in range(moments.randint(0, 8)):
            os.read(seen, 1)
        time.sleep(moments.uniform(0, 0.3))  # into that iteration, or the evaluation and the checkpoint after it
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        os.close(seen)
    pid = attempt(config, save_dir, os.open(os.devnull, os.O_WRONLY))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])


@pytest.fixture(scope="module")
def config(tiny_images, tmp_path_factory):
    """All that has state or is random: momenta, statistics, schedule, dropout, stochastic depth, augmentation."""
    transforms = [
        {"type": "RandomPaddingCrop", "crop_size": [48, 48]},
        {"type": "RandomHorizontalFlip"},
        {"type": "RandomDistort"},
        {"type": "Normalize"},
    ]
    warmup = {"warmup_iters": 10, "warmup_start_lr": 1e-5}
    content = tiny_config(
        tiny_images,
        batch_size=3,  # two batches in a pass, with two images left over
        iters=ITERS,
        transforms=transforms,
        optimizer={"type": "AdamW"},
        lr_scheduler={"type": "PolynomialDecay", "learning_rate": 0.002, "end_lr": 0, **warmup},
    )
    content["val_dataset"]["transforms"] = transforms[-1:]
    content["model"].update(drop_rate=0.1, drop_path_rate=0.2)
    return write_config(tmp_path_factory.mktemp("interrupted") / "config.yml", content)


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    """Folders of a run that was never stopped, and of the one that was killed ten times."""
    folders = [tmp_path_factory.mktemp(name) for name in ("alone", "killed")]
    one_thread = {"OMP_NUM_THREADS": "1", "FLAGS_paddle_num_threads": "1"}  # several may sum in any order
    for folder, kills in zip_strict(folders, (0, KILLS)):
        python(__file__, config, folder, 1, kills, check=True, **HELPERS, **one_thread)
    return folders


@pytest.mark.parametrize("name", ["model.pdparams", "ema_model.pdparams"])
def test_weights(runs, name):
    assert_states_close(*(load_arrays(folder / f"iter_{ITERS}" / name) for folder in runs))


@pytest.mark.parametrize("name", ["best_model", "ema_best_model"])
def test_scores(runs, name):
    alone, killed = (checkpoints.best_score(str(folder), name, "iter_1") for folder in runs)
    assert killed == pytest.approx(alone)


def test_no_files_are_left_over(runs):
    alone, killed = (sorted(path.name for path in folder.iterdir()) for folder in runs)
    assert killed == alone == ["best_model", "ema_best_model", "evaluation", "iter_39", "iter_40"]
