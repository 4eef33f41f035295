"""Where images come from: files, folders, patterns, videos and cameras, one image at a time."""

from __future__ import annotations

import functools
import glob
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument, some
from mrcnn.data.image_range import FewBits
from mrcnn.data.images import IMAGE_TYPES, as_uint8_range, fit_channels, read_image

# What is looked for in a folder, beside IMAGE_TYPES. A file given by its own name is tried whatever
# its name is.
VIDEO_TYPES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


class Source(NamedTuple):
    """An image file, a video file or a camera."""

    path: str | int  # an int of a camera
    name: str  # relative to the folder that all sources share, with "/"
    kind: str  # "image", "video" or "camera"


class Frame(NamedTuple):
    """An image that was read."""

    source: Source
    image: np.ndarray  # uint8 or float [h, w, c], RGB where c is 3
    number: int | None = None  # in its video, from 0
    rate: float | None = None  # frames per second of what is read of the video

    @property
    def name(self) -> str:
        """The name of an image file, "clip.mp4/000012" of a frame."""
        return self.source.name if self.number is None else f"{self.source.name}/{self.number:06d}"


def find_sources(
    places: int | AnyPath | Iterable[int | AnyPath],
    recursive: bool = False,
    leave_out: AnyPath | None = None,
) -> tuple[list[Source], Counter[str]]:
    """The images, videos and cameras in some places.

    Args:
        places: one or a list of: a file, a folder, a pattern such as "photos/*.jpg" ("**" for any
            folders), or the number of a camera, as int or str.
        recursive: look into the folders of a folder too.
        leave_out: a folder within a place whose files are no sources, for results written there
            earlier.

    Returns:
        (list of `Source`, each once, in the order given and sorted within a place, and a Counter
        {ending: files of folders that are neither images nor videos by their names}). Hidden files
        are not counted.

    Raises:
        FileNotFoundError: there is no such file or folder, nothing fits a pattern, or there is no
            image and no video in any of the places.
    """
    places = [places] if isinstance(places, (str, int, os.PathLike)) else list(places)
    files, folders, cameras = {}, [], []
    others: Counter[str] = Counter()
    for place in places:
        text = os.fspath(place) if not isinstance(place, int) else str(place)
        if text.isdecimal() and not os.path.exists(text):
            cameras.append(Source(int(text), f"camera{text}", "camera"))
        elif os.path.isdir(text):
            folders.append(os.path.abspath(text))
            found, passed_over = _files_of(text, recursive, leave_out)
            files.update(dict.fromkeys(found))
            others += passed_over
        elif os.path.exists(text):
            files[os.path.abspath(text)] = None
        elif glob.has_magic(text):
            found = [
                os.path.abspath(path)
                for path in sorted(glob.glob(text, recursive=True))
                if not os.path.isdir(path)
            ]
            fixed = itertools.takewhile(
                lambda part: not glob.has_magic(part), Path(os.path.abspath(text)).parts
            )
            found = _without(found, Path(*fixed), leave_out)
            if not found:
                raise FileNotFoundError(f"no file fits the pattern {text}")
            files.update(dict.fromkeys(found))
        else:
            raise FileNotFoundError(f"there is no file, folder or camera {text}")
    root = _shared_folder([*folders, *(os.path.dirname(path) for path in files)])
    sources = [
        Source(path, _name(path, root), "video" if path.lower().endswith(VIDEO_TYPES) else "image")
        for path in files
    ]
    if not sources + cameras:
        there = some(f"{count} {end or 'without ending'}" for end, count in others.most_common())
        raise FileNotFoundError(
            f"{some(places)} has no image and no video"
            + (f", of its files there are {there}" if there else "")
            + (
                ""
                if recursive
                else "; folders within it are searched with "
                + option_or_argument("--recursive", "recursive=True")
            )
        )
    return sources + cameras, others


