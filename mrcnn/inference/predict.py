"""Read, detect, write: one image after the other."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import numpy as np

from mrcnn.common.files import AnyPath, file_identity, require_writable
from mrcnn.common.progress import track
from mrcnn.common.words import some
from mrcnn.config.classes import class_ids, numbered_names
from mrcnn.config.segmentation import SegmentationConfig
from mrcnn.data.drawing import check_color_by
from mrcnn.data.images import limit_pixels
from mrcnn.inference.detect import LimitReached
from mrcnn.inference.result import Classes, Result
from mrcnn.inference.semantic_result import SemanticResult
from mrcnn.inference.sources import Source, count_frames, find_sources, read_frames
from mrcnn.inference.summary import Summary
from mrcnn.inference.writers import (
    Coco,
    Crops,
    Labelme,
    Labels,
    Pictures,
    Videos,
    Window,
    Writer,
    is_foreign,
    output_path,
    replaced,
)

if TYPE_CHECKING:
    from mrcnn.config import Config


# What is found in an image.
Found: TypeAlias = Result | SemanticResult


class Detector(Protocol):
    """A `MaskRCNN` or a `Segmenter` of mode "inference"."""

    @property
    def config(self) -> Config: ...

    def detect(
        self,
        images: Sequence[np.ndarray],
        *,
        classes: Classes | None = None,
        min_confidence: float | None = None,
    ) -> Sequence[Found]: ...


class HasImage(Protocol):
    """A `sources.Frame`, or anything else with an image."""

    @property
    def image(self) -> np.ndarray: ...


AnyFrame = TypeVar("AnyFrame", bound=HasImage)

# What `predict` can write.
SAVE = {
    "pictures": "each image with its objects drawn in",
    "video": "each video with its objects drawn in",
    "frames": "frames/, each frame of a video as a picture of its own",
    "coco": "predictions.json, all images and objects as COCO json",
    "labelme": "labelme/, a .json per image to be corrected in labelme",
    "crops": "crops/, a .png per object, cut out by its mask",
    "labels": "labels/, a .png per image, in which a pixel's value is its class",
}


def predictions(
    model: Detector,
    frames: Iterable[AnyFrame],
    classes: Classes | None = None,
    min_confidence: float | None = None,
) -> Iterator[tuple[AnyFrame, Found]]:
    """Detect in frames as they come, BATCH_SIZE at a time.

    Args:
        model: a `MaskRCNN` or a `Segmenter` of mode "inference".
        frames: iterable of `sources.Frame`, or of anything with an ``image``.
        classes, min_confidence: see `MaskRCNN.detect`.

    Yields:
        (frame, `inference.Result` or `inference.SemanticResult`), in order.
    """
    frames = iter(frames)
    while batch := list(itertools.islice(frames, model.config.BATCH_SIZE)):
        with warnings.catch_warnings():
            # one for each batch; the `Summary` counts them
            warnings.simplefilter("ignore", LimitReached)
            results = model.detect(
                [frame.image for frame in batch], classes=classes, min_confidence=min_confidence
            )
        yield from zip(batch, results)


def predict(
    model: Detector,
    places: int | AnyPath | Iterable[int | AnyPath],
    output: AnyPath,
    *,
    save: Collection[str] = ("pictures", "video", "coco"),
    recursive: bool = False,
    every: int = 1,
    limit: int | None = None,
    classes: Classes | None = None,
    min_confidence: float | None = None,
    polygons: bool = False,
    video_type: str = ".mp4",
    show: bool = False,
    progress: bool = True,
    color_by: str = "class",
    labels: bool = True,
) -> Summary:
    """Detect in image files, folders, patterns, videos and cameras, and write what is found.

    Where the model labels pixels, the objects of "coco", "labelme" and "crops" are the connected
    regions of each class, at most DETECTION_MAX_INSTANCES of an image, the largest ones.

    Images are read, and results written, one after the other: memory does not grow with their
    number. A file that cannot be read is counted and told, and the work goes on. Ctrl-C ends it in
    order.

    Args:
        model: a `MaskRCNN` or a `Segmenter` of mode "inference".
        places: one or a list of files, folders, patterns and numbers of cameras; see
            `sources.find_sources`.
        output: folder for the results, made where it is missing. Earlier results of the same names
            are replaced, but no other files, and none of labelme, which someone may have corrected.
        save: what to write, words of `SAVE`.
        recursive: look into the folders of folders.
        every: of videos take every n-th frame.
        limit: end after this many images; None for no end.
        classes, min_confidence: which objects; see `MaskRCNN.detect`.
        polygons: polygons in place of run lengths in the COCO json.
        video_type: ".mp4" or ".avi".
        show: also show each picture in a window; q ends the work.
        progress: show a bar on stderr.
        color_by, labels: of the pictures and videos; see `data.drawing.draw_instances`.

    Returns:
        `Summary`.

    Raises:
        FileNotFoundError: a place does not exist, or has no image and no video.
        ValueError: an unknown word in ``save``, an unknown class, ``every`` or ``limit`` below 1,
            or a file written would replace an image, another of its kind, a file of labelme or one
            that is no result.
        OSError: the output cannot be a folder to write to, which is told before anything is read,
            or the results cannot be written; what was written before is closed, so that it can be
            read.
        ImportError: there is a video and no OpenCV.
    """
    unknown = set(save) - set(SAVE)
    if unknown:
        raise ValueError(
            f"save has {', '.join(map(repr, sorted(unknown)))}; known are {', '.join(SAVE)}"
        )
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for no end")
    check_color_by(color_by)
    of_pixels = isinstance(model.config, SegmentationConfig)
    if classes is not None:
        # an unknown one is reported before anything is written; no object is of the background
        first = 0 if of_pixels else 1
        class_ids(classes, model.config.CLASS_NAMES, model.config.NUM_CLASSES, first)
    sources, others = find_sources(places, recursive, leave_out=output)
    require_writable(output, "output")
    kept = check_outputs(sources, output, save, video_type)
    summary = Summary(
        str(output),
        others=others,
        most=model.config.DETECTION_MAX_INSTANCES,
        pixels=Counter() if of_pixels else None,
    )
    limit_pixels(model.config.IMAGE_MAX_PIXELS)
    frames = read_frames(
        sources,
        model.config.IMAGE_CHANNEL_COUNT,
        every,
        summary.unreadable,
        model.config.IMAGE_RANGE,
        summary.few_bits,
    )
    total = count_frames(sources, every) if progress else None
    if limit is not None:
        frames, total = itertools.islice(frames, limit), min(limit, total or limit)
    style = {"color_by": color_by, "labels": labels}
    start, complete = time.perf_counter(), False

    def close(writer: Writer) -> None:
        writer.close(complete)

    # the stack closes all writers, also after one that fails to close
    with (
        _naming(output),
        contextlib.ExitStack() as closing,
    ):
        writers = []
        for writer in _writers(model.config, output, save, polygons, video_type, show, style):
            writer.kept = kept
            closing.callback(close, writer)
            writers.append(writer)
        try:
            found = predictions(model, frames, classes, min_confidence)
            verb = "Segmenting" if of_pixels else "Detecting"
            for frame, result in track(found, verb, progress, total):
                summary.add(result)
                objects = _objects(result, writers, summary.most)
                summary.at_limit += result.at_limit or objects.at_limit
                if any(
                    [
                        writer.write(frame, objects if writer.of_objects else result)
                        for writer in writers
                    ]
                ):
                    break
            complete = True
        except KeyboardInterrupt:
            summary.interrupted = True
    summary.seconds = time.perf_counter() - start
    return summary


def _objects(result, writers, most):
    """A result of pixels as one of objects, where a writer wants that."""
    if isinstance(result, Result) or not any(writer.of_objects for writer in writers):
        return result
    return result.large_result(most=most)


@contextlib.contextmanager
def _naming(output):
    """Give the errors of a full disk, which name no file, the folder."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise type(error)(error.errno, error.strerror, str(output)) from error


