"""Zip archives: unpacked into a folder and nowhere else."""

import os
import shutil
import stat
import zipfile
import zlib

from mrcnn.common.files import AnyPath, whole_file
from mrcnn.common.progress import track


def unpack(path: AnyPath, folder: AnyPath, progress: bool = True) -> int:
    """Unpack a zip archive; files that are there already in their size are kept.

    All names are checked before the first file is written, and each file takes its name when it is
    whole and its checksum is right, so that a later call goes on after one that broke off.

    Args:
        path: the archive.
        folder: where to; made when missing.
        progress: show a bar on stderr.

    Returns:
        int, the number of files that were written.

    Raises:
        FileNotFoundError: there is no archive.
        ValueError: not a zip, damaged, encrypted, or with a member that would lie outside of
            ``folder`` or is a link.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # some tools on Windows end folders with a backslash
            members = [
                (member, _place(member, folder, path))
                for member in archive.infolist()
                if not member.filename.endswith(("/", "\\"))
            ]
            missing = [
                (member, place)
                for member, place in members
                if not os.path.isfile(place) or os.path.getsize(place) != member.file_size
            ]
            for member, place in track(
                missing, f"Unpacking {os.path.basename(path)}", progress and bool(missing)
            ):
                _extract(archive, member, place)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{path} is not a zip archive, or is damaged: {error}. Delete it and fetch it again"
        ) from None
    except (
        RuntimeError
    ) as error:  # zipfile's for a password, and in a subclass for a method it does not know
        raise ValueError(
            f"{path} cannot be unpacked here, encrypted or packed in an unusual way: {error}"
        ) from None
    return len(missing)


def _extract(archive, member, place):
    os.makedirs(os.path.dirname(place), exist_ok=True)
    # waiting for the disk takes long for COCO's 118,287 images, and one that a power failure cut
    # off is found by its size
    with (
        whole_file(place, durable=False) as temporary,
        open(temporary, "wb") as file,
        archive.open(member) as content,
    ):
        shutil.copyfileobj(content, file, 1 << 20)


def _place(member, folder, path):
    """Where a member goes, checked to lie within the folder."""
    name = member.filename.replace("\\", "/")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{path} has a link, {member.filename!r}, which is not unpacked")
    # a colon is a drive or a stream on Windows
    if name.startswith("/") or ":" in name or ".." in name.split("/"):
        raise ValueError(
            f"{path} has a member that would lie outside of {folder}: {member.filename!r}"
        )
    return os.path.join(folder, *name.split("/"))
