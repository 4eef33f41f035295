"""Downloads: fetched once, resumed when cut off, believed only when the hash is right."""

import contextlib
import dataclasses
import http.client
import os
import re
import sys
import urllib.error
import urllib.request

import filelock

from mrcnn.common.files import AnyPath, file_hash
from mrcnn.common.progress import Bar
from mrcnn.common.words import option_or_argument

_CHUNK = 1 << 20
# Seconds without a byte after which a connection counts as dead.
_TIMEOUT = 30


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A published file; size in bytes, hashes in hex, None where not known. Of a sha256 the
    beginning may do, which is all that some publishers tell.
    """

    name: str
    url: str
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None


class DownloadError(OSError):
    """A file could not be fetched, or is not the file that was published."""


def download(
    url: str,
    path: AnyPath,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: bool = True,
) -> str:
    """Fetch a file, or keep the one that is there when it is the right one.

    The bytes go to `path` + ".part", which a later call continues, and take
    their name only when size and hashes are right. Of several calls at once,
    in one process or in several, one fetches and the others wait for it.

    Args:
        url: http or https address.
        path: file to write; its folder is made when missing.
        sha256, md5: expected hashes in hex; None is not checked.
        size: expected bytes; None is not checked.
        progress: show it on stderr.

    Returns:
        `path` as str.

    Raises:
        ValueError: `url` is not http(s).
        DownloadError: no connection, an HTTP error, a folder that cannot be
            written, or a wrong file. A wrong download is removed; a wrong file
            that was there before is not.
    """
    return fetch(
        RemoteFile(os.path.basename(os.fspath(path)), url, md5, sha256, size), path, progress
    )


def fetch(file: RemoteFile, path: AnyPath, progress: bool = True) -> str:
    """`download` of a `RemoteFile`."""
    path = os.fspath(path)
    if not file.url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{file.url} is not an http or https address")
    if not _is_there(file, path):
        with _alone(file, path, progress):
            if not _is_there(file, path):  # another call may have fetched it meanwhile
                _fetch(file, path, progress)
    return path


def _is_there(file, path):
    """Whether the file exists, and is the right one."""
    if not os.path.exists(path):
        return False
    wrong = _what_is_wrong(path, file)
    if wrong:
        raise DownloadError(
            f"{path} exists but is not the file of {file.url}: {wrong}. "
            + option_or_argument("Remove it", "Remove it, or give another path")
        )
    return True


@contextlib.contextmanager
def _alone(file, path, progress):
    """Keep others from fetching the same file, whose folder is made; waits for one that does.

    The lock is a file ``.<name>.lock`` beside it. It is removed once the file is there, which all
    look for first; without the file one who waits on a removed lock would not be alone.
    """
    folder, name = os.path.split(os.path.abspath(path))
    lock = filelock.FileLock(os.path.join(folder, f".{name}.lock"))
    try:
        os.makedirs(folder, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if progress:
            print(f"Waiting for another process that fetches {name}", file=sys.stderr)
        lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"{file.url} is to be fetched to {folder}, which cannot be written: {error.strerror}. "
            "Weights go to another folder where the environment variable KERAS_HOME names one"
        ) from error
    try:
        yield
        with contextlib.suppress(OSError):  # Windows removes no file that another has open
            os.remove(lock.lock_file)
    finally:
        lock.release()


def _fetch(file, path, progress):
    part = path + ".part"
    resumed = _transfer(file, path, part, progress)
    wrong = _what_is_wrong(part, file)
    if wrong and resumed:
        # the older bytes may have been of another file
        os.remove(part)
        _transfer(file, path, part, progress)
        wrong = _what_is_wrong(part, file)
    if wrong:
        os.remove(part)
        raise DownloadError(
            f"{file.url} gave a wrong file, which was removed: {wrong}. " + _by_hand(file, path)
        )
    os.replace(part, path)


def _transfer(file, path, part, progress):
    """Bring `part` up to the whole file; True when it continued an older part."""
    start = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "mask-rcnn"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            resumed = start > 0 and _starts_at(answer, start)
            done = start if resumed else 0
            length = answer.headers.get("Content-Length")
            total = done + int(length) if length else file.size
            with (
                open(part, "ab" if resumed else "wb") as out,
                Bar(file.name, total, done, progress, "bytes") as bar,
            ):
                while chunk := answer.read(_CHUNK):
                    out.write(chunk)
                    done += len(chunk)
                    bar.update(done)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            # Nothing lies behind what we have: it is whole, or it is of another file.
            if _what_is_wrong(part, file) is None and (file.md5 or file.sha256):
                return False
            os.remove(part)
            return _transfer(file, path, part, progress)
        raise DownloadError(
            f"{file.url} answered {error.code} {error.reason}. " + _by_hand(file, path)
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"could not fetch {file.url}: {reason}. " + _by_hand(file, path)
        ) from error
    if length and done < total:
        raise DownloadError(
            f"{file.url} broke off after {done:,} of {total:,} bytes; "
            f"{option_or_argument('run the command', 'call')} again to continue. "
            + _by_hand(file, path)
        )
    return resumed


def _starts_at(answer, start):
    """True when the server sends the bytes from `start` on, False for the whole file."""
    if answer.status != 206:
        return False
    given = answer.headers.get("Content-Range") or ""
    found = re.match(r"bytes (\d+)-", given)
    if not found or int(found[1]) != start:
        raise http.client.HTTPException(f"asked for the bytes from {start} on, got {given!r}")
    return True


def _what_is_wrong(path, file):
    """Words for the first wrong property of a file, or None."""
    size = os.path.getsize(path)
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, expected were {file.size:,}"
    for kind in ("sha256", "md5"):
        expected = getattr(file, kind)
        if expected is None:
            continue
        found = file_hash(path, kind)
        if not found.startswith(expected.lower()):
            return f"its {kind} is {found}, expected was {expected.lower()}"
    return None


def _by_hand(file, path):
    hashes = [f"{kind} {getattr(file, kind)}" for kind in ("sha256", "md5") if getattr(file, kind)]
    known = f" ({', '.join(hashes)})" if hashes else ""
    return f"You can also put the file{known} at {os.path.abspath(path)} by hand"