def _writers(config, output, save, polygons, video_type, show, style):
    """Open them one after the other, as they are asked for."""
    names = config.CLASS_NAMES or numbered_names(config.NUM_CLASSES)
    make = {
        "pictures": lambda: Pictures(output, frames=False, **style),
        "video": lambda: Videos(output, video_type, **style),
        "frames": lambda: Pictures(os.path.join(output, "frames"), frames=True, **style),
        "coco": lambda: Coco(output, names, polygons, isinstance(config, SegmentationConfig)),
        "labelme": lambda: Labelme(os.path.join(output, "labelme")),
        "crops": lambda: Crops(os.path.join(output, "crops")),
        "labels": lambda: Labels(os.path.join(output, "labels"), names),
    }
    for word in dict.fromkeys(save):
        yield make[word]()
    if show:
        yield Window(**style)


def check_outputs(
    sources: Iterable[Source], output: AnyPath, save: Collection[str], video_type: str
) -> frozenset[tuple[int, int]]:
    """Refuse to replace an image or another file that is no result by a result, the picture or
    labelme file of one image by another's, or a labelme file that is there.

    The names of crops and frames are known only when they are written, and are looked at then.

    Args:
        sources: list of `Source`.
        output, save, video_type: see `predict`.

    Returns:
        `file_identity` of the files that are searched.

    Raises:
        ValueError: naming the file.
    """
    identities = (file_identity(str(source.path)) for source in sources if source.kind != "camera")
    kept = frozenset(identity for identity in identities if identity is not None)
    of_video = (video_type,) if "video" in save else ()
    types: dict[str, tuple[str, ...]] = {
        "image": Pictures.types if "pictures" in save else (),
        "video": of_video,
        "camera": of_video,
    }
    written: dict[str, Source] = {}
    for source in sources:
        if not types.get(source.kind):
            continue
        path = os.path.abspath(output_path(output, source.name, types[source.kind]))
        if file_identity(path) in kept:
            raise ValueError(
                f"{path} is a file that is searched, and would be replaced by a picture: write to "
                "another folder"
            )
        if is_foreign(path):
            raise ValueError(replaced(path))
        other = written.setdefault(path, source)
        if other != source:  # such as a.tif and a.tif.png
            raise ValueError(
                f"{other.name} and {source.name} would share the picture {path}: "
                "search them in two runs"
            )
    for word, file in (("labelme", "labelme file"), ("labels", "label map")):
        if word in save:
            _check_stems(sources, file)
    if "labelme" in save:
        _check_labelme(sources, os.path.join(output, "labelme"))
    if "labels" in save:
        _check_label_maps(sources, os.path.join(output, "labels"))
    found = os.path.join(output, Coco.name)
    if "coco" in save and is_foreign(found):
        raise ValueError(replaced(found))
    return kept


