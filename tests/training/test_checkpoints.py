"""A run that is killed or fills the disk leaves its last checkpoint intact; damaged checkpoints are refused."""

import contextlib
import os
import pickle
import resource
import shutil
import signal

import numpy as np
import paddle
import pytest
import tiny_training
from comparing import assert_states_close, zip_strict
from hostile import Command
from processes import python

from paddle_rtseg.errors import InputError
from paddle_rtseg.training import checkpoints
from paddle_rtseg.weights import paddle_files

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
    match = r"model.pdparams.*make room.*then resume with --resume_model .*iter_10"
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


def test_two_runs_in_one_folder(save_dir, monkeypatch):
    with checkpoints.only_run(str(save_dir)):
        with pytest.raises(InputError, match="no other process is writing to"), checkpoints.only_run(str(save_dir)):
            pass
        monkeypatch.setenv("PADDLE_TRAINER_ID", "1")  # another process of the same run
        with checkpoints.only_run(str(save_dir)):
            pass


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


def write_command(path, trace):
    """Put a pickle that runs a command into a file."""
    with open(path, "wb") as file:
        pickle.dump({"w": Command(trace)}, file, protocol=4)


@pytest.mark.parametrize("name", [*FILES, "ema_model.pdparams"])
def test_foreign_checkpoint_is_refused(save_dir, tmp_path, name):
    write_command(save_dir / "iter_10" / name, tmp_path / "trace")
    match = rf"{name} cannot be used: it asks for (posix|nt)\.system.*--resume_model .*iter_2"
    with pytest.raises(InputError, match=match):
        checkpoints.check_complete(str(save_dir / "iter_10"))
    assert checkpoints.latest_complete_checkpoint(str(save_dir)) == str(save_dir / "iter_2")
    with pytest.raises(InputError, match=rf"iter_10.*{name} cannot be used"):
        checkpoints.latest_complete_checkpoint(str(save_dir), refuse_foreign=True)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"text", b"", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", b"\x80\x04N."[:-1]])
def test_file_that_is_no_checkpoint(save_dir, content):
    (save_dir / "iter_10" / "model.pdopt").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pdopt is cut short or not a checkpoint.*iter_2"):
        checkpoints.check_complete(str(save_dir / "iter_10"))


@pytest.mark.parametrize("score", [{}, [], {"mIoU": "high", "iter": 2}, {"mIoU": 0.5, "iter": None}])
def test_wrong_score(tmp_path, score):
    checkpoints.save(score, str(tmp_path / "best_model" / "model.pdstates"))
    with pytest.raises(InputError, match=r"model\.pdstates"):
        checkpoints.best_score(str(tmp_path), "best_model", "iter_2")


@pytest.mark.parametrize("kind", [float, np.float64])
def test_score_of_either_kind(tmp_path, kind):
    """PaddleSeg's develop branch saves NumPy's number."""
    checkpoints.save({"mIoU": kind(0.5), "Acc": kind(0.75), "iter": 4}, str(tmp_path / "best_model/model.pdstates"))
    assert checkpoints.best_score(str(tmp_path), "best_model", "iter_2") == (0.5, 4)


def test_foreign_score_and_average(tmp_path):
    (tmp_path / "best_model").mkdir()
    write_command(tmp_path / "best_model" / "model.pdstates", tmp_path / "trace")
    with pytest.raises(InputError, match="was not executed"):
        checkpoints.best_score(str(tmp_path), "best_model", "iter_2")
    write_command(tmp_path / "ema_model.pdparams", tmp_path / "trace")
    network = tiny_training.PixelNet()
    with pytest.raises(InputError, match="was not executed"):
        checkpoints.resume_ema(network, tiny_training.PixelNet(), str(tmp_path))
    assert not (tmp_path / "trace").exists()


def trained(**settings):
    """A network and its optimizer after one step."""
    paddle.seed(3)
    with paddle.utils.unique_name.guard():
        network = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))
        schedule = paddle.optimizer.lr.LinearWarmup(paddle.optimizer.lr.PolynomialDecay(0.05, 100), 5, 0.0, 0.05)
        settings = {"optimizer": paddle.optimizer.AdamW, **settings}
        optimizer = settings.pop("optimizer")(schedule, parameters=network.parameters(), **settings)
        network(paddle.ones([1, 3, 8, 8])).mean().backward()
        optimizer.step()
        schedule.step()
    return network, optimizer


