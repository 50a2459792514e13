"""Bulk jobs on Ray: whatever is killed, the files and the table are those of an undisturbed run."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from bulk_jobs import FLAGS, infer, make_images, make_video, results, table, times_of_records

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data")
pytestmark = pytest.mark.slow

IMAGES, FRAMES = 150, 120
PATIENCE = 300  # seconds until a test takes a job for hanging
MARK = "BULK_TEST"  # an environment variable, by which the processes of a test's Ray are found
ROOT = pathlib.Path(__file__).parents[2]


def environment(mark):
    path = os.pathsep.join([str(ROOT), str(ROOT / "deploy" / "python")])
    return {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", MARK: str(mark)}


@contextlib.contextmanager
def started(network, source, save_dir, *more):
    """A job in the background, which does not outlive the test."""
    command = [sys.executable, "-m", "paddle_rtseg.bulk", "--model", network, "--input", source, "--save_dir", save_dir]
    job = subprocess.Popen(
        [*map(str, command), *FLAGS, *more],
        env=environment(save_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield job
    finally:
        job.kill()
        job.communicate()


def ended(job):
    """The status and the output of a job."""
    printed, _ = job.communicate(timeout=PATIENCE)
    return job.returncode, printed


def done(*arguments):
    """Run a job to its end."""
    with started(*arguments) as job:
        return ended(job)


def wait_for(found, job=None):
    """What ``found()`` gives as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        assert job is None or job.poll() is None, job.communicate()[0]
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def workers(mark):
    """The processes that segment on the Ray that was started with this mark."""
    processes = [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit()]
    found = [p for p in processes if "MapWorker" in contents(p / "cmdline")]
    return [int(p.name) for p in found if f"{MARK}={mark}\0" in contents(p / "environ")]


def contents(path):
    """A file of /proc; empty if the process has ended."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = make_images(tmp_path_factory.mktemp("jobs") / "in", IMAGES)
    make_video(folder / "drive.avi", FRAMES)
    return folder


@pytest.fixture(scope="module")
def expected(network, source, tmp_path_factory):
    """What infer makes of the images and of the video."""
    out = tmp_path_factory.mktemp("expected")
    assert infer(network, source, out) == 1
    assert infer(network, source / "drive.avi", out) == 0
    return results(out)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, of one core each; the first is the head."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100 << 20}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment("cluster").items():
            patch.setenv(name, value)
        found = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
        found.second = found.add_node(**options)
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def undisturbed(network, source, cluster, tmp_path_factory):
    """The folder of a run that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    status, printed = done(network, source, out, "--address", cluster.address)
    assert status == 1, printed
    assert f"{IMAGES + FRAMES - 3} written" in printed and "3 failed; see table.jsonl" in printed
    return out


def test_undisturbed(undisturbed, expected):
    assert results(undisturbed) == expected
    rows = table(undisturbed)
    assert len(rows) == IMAGES + FRAMES and sum(row["status"] == "failed" for row in rows) == 3


def check(out, undisturbed, before):
    """The results are those of the undisturbed run, and no unit that was finished before has been done again."""
    assert before
    assert results(out) == results(undisturbed) and table(out) == table(undisturbed)
    assert before.items() <= times_of_records(out).items()


def test_killed_worker(network, source, cluster, undisturbed, tmp_path):
    out = tmp_path / "out"
    with started(network, source, out, "--address", cluster.address) as job:
        before = wait_for(lambda: times_of_records(out), job)
        os.kill(workers("cluster")[0], signal.SIGKILL)
        status, printed = ended(job)
    assert status == 1 and "given out again" in printed, printed
    check(out, undisturbed, before)


def test_killed_node(network, source, cluster, undisturbed, tmp_path):
    out = tmp_path / "out"
    with started(network, source, out, "--address", cluster.address) as job:
        before = wait_for(lambda: len(workers("cluster")) == 2 and times_of_records(out), job)
        cluster.remove_node(cluster.second, allow_graceful=False)
        status, printed = ended(job)
    assert status == 1 and "given out again" in printed, printed
    check(out, undisturbed, before)


def test_killed_driver(network, source, undisturbed, tmp_path):
    """Its Ray ends with it, and the same command finishes the rest. While a run is there, another is refused."""
    out = tmp_path / "out"
    with started(network, source, out) as job:
        wait_for(lambda: times_of_records(out), job)
        status, printed = done(network, source, out)
        assert status == 2 and printed.startswith("error: expected a folder that no other process is writing to")
        assert printed.count("\n") == 1
        job.kill()
    wait_for(lambda: not workers(out))
    before = times_of_records(out)
    assert not (out / "table.jsonl").exists()
    status, printed = done(network, source, out)
    assert status == 1 and f"{len(before)} units of an earlier run are finished" in printed, printed
    check(out, undisturbed, before)