def _check_stems(sources, file):
    """Refuse images that differ in their endings alone, where each gets a file without it."""
    stems: dict[str, Source] = {}
    for source in sources:
        other = stems.setdefault(os.path.splitext(source.name)[0], source)
        if source.kind == other.kind == "image" and other != source:
            raise ValueError(
                f"{other.name} and {source.name} would share one {file}: search them in two runs"
            )


def _check_label_maps(sources, folder):
    """Refuse to replace label maps in the folder that are no results."""
    for source in sources:
        path = os.path.join(folder, *source.name.split("/"))
        path = os.path.splitext(path)[0] + ".png"
        if source.kind == "image" and is_foreign(path):
            raise ValueError(replaced(path))


def _check_labelme(sources, folder):
    """Refuse to replace files of labelme in the folder."""
    found = []
    for source in sources:
        path = os.path.join(folder, *source.name.split("/"))
        if source.kind == "image":
            path = os.path.splitext(path)[0] + ".json"
            found += [path] if os.path.lexists(path) else []
        elif os.path.isdir(path):  # of the frames
            found += [
                os.path.join(path, name) for name in os.listdir(path) if name.endswith(".json")
            ]
    if found:
        raise ValueError(
            f"{some(found, 1)} would be replaced, which someone may have corrected in labelme: "
            "write to another folder, or delete what is there first"
        )