def _files_of(folder, recursive, leave_out):
    """Absolute paths of the images and videos of a folder, sorted, and a Counter of the endings of
    its other files.
    """
    folder = Path(os.path.abspath(folder))
    # a pipe and a link to nothing too: they are told when they cannot be read; but nothing hidden,
    # such as the ._photo.jpg that macOS writes beside a photo.jpg
    files = sorted(
        path
        for path in (folder.rglob("*") if recursive else folder.glob("*"))
        if not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    files = _without(files, folder, leave_out)
    known = [str(path) for path in files if path.suffix.lower() in IMAGE_TYPES + VIDEO_TYPES]
    others = Counter(path.suffix.lower() for path in files)
    for ending in IMAGE_TYPES + VIDEO_TYPES:
        others.pop(ending, None)
    return known, others


def _without(files, folder, leave_out):
    """The files but for those in ``leave_out``, where that lies within the folder in which they
    were looked for.
    """
    if leave_out is None:
        return files
    left_out = Path(os.path.realpath(leave_out))
    if Path(os.path.realpath(folder)) not in left_out.parents:
        return files
    real = functools.cache(lambda folder: Path(os.path.realpath(folder)))
    folders = [real(os.path.dirname(path)) for path in files]
    return [
        path
        for path, folder in zip(files, folders)
        if left_out != folder and left_out not in folder.parents
    ]


def _shared_folder(folders):
    try:
        return os.path.commonpath(folders) if folders else None
    except ValueError:  # drives of Windows
        return None


def _name(path, root):
    name = os.path.relpath(path, root) if root else os.path.splitdrive(path)[1].lstrip("\\/")
    return name.replace(os.sep, "/")


def count_frames(sources: Iterable[Source], every: int = 1) -> int | None:
    """How many images `read_frames` gives, by what the videos say of themselves; None where that is
    unknown.
    """
    total = 0
    for source in sources:
        if source.kind == "camera":
            return None
        frames = stated_frames(str(source.path)) if source.kind == "video" else 1
        if frames <= 0:
            return None
        total += -(-frames // every) if source.kind == "video" else 1
    return total


def read_frames(
    sources: Iterable[Source],
    channels: int = 3,
    every: int = 1,
    unreadable: list[tuple[str, str]] | None = None,
    image_range: Sequence[float] | None = None,
    few_bits: FewBits | None = None,
) -> Iterator[Frame]:
    """Read images and frames one after the other; memory does not grow with their number.

    Args:
        sources: list of `Source`.
        channels: IMAGE_CHANNEL_COUNT of the model.
        every: of a video or camera take every n-th frame.
        unreadable: list that gets (name, what is wrong) of every file that cannot be read and of
            videos that end before the number of frames that they state; None raises instead.
        image_range: IMAGE_RANGE of the model.
        few_bits: gets the images that, without an ``image_range``, may hold fewer bits than they
            are taken for.

    Returns:
        iterator of `Frame`.

    Raises:
        ValueError: ``every`` is below 1; from the iterator: a file is unreadable and there is no
            list for it.
    """
    if every < 1:  # told at once, not when the first frame is asked for
        raise ValueError(f"every is {every}; it must be at least 1, which takes every frame")
    return _frames(sources, channels, every, unreadable, image_range, few_bits)


def _frames(sources, channels, every, unreadable, image_range, few_bits):
    for source in sources:
        frames = (
            _image(source, channels, image_range, few_bits)
            if source.kind == "image"
            else _video(source, channels, every)
        )
        try:
            if source.kind != "camera" and _is_device(source.path):
                raise UnreadableError(f"{source.path}: a device or a pipe, not a file")
            yield from frames
        except UnreadableError as error:
            if unreadable is None:
                raise
            unreadable.append((source.name, str(error)))


def _is_device(path):
    """Whether what is there is neither a file nor a folder; reading a pipe might never end."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


class UnreadableError(ValueError):
    """A file is no image or video that can be read, or not to its end."""


def _image(source, channels, image_range, few_bits):
    try:
        pixels = read_image(source.path, as_stored=image_range is not None)
        if image_range is None and few_bits is not None:
            few_bits.look_at(pixels, source.name)
        image = fit_channels(as_uint8_range(pixels, image_range), channels)
    except (ValueError, OSError) as error:
        raise UnreadableError(str(error)) from error
    yield Frame(source, image)


# === Videos ===


def opencv() -> ModuleType:
    """The module cv2, or an error that says how to get it."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"video needs OpenCV ({error}): pip install opencv-python") from error
    return cv2


def stated_frames(path: str) -> int:
    """Number of frames that a video file says it has; 0 or less if it does not, or is no video."""
    cv2 = opencv()
    if _is_device(path):
        return 0
    video = cv2.VideoCapture(path)
    frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    return frames


def _video(source, channels, every):
    cv2 = opencv()
    video = cv2.VideoCapture(source.path)
    try:
        stated = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if source.kind == "video" else 0
        rate = (video.get(cv2.CAP_PROP_FPS) or 25) / every
        number = 0
        # grabbing is cheap, what is passed over is not decoded
        while video.isOpened() and video.grab():
            if number % every == 0:
                success, pixels = video.retrieve()
                if not success:
                    break
                # OpenCV has BGR
                yield Frame(
                    source,
                    fit_channels(np.ascontiguousarray(pixels[..., ::-1]), channels),
                    number,
                    rate,
                )
            number += 1
        if number == 0:
            raise UnreadableError(
                f"{source.path}: "
                + (
                    "no such camera, or it gives no picture"
                    if source.kind == "camera"
                    else "not a video that OpenCV can read"
                )
            )
        if number < stated:
            raise UnreadableError(
                f"{source.path}: only {number} of the {stated} frames that it states can be read"
            )
    finally:
        video.release()
