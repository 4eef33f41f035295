"""When processes are forked, and what they bring back, in a program of its own as
`processes_program`.
"""

import _multiprocessing
import contextlib
import logging
import multiprocessing.synchronize
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import warnings
from collections import Counter, defaultdict, deque
from pathlib import PurePosixPath

import numpy as np

from mrcnn.common import processes
from mrcnn.data.survey import each_image
from tests.data.survey.processes_program import COUNT, PARENT, Own, run
from tests.tiny import image


class Pids(Own):
    """Which processes load its images."""

    noted = (*Own.noted, "pids")
    imports = None

    def load_image(self, image_id):
        if self.imports:
            sys.modules[self.imports] = types.ModuleType(self.imports)
        self.pids.add(os.getpid())
        time.sleep(0.02)
        return image(60, 80, image_id)


def by(**options):
    """The processes that loaded images with three workers."""
    dataset = Pids()
    dataset.prepare()
    dataset.check(progress=False, workers=3, **options)
    return dataset.pids


def where(folder):
    """Processes, but where they would be of no use or do harm."""
    # two turns of three processes, of which a busy machine may give one all the work of a turn
    assert 2 <= len(by() - {PARENT}) <= 6 and by(image_ids=[0]) == {PARENT}
    assert processes.may_fork()
    for name in ("tensorflow", "torch"):
        sys.modules[name] = types.ModuleType(name)
        assert by() == {PARENT}
        del sys.modules[name]
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert by() == {PARENT}
    end.set()
    thread.join()
    Pids.imports = "cv2"
    assert by() == {PARENT}
    Pids.imports = None
    del sys.modules["cv2"]
    assert len(by()) > 1
    each_image.WORTH = 60
    assert by() == {PARENT}
    each_image.WORTH, each_image.FEWEST = 0, COUNT + 1
    assert by() == {PARENT}
    each_image.FEWEST = 2
    assert len(by()) > 1


def shared(folder):
    """Threads do it while something is open that all processes would share."""
    path = folder / "images.bin"
    path.write_bytes(bytes(9))

    makers = [
        lambda: open(path, "rb"),
        lambda: open(folder / "notes.txt", "w"),
        lambda: open(folder / "notes.txt", "a"),
        tempfile.TemporaryFile,
        lambda: os.fdopen(os.memfd_create("images"), "w+b"),
        socket.socket,
        lambda: subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE),
    ]
    for maker in makers:
        assert processes.may_fork()
        with maker():
            assert not processes.may_fork()
    os.close(0)
    sys.__stdin__ = None  # as where a shell has closed it
    assert processes.may_fork()
    with open(path, "rb") as file:
        assert file.fileno() == 0 and not processes.may_fork()


def harmless(folder):
    """A log file, what a shell left open, and a library's /dev/null keep nobody from forking."""
    handler = logging.FileHandler(folder / "log.txt")
    logging.getLogger("own").addHandler(handler)
    pipe = os.pipe()
    for number in pipe:
        assert not processes.may_fork()
        os.set_inheritable(number, True)
    with open(os.devnull, "rb"):
        assert len(by()) > 1
    handler.close()
    assert (folder / "log.txt").read_text().count("image 11 is odd") == 1


def written(folder):
    """What load_image writes to a file of its own is there once and whole, and so is stdout."""

    class Writing(Own):
        def load_image(self, image_id):
            with lock:
                file.write(f"{image_id}\n" * 3000)
            return image(60, 80, image_id)

    lock = threading.Lock()
    dataset = Writing()
    dataset.prepare()
    with open(folder / "notes.txt", "w") as file:
        file.write("head\n")
        dataset.check(progress=False, workers=3)
    lines = (folder / "notes.txt").read_text().splitlines()
    assert Counter(lines) == {"head": 1, **{str(number): 3000 for number in range(COUNT)}}

    class Printing(Own):
        def load_image(self, image_id):
            print("x" * 9000, file=sys.__stdout__, flush=True)
            return image(60, 80, image_id)

    dataset = Printing()
    dataset.prepare()
    with contextlib.redirect_stdout(None):
        print("before", file=sys.__stdout__)
        dataset.check(progress=False, workers=3)


