"""How commands end: Ctrl-C where Python or a library lets the exception go no further."""

import signal
import subprocess
import sys

import pytest

# What the main function does until the signal comes within it.
PLACES = {
    "finalizer": "class Held:\n    def __del__(self): signal.raise_signal(signal.SIGINT)\ndef main(): Held()",
    "callback": "os.register_at_fork(before=lambda: signal.raise_signal(signal.SIGINT))\n"
    "def main():\n    if os.fork() == 0: os._exit(0)",
    "bare except": "def main():\n    try: signal.raise_signal(signal.SIGINT)\n    except: pass\n    1",
    "finalizer after it": "class Held:\n    def __del__(self): raise ValueError('a consequence')\n"
    "def main():\n    held = Held()\n    signal.raise_signal(signal.SIGINT)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timer that could raise it again")
@pytest.mark.parametrize("place", PLACES)
def test_interrupt_that_python_ignores(place):
    program = (
        f"import os, signal, time\nfrom rtseg_inference import program\n{PLACES[place]}; time.sleep(60); print('on')\n"
        "program.leave(program.run(main))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timer that could raise it again")
@pytest.mark.parametrize(
    "main",
    [
        "    try: signal.raise_signal(signal.SIGINT)\n    finally: time.sleep(2); print('cleaned')",
        "    with cleaned(): signal.raise_signal(signal.SIGINT)",
        "    try: signal.raise_signal(signal.SIGINT)\n    except KeyboardInterrupt: program.stopping()\n"
        "    time.sleep(2); print('cleaned')",
    ],
)
def test_interrupt_leaves_cleaning_up_alone(main):
    program = (
        "import contextlib, signal, time\nfrom rtseg_inference import program\n@contextlib.contextmanager\n"
        "def cleaned():\n    try: yield\n    finally: time.sleep(2); print('cleaned')\n"
        f"def main():\n{main}\nprogram.leave(program.run(main))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "cleaned\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timer that could raise it later")
def test_interrupt_while_paddle_reads_the_call_stack():
    """Paddle's C++ reads the lines of the code that it traces, and would crash if that raised."""
    program = (
        "import linecache, signal, time, traceback\nfrom rtseg_inference import program\n"
        "extract_stack, getline = traceback.extract_stack, linecache.getline\n"
        "def interrupted(*place):\n"
        "    linecache.getline = getline\n    signal.raise_signal(signal.SIGINT)\n    return ''\n"
        "def unread():\n"
        "    stack = extract_stack()\n    for frame in stack: frame._line = None\n"
        "    traceback.extract_stack, linecache.getline = extract_stack, interrupted\n    return stack\n"
        "def main():\n    import paddle\n    traceback.extract_stack = unread\n    paddle.enable_static()\n"
        "    paddle.ones([1])\n    assert traceback.extract_stack is extract_stack\n    time.sleep(60)\n"
        "program.leave(program.run(main))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout) == (130, ""), ended.stderr[-2000:]


def test_other_ignored_errors_are_shown():
    program = (
        "from rtseg_inference import program\nclass Held:\n    def __del__(self): raise ValueError('a bug')\n"
        "def main(): Held()\nprogram.leave(program.run(main))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0 and "ValueError: a bug" in ended.stderr


def test_sigterm_after_libraries_set_their_handlers():
    """Paddle has one that prints a traceback of its own."""
    program = (
        "import os, signal\nfrom rtseg_inference import environment, program\ndef main():\n"
        "    with environment.importing_paddle(): import paddle\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "program.leave(program.run(main))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 143 and "Termination signal" not in ended.stderr, ended.stderr


def test_sigterm_after_paddle_was_imported_by_another_program():
    program = (
        "import os, signal\nfrom rtseg_inference import environment\n"
        "with environment.importing_paddle(): import paddle\nos.kill(os.getpid(), signal.SIGTERM)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGTERM and "Termination signal" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_forked_processes_at_once(number):
    program = (
        "import os, signal, time\nfrom rtseg_inference import program\ndef main():\n"
        "    child = os.fork()\n    if child == 0: time.sleep(60)\n"
        f"    time.sleep(0.2); os.kill(child, {int(number)})\n"
        f"    print(os.waitpid(child, 0)[1], flush=True); signal.raise_signal({int(number)})\n"
        "program.leave(program.run(main))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, f"{int(number)}\n", "")


def test_ignored_signals_stay_ignored():
    program = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfrom rtseg_inference import program\n"
        "program.leave(program.run(lambda: signal.raise_signal(signal.SIGTERM)))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0