def assert_same_content(found, expected):
    """Equal types, names, values and bits, through all containers."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same_content(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        for one, other in zip_strict(found, expected):
            assert_same_content(one, other)
    elif isinstance(expected, paddle.Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.name == expected.name or expected.name.startswith("generated")
        assert found.numpy().tobytes() == expected.numpy().tobytes()
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("optimizer", [paddle.optimizer.AdamW, paddle.optimizer.Momentum, paddle.optimizer.SGD])
def test_optimizer_states_are_those_of_paddle_load(tmp_path, optimizer, protocol):
    path = str(tmp_path / "model.pdopt")
    state = trained(optimizer=optimizer)[1].state_dict()
    paddle.save(state, path, protocol=protocol)
    assert "LR_Scheduler" in state
    assert_same_content(paddle_files.load(path), paddle.load(path))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: {"master_weights": {"w": x}, "LR_Scheduler": {"last_epoch": 3, "last_lr": 0.1}, "w_moment1_0": x},
        lambda x: {"half": x.astype("bfloat16"), "int": x.astype("int64"), "empty": x[:0], "scalar": x.sum()},
        lambda x: {"model": {"w": x, "list": [x, 1, None]}, "tuple": (x, "text", 2.5, True), "epoch": 3},
        lambda x: {"array": x.numpy(), "transposed": x.numpy().T, "number": np.float32(0.5)},
        lambda x: [x, (x, [x])],
        lambda x: x,
        lambda x: {"mIoU": 0.5, "iter": 7},
        lambda x: {},
    ],
)
def test_contents_are_those_of_paddle_load(tmp_path, make, protocol):
    path = str(tmp_path / "x.pdparams")
    paddle.save(make(paddle.arange(6, dtype="float32").reshape([2, 3])), path, protocol=protocol)
    found, expected = paddle_files.load(path), paddle.load(path)
    if isinstance(expected, dict) and "number" in expected:  # NumPy's number becomes Python's
        expected["number"] = expected["number"].item()
    assert_same_content(found, expected)


def test_restored_optimizer_takes_the_same_step():
    network, optimizer = trained()
    other, restored = trained()
    with paddle.no_grad():
        other[0].weight.set_value(other[0].weight * 2)
    checkpoints.restore(other, restored, network.state_dict(), optimizer.state_dict())
    for one in ((network, optimizer), (other, restored)):
        one[1].clear_grad()
        one[0](paddle.ones([1, 3, 8, 8])).mean().backward()
        one[1].step()
    states = [{k: v.numpy() for k, v in one.state_dict().items()} for one in (network, other)]
    assert_states_close(*states)


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda p, o: p.pop("0.weight"), "missing 0.weight"),
        (lambda p, o: p.update(other=p["0.weight"]), "not in the model other"),
        (lambda p, o: o.update(other_w_0_moment1_0=p["0.weight"]), "other_w_0_moment1_0 fit no parameter"),
        (lambda p, o: o.update({name: p["0.bias"][:2] for name in o if "moment1" in name}), "fit no parameter"),
        (lambda p, o: o.update({name: 5 for name in o if "moment1" in name}), "fit no parameter"),
        (lambda p, o: o.pop("LR_Scheduler"), "not the state of the config's AdamW"),
        (lambda p, o: o.update(LR_Scheduler=5), "not the state of the config's AdamW"),
        (lambda p, o: o.update(LR_Scheduler={}), "not the state of the config's AdamW"),
        (lambda p, o: o.update(LR_Scheduler={**o["LR_Scheduler"], "last_epoch": "x"}), "config's AdamW"),
    ],
)
def test_state_of_another_network(change, match):
    network, optimizer = trained()
    parameters, state = dict(network.state_dict()), dict(optimizer.state_dict())
    change(parameters, state)
    with pytest.raises(InputError, match=match):
        checkpoints.restore(network, optimizer, parameters, state)
