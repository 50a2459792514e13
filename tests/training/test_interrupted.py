"""A training that is killed again and again, and resumed, ends as the one that was left alone.

Also the program that does so: ``python test_interrupted.py CONFIG SAVE_DIR SEED KILLS`` kills the training command with
SIGKILL, KILLS times, at moments drawn from SEED, and at last lets it end. Every attempt is a fork of this process,
which has imported Paddle and done nothing else, because starting Python again takes seconds.
"""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import paddle
import pytest
import yaml
from paddleseg.core import train

from paddle_rtseg.tools import train as tool
from paddle_rtseg.training import checkpoints

ITERS, KILLS = 40, 10


def attempt(config, save_dir, steps):
    """Train in a fork of this process, which writes a byte to ``steps`` in every iteration; return its number."""
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
    """All that has a state or draws: momenta, statistics, a schedule, dropout, stochastic depth, augmentation."""
    dataset = {"type": "Dataset", "dataset_root": tiny_images, "num_classes": 4}
    transforms = [
        {"type": "RandomPaddingCrop", "crop_size": [48, 48]},
        {"type": "RandomHorizontalFlip"},
        {"type": "RandomDistort"},
        {"type": "Normalize"},
    ]
    model = {"type": "RTFormer_Slim", "layer_nums": [1, 1, 1], "base_channels": 8, "head_channels": 8}
    warmup = {"warmup_iters": 10, "warmup_start_lr": 1e-5}
    content = {
        "batch_size": 3,  # two batches in a pass, with two images left over
        "iters": ITERS,
        "train_dataset": {**dataset, "mode": "train", "train_path": f"{tiny_images}/list.txt"},
        "val_dataset": {**dataset, "mode": "val", "val_path": f"{tiny_images}/list.txt"},
        "model": {**model, "drop_rate": 0.1, "drop_path_rate": 0.2},
        "optimizer": {"type": "AdamW"},
        "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.002, "end_lr": 0, **warmup},
        "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 0.4]},
    }
    content["train_dataset"]["transforms"] = transforms
    content["val_dataset"]["transforms"] = transforms[-1:]
    path = tmp_path_factory.mktemp("interrupted") / "config.yml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    """Folders of the training that was left alone, and of the one that was killed ten times."""
    folders = [tmp_path_factory.mktemp(name) for name in ("alone", "killed")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "FLAGS_paddle_num_threads": "1"}  # several may sum in any order
    for folder, kills in zip(folders, (0, KILLS)):
        subprocess.run([sys.executable, __file__, config, str(folder), "1", str(kills)], check=True, env=env)
    return folders


def state(path):
    return {key: np.asarray(value) for key, value in paddle.load(str(path)).items()}


@pytest.mark.parametrize("name", ["model.pdparams", "ema_model.pdparams"])
def test_weights(runs, name):
    alone, killed = (state(folder / f"iter_{ITERS}" / name) for folder in runs)
    assert alone.keys() == killed.keys()
    for key in alone:
        np.testing.assert_allclose(killed[key], alone[key], rtol=1e-4, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", ["best_model", "ema_best_model"])
def test_scores(runs, name):
    alone, killed = (checkpoints.best_score(str(folder), name, "iter_1") for folder in runs)
    assert killed == pytest.approx(alone)


def test_nothing_is_left_over(runs):
    alone, killed = (sorted(path.name for path in folder.iterdir()) for folder in runs)
    assert killed == alone == ["best_model", "ema_best_model", "iter_39", "iter_40"]
