"""CPU settings suit the machine, and the user's own take precedence."""

import os
import pwd

import pytest
from processes import python
from rtseg_inference import environment


@pytest.fixture
def amd_with_8_cores(monkeypatch):
    monkeypatch.setattr(environment, "is_amd", lambda: True)
    monkeypatch.setattr(environment, "usable_cores", lambda: 8)


def test_all_cores_and_fast_path_of_mkl(amd_with_8_cores):
    assert environment.settings(environ={}) == {
        "OMP_NUM_THREADS": "8",
        "FLAGS_paddle_num_threads": "8",
        "MKL_DEBUG_CPU_TYPE": "5",
    }


def test_environment_of_the_user_takes_precedence(amd_with_8_cores):
    assert environment.settings(environ={"OMP_NUM_THREADS": "3", "MKL_DEBUG_CPU_TYPE": "4"}) == {
        "OMP_NUM_THREADS": "3",
        "FLAGS_paddle_num_threads": "3",
        "MKL_DEBUG_CPU_TYPE": "4",
    }
    assert environment.settings(environ={"FLAGS_paddle_num_threads": "1"})["FLAGS_paddle_num_threads"] == "1"


def test_processes_on_one_machine_share_cores(amd_with_8_cores):
    assert environment.settings(environ={"PADDLE_LOCAL_SIZE": "4"})["OMP_NUM_THREADS"] == "2"
    assert environment.settings(environ={"PADDLE_LOCAL_SIZE": "16"})["OMP_NUM_THREADS"] == "1"


def test_intel_needs_no_mkl_setting(monkeypatch):
    monkeypatch.setattr(environment, "is_amd", lambda: False)
    assert "MKL_DEBUG_CPU_TYPE" not in environment.settings(environ={})


@pytest.mark.slow
def test_commands_configure_before_importing_paddle():
    variables = {**dict.fromkeys(environment.NAMES), "OMP_NUM_THREADS": "3"}
    printed = python("-m", "paddle_rtseg.env", check=True, **variables).stdout
    shown = dict(line.split(None, 1) for line in printed.splitlines() if line.startswith("  "))
    assert shown["OMP_NUM_THREADS"] == shown["FLAGS_paddle_num_threads"] == "3"
    assert shown["paddle"] and "RTFormer_Slim" in shown["models"]


@pytest.mark.slow
@pytest.mark.slow_on_old_paddle
@pytest.mark.parametrize("threads, lines", [(None, 0), ("2", 2)])
def test_warning_about_threads_is_for_those_who_set_them(threads, lines):
    variables = {**dict.fromkeys(environment.NAMES), "OMP_NUM_THREADS": threads}
    printed = python("-m", "paddle_rtseg.env", check=True, **variables).stderr
    assert printed.count("OMP_NUM_THREADS") == lines and printed.count("\n") == lines, printed


def test_home_that_is_not_set(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environment.home() == str(tmp_path)
    recorded = pwd.getpwuid(os.getuid()).pw_dir
    monkeypatch.setenv("HOME", "")
    assert environment.home() == recorded
    monkeypatch.delenv("HOME")
    assert environment.home() == recorded

    def not_on_record(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", not_on_record)  # a container that runs with a number
    assert os.path.isabs(environment.home()) and environment.home() != "/"


@pytest.mark.slow
@pytest.mark.parametrize("home", ["", None, "a file"])
def test_commands_without_a_home(home, tmp_path):
    """Paddle and PaddleSeg make folders in the home folder when they are imported."""
    (tmp_path / "a file").write_text("no folder can be made here")
    done = python("-m", "paddleseg.val", "--config", "rtformer_slim_camvid_480x360", cwd=tmp_path, HOME=home)
    assert (done.returncode, "expected trained weights" in done.stderr) == (2, True), done.stderr
    assert not os.path.exists("/.paddleseg") and os.listdir(tmp_path) == ["a file"]


@pytest.mark.parametrize("variable, kept", [("UNRELATED", True), ("MALLOC_TOP_PAD_", False)])
def test_freed_memory_is_reused(variable, kept):
    """By default glibc requests 64 MB again from the system: pages of 4 KB, each a page fault when first written."""
    script = (
        "from rtseg_inference import environment; environment.configure()\n"
        "import resource\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "fill = lambda: b'x' * (2**26 + len(environment.NAMES))\n"  # not a constant that Python would fold
        "fill(); before = faults(); fill(); print(faults() - before)"
    )
    unset = dict.fromkeys(name for name in os.environ if name.startswith("MALLOC_"))
    faults = int(python("-c", script, check=True, **{**unset, variable: "0"}).stdout)
    assert (faults < 100) == kept
