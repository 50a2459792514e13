"""How every command ends: with its exit status, and one sentence on stderr where the user can fix what went wrong.

The statuses are 0, 1 where some of the work failed, 2 for an error of the user's, and what a shell gives to a program
that a signal ended: 130 for Ctrl-C, 143 for SIGTERM.
"""

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from types import FrameType
from typing import Any, Callable, NoReturn, Optional, Set, Type

from .errors import InputError, Remark, shortened

CANNOT_START, INTERRUPTED = 2, 130
_OF_SIGNALS = 128  # what shells add to the number of the signal that ended a program
#: What the operating system says when there is no room left, or the place cannot be written at all.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
#: What it says of a path that cannot be one, or is another kind of file. A missing file is checked where it is read.
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM)

_LOST = 0.5  # seconds after which KeyboardInterrupt is raised again if nothing has handled it
_HELD = 0.01  # seconds after which it is raised where it could not be raised at first

_caught: Set[int] = set()  # the signals that raise KeyboardInterrupt
_interrupted = 0  # the status for the one that came


def run(main: Callable[[], Optional[int]]) -> int:
    """Run ``main`` and return the exit status; None from ``main`` means 0.

    Ctrl-C and SIGTERM raise KeyboardInterrupt in ``main``, and give 130 and 143 wherever they come, also where a
    library swallows the exception or turns it into one of its own. A second one ends the process at once. A bug keeps
    its traceback.
    """
    _catch_interrupts()
    warnings.formatwarning = _formatted
    try:
        status = main() or 0
        sys.stdout.flush()
    except InputError as e:
        return _failed(str(e))
    except KeyboardInterrupt:
        return _interrupted or INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as e:
        stopping()
        sentence = _sentence(e)
        if sentence is None and not _interrupted:
            raise
        return _failed(sentence or "")
    finally:
        stopping()
    return _interrupted or status


_format = warnings.formatwarning


def _formatted(message: Any, category: Type[Warning], filename: str, lineno: int, line: Optional[str] = None) -> str:
    """A remark of ours is one line for whoever runs a command; other warnings name the code that they come from."""
    if issubclass(category, Remark):
        return f"warning: {message}\n"
    return _format(message, category, filename, lineno, line)


def leave(status: int) -> NoReturn:
    """End the process. After a signal without the libraries' own clean-up, which may hang or crash after it."""
    if status <= _OF_SIGNALS:
        sys.exit(status)
    for child in multiprocessing.active_children():
        child.terminate()
    with contextlib.suppress(OSError):  # a closed pipe
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def stopping() -> None:
    """Say that KeyboardInterrupt has been caught to end the program, which then raises it no more."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, 0)


def catch_again() -> None:
    """Handle signals as before, after a library has set handlers of its own, as Paddle and Ray do of SIGTERM."""
    if threading.current_thread() is threading.main_thread():  # others cannot
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = _interrupt if number in _caught else signal.getsignal(number)
            if handler is not None:  # Python's own view, which handlers of C++ leave alone
                signal.signal(number, handler)


def _catch_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):  # else such as ignored: nohup
            _caught.add(number)
    if not _caught:
        return
    catch_again()
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.signal(signal.SIGALRM, _raise_again)
    sys.unraisablehook = _until_interrupted(sys.unraisablehook)
    threading.excepthook = _until_interrupted(threading.excepthook)


def _interrupt(number: int, frame: Optional[FrameType]) -> None:
    global _interrupted
    if _interrupted:
        os._exit(_interrupted)
    _interrupted = _OF_SIGNALS + number
    _raise(frame)


def _raise_again(number: int, frame: Optional[FrameType]) -> None:
    """Raise KeyboardInterrupt again unless it is being handled, as it is by clean-up.

    It was lost in a finalizer or callback, which Python lets finish, or in a library's bare ``except``, such as that
    around the queue of Paddle's data loader.
    """
    handled = sys.exc_info()[1]
    while handled is not None:
        if isinstance(handled, (KeyboardInterrupt, GeneratorExit)):
            return
        handled = handled.__context__
    _raise(frame)


def _raise(frame: Optional[FrameType]) -> None:
    """Raise KeyboardInterrupt in ``frame`` until something handles it; where that would crash, a little later.

    While Paddle traces a network, its C++ reads the call stack of every operator with :mod:`traceback`, and takes a
    null pointer for a line of it if that raises.
    """
    if not hasattr(signal, "setitimer"):  # on Windows
        raise KeyboardInterrupt
    held = _reads_call_stack(frame)
    signal.setitimer(signal.ITIMER_REAL, _HELD if held else _LOST, _LOST)
    if not held:
        raise KeyboardInterrupt


def _reads_call_stack(frame: Optional[FrameType]) -> bool:
    while frame is not None and frame.f_code.co_filename != traceback.__file__:
        frame = frame.f_back
    return frame is not None


def _until_interrupted(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What finalizers and threads say after the signal is a consequence of it."""
    return lambda arguments: None if _interrupted else hook(arguments)


def _leave_signals_to_the_system() -> None:
    """A forked process, such as a worker of a data loader, is ended at once, without any of its parent's clean-up."""
    for number in _caught:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_signals_to_the_system)


def _failed(sentence: str) -> int:
    if _interrupted:  # it is a consequence
        return _interrupted
    print(f"error: {shortened(sentence)}", file=sys.stderr)
    return CANNOT_START


def _sentence(error: Exception) -> Optional[str]:
    """What to say of an error of the operating system; None if it is none that the user can fix."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _NO_ROOM:
        where = f"{error.filename!r}" if error.filename else "a file"
        return f"cannot write {where} ({error.strerror}); make room, or choose another place"
    if error.errno in _NO_PATH and error.filename:
        return f"cannot use {error.filename!r} ({error.strerror}); choose another path"
    return None
