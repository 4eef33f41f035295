"""Where results go: pictures, videos, COCO json, labelme json, crops, label maps, a window.

A writer has ``write(frame, result)``, which returns True to stop, and ``close(complete)``, where
``complete`` is False if the work was cut off. None keeps more than what it is writing. Every file
is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mrcnn.common.files import AnyPath, file_identity, whole_file, write_whole
from mrcnn.common.words import on_one_line, option_or_argument
from mrcnn.data.drawing import MADE_BY, as_rgb, write_picture
from mrcnn.data.formats.label_files import write_labels
from mrcnn.data.label_drawing import palette_of
from mrcnn.data.labels import VOID
from mrcnn.inference.sources import Frame, Source, opencv, stated_frames

if TYPE_CHECKING:
    import cv2

    from mrcnn.inference.result import Result
    from mrcnn.inference.semantic_result import SemanticResult

# Of the COCO json: of objects, and of the regions of labelled pixels.
DESCRIPTION = "Objects found by Mask R-CNN"
OF_REGIONS = "Regions of pixels labelled by mrcnn"


def output_path(folder: AnyPath, name: str, types: tuple[str, ...]) -> str:
    """Path of a file in the folder: the name itself where its type is among ``types``, else with
    the first added.
    """
    path = os.path.join(folder, *name.split("/"))
    return path if path.lower().endswith(types) else path + types[0]


def is_foreign(path: AnyPath) -> bool:
    """Whether a file is there that no writer of this module has written, nor `write_picture`, by
    what it says of itself at its beginning or end.
    """
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(4096)
        file.seek(max(os.path.getsize(path) - 64, 0))
        ends = start + file.read()
    return not any(mark.encode() in ends for mark in (MADE_BY, DESCRIPTION, OF_REGIONS))


def replaced(path: AnyPath) -> str:
    """Words for a foreign file in the place of a result."""
    return (
        f"{path} is there and would be replaced by a result, but is none of an earlier run: write "
        "to another folder, or move it away first"
    )


class Writer:
    """What the writers share; this one writes nothing.

    Attributes:
        kept: `file_identity` of the files that must not be replaced.
        of_objects: whether what it takes must be a `Result`; else it may be a `SemanticResult`.
    """

    kept: frozenset[tuple[int, int]] = frozenset()
    of_objects: ClassVar[bool] = False

    def __init__(self, folder: AnyPath) -> None:
        self.folder = folder

    def write(self, frame: Frame, result: Any) -> bool | None:
        """Take one result; True ends the work."""

    def close(self, complete: bool) -> None:
        """Finish what was begun."""

    def path(self, name: str, *types: str) -> str:
        """`output_path`, with its folder made.

        Raises:
            ValueError: the file is one of those that must not be replaced, or no result.
        """
        path = output_path(self.folder, name, types)
        if self.kept and file_identity(path) in self.kept:
            raise ValueError(
                f"{path} is a file that is searched, and would be replaced by a result: write to "
                "another folder"
            )
        if is_foreign(path):
            raise ValueError(replaced(path))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path


class Pictures(Writer):
    """Each image with its objects drawn in, under its own name; .png unless it is a .jpg or .png.

    Args:
        folder: to write to.
        frames: True writes the frames of videos, False the images that are files.
        style: of `Result.save`.
    """

    types = (".png", ".jpg", ".jpeg")

    def __init__(self, folder: AnyPath, frames: bool, **style: Any) -> None:
        super().__init__(folder)
        self.frames, self.style = frames, style

    def write(self, frame: Frame, result: Result | SemanticResult) -> None:
        if self.frames == (frame.number is not None):
            result.save(self.path(frame.name, *self.types), frame.image, **self.style)


class Videos(Writer):
    """Each video with the objects drawn in.

    Args:
        folder: to write to.
        video_type: ".mp4" (MPEG-4) or ".avi" (Motion JPEG, larger).
        style: of `Result.draw`.
    """

    codecs: ClassVar[dict[str, str]] = {".mp4": "mp4v", ".avi": "MJPG"}

    def __init__(self, folder: AnyPath, video_type: str = ".mp4", **style: Any) -> None:
        super().__init__(folder)
        self.style = style
        if video_type not in self.codecs:
            raise ValueError(
                f"video_type is {video_type!r}; it must be one of {', '.join(self.codecs)}"
            )
        self.video_type, self.file_path, self.temporary, self.count = video_type, "", "", 0
        self.whole = contextlib.ExitStack()  # of the file's name
        self.source: Source | None = None
        self.size: tuple[int, ...] = ()
        self.file: cv2.VideoWriter | None = None

    def write(self, frame: Frame, result: Result | SemanticResult) -> None:
        if frame.number is None:
            return
        picture = result.draw(frame.image, **self.style)
        size = picture.shape[1::-1]
        if self.file is None or frame.source != self.source:
            self.close(True)
            self.file = self._open(frame, size)
        if size != self.size:  # OpenCV would drop it in silence
            raise ValueError(
                f"{frame.name} has {size[0]} x {size[1]} pixels, the frames before it had "
                f"{self.size[0]} x {self.size[1]}: write "
                + option_or_argument("--save frames", "the frames, save=['frames'],")
                + " instead of the video"
            )
        self.file.write(picture[..., ::-1].copy())
        self.count += 1

    def _open(self, frame, size):
        cv2, path = opencv(), self.path(frame.source.name, self.video_type)
        with contextlib.ExitStack() as whole:
            temporary = whole.enter_context(whole_file(path, durable=False))
            code = cv2.VideoWriter_fourcc(*self.codecs[self.video_type])
            file = cv2.VideoWriter(temporary, code, frame.rate, size)
            if not file.isOpened():
                raise OSError(
                    f"{path}: OpenCV cannot write a video of {size[0]} x {size[1]} pixels with the "
                    f"codec {self.codecs[self.video_type]}"
                )
            self.source, self.size, self.count = frame.source, size, 0
            self.file_path, self.temporary, self.whole = path, temporary, whole.pop_all()
        return file

    def close(self, complete: bool) -> None:
        if self.file is None:
            return
        self.file.release()
        self.source = self.file = None
        with self.whole:
            # OpenCV says nothing of a full disk
            if stated_frames(self.temporary) < self.count:
                raise OSError(
                    f"{self.file_path}: not all of its {self.count} frames could be written; is "
                    "the disk full?"
                )
            with open(self.temporary, "ab") as file:
                file.write(_mark(self.video_type))


def _mark(video_type):
    """`MADE_BY` as a piece of a video file that players pass over."""
    text = MADE_BY.ljust(16).encode()
    if video_type == ".avi":
        return b"JUNK" + struct.pack("<I", len(text)) + text
    return struct.pack(">I", 8 + len(text)) + b"free" + text


class Labelme(Writer):
    """A .json for labelme for each image; frames of a video are written beside theirs, as labelme
    shows images.
    """

    of_objects = True

    def write(self, frame: Frame, result: Result) -> None:
        stem = os.path.splitext(frame.name)[0] if frame.number is None else frame.name
        path, image_path = self.path(stem, ".json"), str(frame.source.path)
        if frame.number is not None:
            image_path = self.path(stem, ".png")
            write_picture(image_path, as_rgb(frame.image))
        result.to_labelme(image_path, path)


class Crops(Writer):
    """A .png for each object, cut out by its mask, in a folder for each class."""

    of_objects = True

    def write(self, frame: Frame, result: Result) -> None:
        for number, (crop, name) in enumerate(
            zip(result.each_crop(mask=True, image=frame.image), result.names)
        ):
            # a name from a file of annotations, such as "..", leads to no other folder
            folder = "".join(
                letter if letter.isalnum() or letter in " -_" else "_" for letter in name
            )
            write_picture(self.path(f"{folder}/{frame.name}_{number:03d}", ".png"), crop)


class Labels(Writer):
    """A label map for each image, as an indexed .png with a colour for each class; those of frames
    by their number, in a folder for each video. The names of the classes are in classes.txt.

    Args:
        folder: to write to.
        class_names: list of names by class id.

    Raises:
        ValueError: there is another classes.txt, whose label maps mean something else.
    """

    list_name = "classes.txt"

    def __init__(self, folder: AnyPath, class_names: Sequence[str]) -> None:
        super().__init__(folder)
        self.palette = palette_of(len(class_names)) if len(class_names) < VOID else None
        # the first is not read as a class, whatever the second is called
        names = ["background", *map(on_one_line, class_names[1:])]
        content = "".join(f"{name}\n" for name in names).encode("utf-8", "backslashreplace")
        path = os.path.join(folder, self.list_name)
        if os.path.lexists(path) and Path(path).read_bytes() != content:
            raise ValueError(replaced(path))
        os.makedirs(folder, exist_ok=True)
        write_whole(path, content, durable=False)

    def write(self, frame: Frame, result: Result | SemanticResult) -> None:
        stem = os.path.splitext(frame.name)[0] if frame.number is None else frame.name
        path = self.path(stem, ".png")
        labels = result.to_labels()
        palette = self.palette if labels.dtype == np.uint8 else None
        write_labels(path, labels, palette, software=MADE_BY, durable=False)


class Coco(Writer):
    """One COCO json of all images and objects.

    The file is there, whole and valid, once the writer is closed, also if the work was cut off;
    until then files without a name, in the same folder, hold a line for each image and object.

    Args:
        folder: to write to; the file is ``predictions.json``.
        class_names: list of names by class id; the class ids are the category ids.
        polygons: polygons in place of run lengths.
        of_regions: the objects are the regions of labelled pixels.
    """

    name = "predictions.json"
    of_objects = True

    def __init__(
        self,
        folder: AnyPath,
        class_names: Sequence[str],
        polygons: bool = False,
        of_regions: bool = False,
    ) -> None:
        super().__init__(folder)
        self.class_names, self.polygons = class_names, polygons
        self.description = OF_REGIONS if of_regions else DESCRIPTION
        self.file = self.path(self.name, ".json")
        # a file name that is no text comes out as JSON's \udcff
        self.parts = {
            key: tempfile.TemporaryFile(
                "w+",
                encoding="utf-8",
                errors="backslashreplace",
                dir=os.path.dirname(self.file),
            )
            for key in ("images", "annotations")
        }
        self.counts = dict.fromkeys(self.parts, 0)

    def write(self, frame: Frame, result: Result) -> None:
        height, width = frame.image.shape[:2]
        image = {
            "id": self.counts["images"] + 1,
            "file_name": frame.name,
            "width": width,
            "height": height,
        }
        if frame.number is not None:
            image.update(video=frame.source.name, frame=frame.number)
        self._add("images", image)
        for entry in result.to_coco(image["id"], polygons=self.polygons):
            self._add("annotations", {"id": self.counts["annotations"] + 1, **entry, "iscrowd": 0})

    def _add(self, key, entry):
        line = json.dumps(entry, ensure_ascii=False)
        self.parts[key].write(f",\n{line}" if self.counts[key] else line)
        self.counts[key] += 1

    def close(self, complete: bool) -> None:
        try:
            self._join(complete)
        finally:
            for lines in self.parts.values():
                with contextlib.suppress(OSError):  # of lines that did not fit on the disk
                    lines.close()

    def _join(self, complete):
        categories = [
            {"id": class_id, "name": name}
            for class_id, name in enumerate(self.class_names)
            if class_id
        ]
        with (
            whole_file(self.file, durable=False) as temporary,
            open(temporary, "w", encoding="utf-8") as file,
        ):
            info = {"description": self.description, "complete": complete}
            file.write(
                f'{{"info": {json.dumps(info)},\n'
                f'"categories": {json.dumps(categories, ensure_ascii=False)}'
            )
            for key, lines in self.parts.items():
                file.write(f',\n"{key}": [\n')
                lines.seek(0)
                shutil.copyfileobj(lines, file)
                file.write("\n]")
            file.write("}\n")


class Window(Writer):
    """Shows what is found on the screen; the keys q and Esc end the work. ``style`` is of
    `Result.draw`.
    """

    title = "mrcnn: q ends"

    def __init__(self, **style: Any) -> None:
        super().__init__("")
        self.style = style

    def write(self, frame: Frame, result: Result | SemanticResult) -> bool:
        cv2 = opencv()
        try:
            cv2.imshow(self.title, result.draw(frame.image, **self.style)[..., ::-1].copy())
            return cv2.waitKey(1) & 0xFF in (ord("q"), 27)
        except cv2.error as error:
            raise OSError(
                f"OpenCV has no window here ({error}): omit "
                + option_or_argument("--show", "show=True")
            ) from error

    def close(self, complete: bool) -> None:
        cv2 = opencv()
        try:
            cv2.destroyAllWindows()
        except cv2.error:  # none was opened
            pass
