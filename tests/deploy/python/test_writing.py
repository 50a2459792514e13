"""Full disks, leftovers of killed runs, and folders that two processes use."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
import pytest
from processes import python
from rtseg_inference import files, paddle_runtime, program
from rtseg_inference.errors import InputError


def write(path):
    with files.atomic_path(str(path)) as temporary, open(temporary, "wb") as f:
        f.write(bytes(1 << 17))


def fail_in_its_own_way(path):
    with files.atomic_path(str(path)) as temporary, open(temporary, "wb") as f:
        try:
            f.write(bytes(1 << 17))
        except OSError:
            raise RuntimeError("cannot serialise") from None


def fail_silently(path):
    with files.atomic_path(str(path)) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY)
        os.write(descriptor, bytes(1 << 17))
        os.close(descriptor)


@pytest.mark.parametrize("writer", [write, fail_in_its_own_way, fail_silently])
def test_full_disk(full_disk, writer):
    (full_disk / "result").write_text("before")
    with pytest.raises(InputError, match=r"cannot write '.*result' \(No space left on device\); make room"):
        writer(full_disk / "result")
    assert os.listdir(full_disk) == ["result"] and (full_disk / "result").read_text() == "before"


@pytest.mark.parametrize("large", [0, 10**9])
def test_images(large, full_disk, tmp_path, monkeypatch):
    """Large JPEGs are not encoded in memory."""
    monkeypatch.setattr(files, "LARGE", large)
    image = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    files.write_image(str(tmp_path / "a.jpg"), image)
    assert (tmp_path / "a.jpg").read_bytes() == cv2.imencode(".jpg", image)[1].tobytes()
    reason = "No space left on device" if large else "as a JPEG of 500 x 300"
    with pytest.raises(InputError, match=rf"cannot write '.*b.jpg' \({reason}\); make room"):
        files.write_image(str(full_disk / "b.jpg"), image)
    assert os.listdir(full_disk) == [] and set(os.listdir(tmp_path)) == {"a.jpg", "disk"}


def test_full_disk_while_a_folder_is_filled(full_disk):
    with pytest.raises(InputError, match=r"cannot write '.*disk/.*weights' \(No space left on device\)"):
        with files.partial_folder(str(full_disk)) as folder:
            write(os.path.join(folder, "weights"))
    assert os.listdir(full_disk) == []


@pytest.mark.parametrize("name, words", [("x" * 300 + ".png", "File name too long"), ("folder", "Is a directory")])
def test_names_that_cannot_be_written(name, words, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=words):
        write(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"]


def test_missing_input_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_path(str(tmp_path / "result")):
        os.stat("/missing/input")
    assert os.listdir(tmp_path) == []


WRITER = """
import sys, time
from rtseg_inference import files
with files.atomic_path(sys.argv[1] + "/result.txt"), files.partial_folder(sys.argv[1]):
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing a file and a folder to ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    for entry in tmp_path.iterdir():
        os.utime(entry, (0, 0))
    yield process
    process.kill()
    process.wait()


def test_leftovers_of_a_killed_run_are_removed(writer, tmp_path):
    clear = f"from rtseg_inference import files; files.clear_leftovers({str(tmp_path)!r})"
    python("-c", clear, check=True)
    assert len(os.listdir(tmp_path)) == 2  # they belong to a living process
    writer.kill()
    writer.wait()
    (tmp_path / ".partial-young").write_text("its process may not have locked it yet")
    python("-c", clear, check=True)
    assert os.listdir(tmp_path) == [".partial-young"]


HOLDER = """
import sys, time
from rtseg_inference import files
with files.exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_folder_of_another_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), "600"], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="no other process is writing to"), files.exclusive(str(tmp_path)):
        pass
    holder.kill()  # its lock ends with it
    holder.wait()
    with files.exclusive(str(tmp_path), wait=True):
        pass


FORKED = """
import os, signal, sys, time
from rtseg_inference import files
with files.exclusive(sys.argv[1]):
    if os.fork() == 0:
        print("forked", flush=True)
        time.sleep(600)
    time.sleep(600)