def no_locks(folder):
    """Threads do it where the system has no locks for processes, as with /dev/shm read-only."""

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    _multiprocessing.SemLock = refuse
    assert by() == {PARENT}
    processes._has_locks = lambda: True  # gone since they were asked for
    try:
        by()
    except ChildProcessError as error:
        assert "no process can be started ([Errno 13] Permission denied)" in str(error)
    else:
        raise AssertionError("nothing raised")


def no_room(folder):
    """An error says that the system starts no more processes, and those started are ended."""
    fork, pids = os.fork, []

    def few_forks():
        if len(pids) == 2:
            raise OSError(11, "Resource temporarily unavailable")
        pids.append(fork())
        return pids[-1]

    os.fork = few_forks
    try:
        by()
    except ChildProcessError as error:
        assert "no process can be started ([Errno 11] Resource" in str(error)
        assert "use workers=1" in str(error)
    else:
        raise AssertionError("nothing raised")
    assert len(pids) == 2 and not multiprocessing.active_children()


class Keeping(Own):
    """Notes of many kinds."""

    noted = (*Own.noted, "rows", "names", "sums", "nested", "last")

    def __init__(self):
        super().__init__()
        self.rows, self.names, self.last = [], defaultdict(list), deque(maxlen=3)
        self.sums, self.nested = defaultdict(int), defaultdict(lambda: defaultdict(set))

    def load_image(self, image_id):
        self.rows.append(image_id)
        self.names[image_id % 3].append(image_id)
        self.last.append(image_id)
        self.sums[image_id % 2] += image_id
        self.nested["a"][image_id % 2].add(image_id)
        return image(60, 80, image_id)


def kept(folder):
    """What is noted in lists and defaultdicts is there as with one worker; others are named."""
    states = []
    for workers in (1, 3):
        dataset = Keeping()
        dataset.prepare()
        for _ in range(2):
            dataset.check(progress=False, workers=workers)
        states.append({name: getattr(dataset, name) for name in Keeping.noted[2:]})
    assert states[0] == states[1] and states[0]["sums"] == {0: 60, 1: 72}, states
    for value in (0, np.zeros(3), None):
        dataset.last = value
        try:
            dataset.noting(dataset.load_mask, 0)
        except TypeError as error:
            assert "`noted` of Keeping names 'last', which is a " in str(error)
        else:
            raise AssertionError("nothing raised")


class Place:
    """What cannot be pickled."""

    def __reduce__(self):
        raise TypeError("no")

    def __str__(self):
        return "a place"


def told(folder):
    """A record's extra facts come along; a wrong call is told of as by any handler."""

    class LocalWarning(UserWarning):
        pass

    class Telling(Own):
        def load_image(self, image_id):
            extra = {"path": PurePosixPath("a.png"), "place": Place()}
            if image_id == 5:
                logging.getLogger("own").error("wrong %d %d", image_id)
                logging.getLogger("own").error("right %d", image_id, extra=extra)
                warnings.warn("local", LocalWarning, stacklevel=1)
            return image(60, 80, image_id)

    class Kept(logging.Handler):
        def emit(self, record):
            records.append(record)

    records: list[logging.LogRecord] = []
    logging.root.addHandler(Kept())
    dataset = Telling()
    dataset.prepare()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        report = dataset.check(progress=False, workers=3)
    assert not [one for one in report.findings if one.kind == "image cannot be read"]
    (right,) = [one for one in records if one.levelno == logging.ERROR]
    assert right.getMessage() == "right 5" and right.path == PurePosixPath("a.png")
    assert str(right.place) == "a place"
    (local,) = [one for one in warned if str(one.message) == "local"]
    assert local.category is UserWarning


if __name__ == "__main__":
    run(globals())
