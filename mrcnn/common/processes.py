"""Work done by forked processes: Python's threads take turns, processes use every core.

A forked process has all that this one has at that moment, without a copy. So nothing needs to be
pickled for it but what it returns, and its memory is this one's until either changes it.
"""

import contextlib
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from mrcnn.common.threads import map_ahead
from mrcnn.common.words import option_or_argument

Item = TypeVar("Item")
Made = TypeVar("Made")

# They have threads of their own, which no forked process has: it would wait for them forever.
WITH_THREADS = "cv2", "jax", "tensorflow", "torch"
# Parts of the work for each process, after which others are forked: a process copies what it only
# looks at, since Python counts who does, and in the end would have all of a large data set.
TURN = 100


def may_fork() -> bool:
    """Whether processes may be forked here and now.

    That is so on Linux (macOS' own libraries do not survive it), where this thread is the only one
    (a lock that another holds would stay locked), none of `WITH_THREADS` was imported, the system
    has locks for processes, and nothing is open that they would share: a file's position, what is
    still to be written to it, the other end of a pipe.
    """
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and not any(name in sys.modules for name in WITH_THREADS)
        and not multiprocessing.current_process().daemon  # which may have no processes
        and _has_locks()
        and not any(map(_is_shared, {*map(int, os.listdir("/proc/self/fd"))} - _own_files()))
    )


def _has_locks():
    try:
        multiprocessing.get_context("fork").Lock()
    except (OSError, ImportError):  # /dev/shm is missing, full or cannot be written to
        return False
    return True


def _own_files():
    """Numbers of the standard streams, and of the log files, which no forked process writes to."""
    streams: list[Any] = [sys.__stdin__, sys.__stdout__, sys.__stderr__]
    streams += [getattr(one, "stream", None) for logger in _loggers() for one in logger.handlers]
    numbers = set()
    for stream in streams:
        with contextlib.suppress(Exception):  # it is None, closed, no file, or anyone's own
            numbers.add(stream.fileno())
    return numbers


def _loggers():
    loggers = logging.root, *logging.root.manager.loggerDict.values()
    return [one for one in loggers if isinstance(one, logging.Logger)]


def _is_shared(number):
    """Whether an open file is any but /dev/null, or a pipe or terminal that the shell left open:
    what Python opens is not inherited.
    """
    try:
        facts, inherited = os.fstat(number), os.get_inheritable(number)
    except OSError:  # it was that of the list itself
        return False
    left = inherited and (stat.S_ISFIFO(facts.st_mode) or os.isatty(number))
    return not (left or facts.st_rdev == os.stat(os.devnull).st_rdev)


def fork_map(
    function: Callable[[Item], Made],
    items: Sequence[Item],
    workers: int,
    size: int = 1,
    what: str = "items",
) -> Iterator[Made]:
    """Yield ``function(item)`` of every item in order, computed by forked processes.

    What is logged and warned of in them is logged and warned of here, in the order of the items. A
    log record with a true ``once``, as ``logger.warning(..., extra={"once": True})`` gives it, is
    logged for the first item only. All else that the function changes is lost.

    Args:
        function: of one argument; what it returns is pickled, what it raises is raised here.
        items: any sequence.
        workers: number of processes, at least 1.
        size: number of items that a process takes at a time.
        what: the items, for a message.

    Raises:
        ChildProcessError: a process could not be started, was killed, or crashed.
    """
    told: set[tuple[str, int]] = set()
    # to look for cycles among the objects that processes share would copy them
    frozen = gc.get_freeze_count()
    step = size * workers * TURN
    try:
        for first in range(0, len(items), step):
            gc.freeze()
            some = items[first : first + step]
            parts = [some[start : start + size] for start in range(0, len(some), size)]
            yield from _turn(function, parts, workers, what, told)
    finally:
        if not frozen:
            gc.unfreeze()


def _turn(function, parts, workers, what, told):
    """As `fork_map`, of parts of the items, by processes that end with them."""
    advice = option_or_argument("--workers 1", "workers=1")
    context = multiprocessing.get_context("fork")
    # else each process writes what waits in them
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        if not stream.closed:
            stream.flush()
    with contextlib.ExitStack() as stack:
        others = multiprocessing.active_children()
        try:
            pool = stack.enter_context(
                ProcessPoolExecutor(min(workers, len(parts)), context, _begin, (function,))
            )
            pool.submit(int)  # starts all of them
        except OSError as error:
            for process in set(multiprocessing.active_children()).difference(others):
                process.terminate()
                process.join()
            raise ChildProcessError(f"no process can be started ({error}): use {advice}") from error
        done, lead = 0, 2 * workers
        try:
            for made, messages in map_ahead(pool, _work, parts, lead):
                for message in messages:
                    _tell(message, told)
                yield from made
                done += 1
        except BrokenProcessPool as error:
            last = parts[min(done + lead, len(parts) - 1)][-1]
            raise ChildProcessError(
                f"a process that worked on one of the {what} {parts[done][0]} to {last} was "
                f"killed, perhaps for want of memory, or crashed: {advice} takes the least memory, "
                "and does the work in this process"
            ) from error


# === In a forked process ===

_function: Callable[[Any], Any]
# What was logged and warned of: dicts of log records, tuples of warnings.
_messages: list[Any] = []


def _begin(function):
    """Make a forked process one that works for the other and ends with it."""
    global _function
    _function = function
    for name in ("stdout", "stderr"):  # else a progress bar would be drawn from here too
        stream = getattr(sys, name)
        setattr(sys, name, getattr(stream, "rich_proxied_file", stream))
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)  # at once, without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for logger in _loggers():
        logger.handlers, logger.propagate = [], True
    logging.root.addHandler(_Collector())
    warnings.showwarning = _collect_warning


def _end_with_parent():
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


class _Collector(logging.Handler):
    """Collects log records, as dicts of what can be pickled; of what cannot, the text."""

    def emit(self, record):
        try:
            self.format(record)  # which adds its message, and its traceback as text
            facts = {**vars(record), "msg": record.message, "args": None, "exc_info": None}
            _messages.append(
                {key: one if _can_be_sent(one) else str(one) for key, one in facts.items()}
            )
        except Exception:  # as each handler of `logging` does
            self.handleError(record)


def _collect_warning(message, category, filename, lineno, file=None, line=None):
    category = next(filter(_can_be_sent, category.__mro__))
    _messages.append((str(message), category, filename, lineno))


def _can_be_sent(value):
    """Whether the other process can have this; an exception may have arguments of its own."""
    if isinstance(value, (str, int, float, type(None))):
        return True
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        return False
    return True


def _work(items):
    """What the function returns of some items, and what was logged and warned of meanwhile."""
    _messages.clear()
    try:
        return [_function(item) for item in items], list(_messages)
    except BaseException as error:
        if _can_be_sent(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


# === In the process that was forked ===


def _tell(message, told):
    """Log or warn of what a process collected."""
    if isinstance(message, dict):
        record = logging.makeLogRecord(message)
        key = record.pathname, record.lineno
        if not (getattr(record, "once", False) and key in told):
            told.add(key)
            logging.getLogger(record.name).handle(record)
        return
    text, category, path, line = message
    modules = (one for one in [*sys.modules.values()] if getattr(one, "__file__", None) == path)
    module = next(modules, None)
    known = {} if module is None else vars(module).setdefault("__warningregistry__", {})
    name = None if module is None else module.__name__
    warnings.warn_explicit(text, category, path, line, module=name, registry=known)
