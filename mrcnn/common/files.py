"""Files that are written whole or not at all."""

import contextlib
import errno
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterator

# What names a file or a folder.
AnyPath = str | os.PathLike[str]


@contextlib.contextmanager
def whole_file(path: AnyPath, durable: bool = True) -> Iterator[str]:
    """Write a file under a temporary name; it takes its place when it is whole.

    A crash, a kill or a full disk leaves an older file as it was. Of a link, symbolic or hard, the
    name is replaced: what it leads to stays as it is. A device, a pipe or a socket, such as
    /dev/stdout, is no file to replace: it is written straight into.

    Args:
        path: file to write or replace; its folder must exist.
        durable: wait until it is on the disk, so that it outlasts a power failure. False for what
            can be made again, such as pictures and reports: after a power failure such a file may
            be empty or missing. Waiting takes some milliseconds a file on an SSD, more on other
            disks.

    Yields:
        Path of the temporary file, in the same folder, which the caller writes and closes; of a
        device or pipe, ``path``. It has
        the ending of `path`, for writers that go by that. Its leading dot keeps it out of the sight
        of whoever lists checkpoints.

    Raises:
        OSError: it could not be synced or renamed, or ``path`` is a folder; an error of the
            caller's own is passed on. It names ``path``, also where it was raised without a file,
            as that of a full disk, or with the temporary one.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if _is_stream(path):
        with _naming(path):
            yield os.fspath(path)
        return
    folder, name = os.path.split(os.path.abspath(path))
    ending = os.path.splitext(name)[1]
    temporary = os.path.join(folder, f".{uuid.uuid4().hex[:8]}.tmp{ending}")
    try:
        with _naming(path, temporary):
            yield temporary
            if durable:
                with open(temporary, "r+b") as written:  # Windows syncs no read-only file
                    os.fsync(written.fileno())
            os.replace(temporary, path)
            if durable:
                _sync_folder(folder)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _is_stream(path):
    """Whether a path is there and is no file that another could take the place of: a device, a
    pipe, a socket, or what /dev/stdout and /dev/fd/1 lead to, also where that is a file.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: a NUL in it
        return False
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    return not stat.S_ISREG(mode) or folder == "/dev" or folder.startswith("/proc/")


@contextlib.contextmanager
def _naming(path, temporary=None):
    """Let errors of the system name the file that was asked for."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary):
            error.filename = os.fspath(path)
            with contextlib.suppress(AttributeError):
                del error.filename2  # of a rename
        raise


def write_whole(path: AnyPath, content: bytes | memoryview, durable: bool = True) -> None:
    """Write the bytes of a file, as `whole_file` does.

    Raises:
        OSError: they could not be written; an older file is as it was.
    """
    with whole_file(path, durable) as temporary, open(temporary, "wb") as file:
        file.write(content)


def require_writable(folder: AnyPath, what: str) -> None:
    """Make sure that a folder is there and can be written to, or can be made; nothing is made.

    So a wrong path shows before work that takes long.

    Args:
        folder: to write to later.
        what: what names it, for the message, such as "--output".

    Raises:
        NotADirectoryError: it, or what it would be in, is a file.
        PermissionError: nothing may be written there.
    """
    place = os.path.abspath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise NotADirectoryError(
            f"{what} must be a folder or a path where one can be made, it is {os.fspath(folder)}: "
            f"{place} is no folder"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{what} is {os.fspath(folder)}, but nothing may be written into {place}: take another "
            "folder, or change its permissions"
        )


def require_writable_file(path: AnyPath, what: str) -> None:
    """Make sure that a file can be written, in a folder that is there or can be made; nothing is
    made.

    Args:
        path: to write to later.
        what: what names it, for the message, such as "--json".

    Raises:
        IsADirectoryError: it is a folder, or names none but a folder.
        NotADirectoryError, PermissionError: as `require_writable`, of its folder.
    """
    folder, name = os.path.split(os.fspath(path))
    if not name or os.path.isdir(path):
        raise IsADirectoryError(
            f"{what} must be the path of a file, it is "
            + (f"the folder {os.fspath(path)}" if folder or name else "empty")
        )
    if os.path.exists(path) and not os.access(path, os.W_OK) and _is_stream(path):
        raise PermissionError(f"{what} is {os.fspath(path)}, which may not be written to")
    if not _is_stream(path):
        require_writable(folder or os.curdir, f"the folder of {what}")


def file_identity(path: AnyPath) -> tuple[int, int] | None:
    """What two paths of one file have in common, by whatever links; None without a file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in it
        return None
    return found.st_dev, found.st_ino


def remove_temporary_files(folder: AnyPath) -> list[str]:
    """Delete what writers that were killed left behind in a folder; returns the names."""
    left = [name for name in os.listdir(folder) if re.fullmatch(r"\.[0-9a-f]{8}\.tmp(\..*)?", name)]
    for name in left:
        os.remove(os.path.join(folder, name))
    return left


def file_hash(path: AnyPath, kind: str = "sha256") -> str:
    """Hash of a file's content in hex, to find damage; read in pieces. ``kind`` is a name of
    `hashlib`.
    """
    # so md5 is fine too where policy forbids it for security
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def what_else(path: AnyPath) -> str:
    """Words for what a file is that is not what it should be, or ""; by how it begins."""
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file: run git lfs pull"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is text in UTF-16: save it as UTF-8"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "it is HEIC, which Pillow does not read: save or export it as JPEG"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page: download the file itself"
    return ""


def _sync_folder(folder):
    """Make a rename outlast a power failure; Windows opens no folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
