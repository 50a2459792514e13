"""A run that is killed or fills the disk leaves its last checkpoint intact; damaged checkpoints are refused."""

import contextlib
import os
import resource
import shutil
import signal

import numpy as np
import paddle
import pytest
import tiny_training
from processes import python

from paddle_rtseg.errors import InputError
from paddle_rtseg.training import checkpoints

FILES = ["model.pdparams", "model.pdopt"]


@pytest.fixture
def save_dir(tmp_path):
    """The intact checkpoints iter_2 and iter_10 in the folder "out"."""
    for n in (2, 10):
        for name in FILES:
            checkpoints.save({"n": np.full(1000, n)}, str(tmp_path / "out" / f"iter_{n}" / name))
    return tmp_path / "out"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FILES, "ema_model.pdparams"])
def test_killed_run_resumes_from_its_last_checkpoint(tiny_images, tmp_path, name):
    out = str(tmp_path / "out")
    assert python(tiny_training.__file__, tiny_images, out, name).returncode == -signal.SIGKILL
    last = checkpoints.latest_complete_checkpoint(out)
    assert last == os.path.join(out, "iter_2")
    assert not os.path.exists(os.path.join(out, "iter_4"))
    tiny_training.run(tiny_images, out, iters=4, use_ema=True, resume_model=last)
    assert sorted(os.listdir(out)) == ["iter_2", "iter_4"]
    checkpoints.check_complete(os.path.join(out, "iter_4"))


@pytest.mark.slow
def test_killed_run_without_the_patch_leaves_a_broken_checkpoint(tiny_images, tmp_path):
    done = python(tiny_training.__file__, tiny_images, tmp_path, "model.pdopt", "complete checkpoints")
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(Exception):  # noqa: B017  whatever reading half a pickle raises
        paddle.load(str(tmp_path / "iter_4/model.pdopt"))
    with pytest.raises(InputError, match=r"model.pdopt is cut short.*--resume_model .*iter_2"):
        checkpoints.check_complete(str(tmp_path / "iter_4"))


@contextlib.contextmanager
def full_disk():
    """No file of this process can grow beyond 4 kB. Not a fixture, because the log of the tests may be such a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_keeps_the_old_file(save_dir):
    path = save_dir / "iter_10" / "model.pdparams"
    before = path.read_bytes()
    match = r"model.pdparams .*make room.*--resume_model .*iter_10"
    with pytest.raises(InputError, match=match), full_disk():
        checkpoints.save({"n": np.zeros(10000)}, str(path))
    assert path.read_bytes() == before
    assert sorted(os.listdir(save_dir / "iter_10")) == sorted(FILES)


def test_full_disk_leaves_no_partial_checkpoint(save_dir):
    partial = checkpoints.begin(str(save_dir / "iter_12"))
    checkpoints.save({"n": np.zeros(10)}, os.path.join(partial, "model.pdparams"))
    with pytest.raises(InputError, match=r"--resume_model .*iter_10"), full_disk():
        checkpoints.save({"n": np.zeros(10000)}, os.path.join(partial, "model.pdopt"))
    assert sorted(os.listdir(save_dir)) == ["iter_10", "iter_2"]


def test_checkpoint_is_published_atomically(save_dir):
    os.makedirs(save_dir / ".partial-iter_7")
    os.makedirs(save_dir / "best_model")
    (save_dir / "best_model" / ".partial-xyz-model.pdparams").write_text("half")
    partial = checkpoints.begin(str(save_dir / "iter_10"))
    checkpoints.save({"n": 11}, os.path.join(partial, "model.pdparams"))
    assert sorted(os.listdir(save_dir / "iter_10")) == sorted(FILES)
    assert checkpoints.publish(partial) == str(save_dir / "iter_10")
    assert os.listdir(save_dir / "iter_10") == ["model.pdparams"]
    assert sorted(os.listdir(save_dir)) == ["best_model", "iter_10", "iter_2"]
    assert os.listdir(save_dir / "best_model") == []


def test_checkpoints_are_ordered_by_number(save_dir):
    assert checkpoints.latest_complete_checkpoint(str(save_dir)) == str(save_dir / "iter_10")
    assert checkpoints.earlier(str(save_dir), "elsewhere/iter_10/") == [str(save_dir / f"iter_{n}") for n in (2, 10)]
    assert checkpoints.earlier(str(save_dir), str(save_dir / "iter_2")) == [str(save_dir / "iter_2")]
    assert checkpoints.earlier(str(save_dir), None) == []


def cut(path):
    os.truncate(path, os.path.getsize(path) - 1)


def empty(path):
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [cut, empty, os.remove])
@pytest.mark.parametrize("name", FILES)
def test_damaged_checkpoint_is_refused(save_dir, name, damage):
    checkpoints.check_complete(str(save_dir / "iter_10"))
    damage(str(save_dir / "iter_10" / name))
    with pytest.raises(InputError, match=rf"{name} is .*--resume_model .*iter_2"):
        checkpoints.check_complete(str(save_dir / "iter_10"))
    assert checkpoints.latest_complete_checkpoint(str(save_dir)) == str(save_dir / "iter_2")


def test_damaged_average_is_refused(save_dir):
    shutil.copy(save_dir / "iter_10" / "model.pdparams", save_dir / "iter_10" / "ema_model.pdparams")
    checkpoints.check_complete(str(save_dir / "iter_10"))
    cut(save_dir / "iter_10" / "ema_model.pdparams")
    with pytest.raises(InputError, match=r"ema_model\.pdparams is cut short"):
        checkpoints.check_complete(str(save_dir / "iter_10"))


def test_folder_that_is_no_checkpoint(save_dir):
    with pytest.raises(InputError, match="no such folder"):
        checkpoints.check_complete(str(save_dir / "iter_3"))
    shutil.copytree(save_dir / "iter_2", save_dir / "best_model")
    with pytest.raises(InputError, match="not named iter_N"):
        checkpoints.check_complete(str(save_dir / "best_model"))


def test_no_checkpoint(tmp_path):
    assert checkpoints.latest_complete_checkpoint(str(tmp_path / "nothing")) is None
    with pytest.raises(InputError, match="start again without --resume_model"):
        checkpoints.check_complete(str(tmp_path / "nothing" / "iter_2"))