"""


def test_lock_ends_with_the_process_that_forked(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert holder.stdout.readline() == b"forked\n"
        with pytest.raises(InputError), files.exclusive(str(tmp_path)):
            pass
        holder.kill()
        holder.wait()
        with files.exclusive(str(tmp_path)):
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_command_without_room(number, capsys):
    def main():
        raise OSError(number, os.strerror(number), "some/file")

    assert program.run(main) == 2
    expected = f"error: cannot write 'some/file' ({os.strerror(number)}); make room, or choose another place\n"
    assert capsys.readouterr().err == expected


def test_bug_keeps_its_traceback():
    with pytest.raises(FileNotFoundError):
        program.run(lambda: os.stat("/missing"))


SWALLOWED = """
import os, signal
from rtseg_inference import program
from rtseg_inference.errors import InputError

def main():
    try:
        os.kill(os.getpid(), {number})
    except BaseException as e:
        {reaction}

program.leave(program.run(main))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("reaction", ["pass", "raise", "raise InputError('x') from e", "raise ImportError('x') from e"])
def test_interrupt_that_a_library_turns_into_something_else(reaction, number):
    done = python("-c", SWALLOWED.format(reaction=reaction, number=int(number)))
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


def test_output_that_nobody_reads():
    script = "from rtseg_inference import program\nprogram.leave(program.run(lambda: print('x' * 10**6)))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 1


def test_interrupt_leaves_nothing_half_written(tmp_path):
    script = WRITER.replace("with files", "with contextlib.suppress(KeyboardInterrupt), files").replace(
        "import sys", "import contextlib, sys"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.", ".png.", ""])
def test_picture_without_a_format(name, tmp_path):
    with pytest.raises(InputError, match="OpenCV cannot write an image of uint8"):
        files.write_image(str(tmp_path / name), np.zeros((4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_damaged_cache_is_made_again(tmp_path):
    def build():
        kept = tmp_path / "engine"
        if kept.exists() and kept.read_text() != "good":
            raise RuntimeError("cannot deserialise")
        kept.write_text("good")
        return "built"

    assert files.with_cache(str(tmp_path), build) == "built"
    (tmp_path / "engine").write_text("damaged")
    assert files.with_cache(str(tmp_path), build) == "built"
    assert (tmp_path / "engine").read_text() == "good"


def test_failure_without_a_cache_is_not_repeated(tmp_path):
    calls = []

    def build():
        calls.append(1)
        raise RuntimeError("no GPU")

    with pytest.raises(RuntimeError):
        files.with_cache(str(tmp_path), build)
    assert len(calls) == 1


def test_cache_of_openvino_where_none_can_be_written(tmp_path, monkeypatch):
    """Paddle would put it into the current folder."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RTSEG_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = paddle_runtime._openvino_cache()
    assert os.path.isdir(folder) and os.path.dirname(os.path.dirname(folder)) == str(tmp_path)


@pytest.mark.parametrize("writer, maker", [("atomic_path", "open"), ("partial_folder", "mkdir")])
def test_interrupt_right_after_a_file_is_made(writer, maker, tmp_path, monkeypatch):
    make = getattr(os, maker)

    def make_and_interrupt(path, *arguments):
        made = make(path, *arguments)
        if os.path.basename(path).startswith(files.PARTIAL):
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(files.os, maker, make_and_interrupt)
    target = tmp_path / "x.bin" if writer == "atomic_path" else tmp_path
    with pytest.raises(KeyboardInterrupt), getattr(files, writer)(str(target)):
        pass
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_folder_is_checked_without_being_made(tmp_path):
    files.check_folder(str(tmp_path))
    files.check_folder(str(tmp_path / "a" / "b"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "x" * 300])
@pytest.mark.parametrize("refuse", [files.check_folder, files.make_folder])
def test_folder_that_cannot_be_written(tmp_path, name, refuse):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected a folder that can be written, got .*; choose another"):
        refuse(str(tmp_path / name))
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file"]


def test_new_folder_goes_after_an_error(tmp_path):
    with pytest.raises(KeyError), files.new_folder(str(tmp_path / "a" / "b")):
        raise KeyError
    assert os.listdir(tmp_path) == []
    with files.new_folder(str(tmp_path / "a" / "b")):
        pass
    assert os.path.isdir(tmp_path / "a" / "b")


def test_new_folder_stays_if_it_was_there_or_holds_something(tmp_path):
    (tmp_path / "before").mkdir()
    for name in ("before", "a/b"):
        with pytest.raises(KeyError), files.new_folder(str(tmp_path / name)):
            if name != "before":
                (tmp_path / name / "file").touch()
            raise KeyError
    assert os.path.isdir(tmp_path / "before") and os.path.isfile(tmp_path / "a" / "b" / "file")
