"""Write a data set as a cache of records."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from mrcnn.common.files import AnyPath, remove_temporary_files, whole_file
from mrcnn.common.json_files import write_json
from mrcnn.common.progress import track
from mrcnn.common.threads import map_ahead
from mrcnn.common.words import option_or_argument
from mrcnn.data.cache.example import ENCODINGS, encode
from mrcnn.data.cache.layout import (
    FILE_NAME,
    describe,
    is_cache,
    path_text,
    plain_id,
    read_about,
    read_part,
    require_own_folder,
)
from mrcnn.data.image_range import use_image_range
from mrcnn.data.load import SampleError, describe_image, prepare
from mrcnn.data.survey.objects import require_masks

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


# Images of a part, where ``shards`` is None: what is lost of a writing that is stopped.
IMAGES_PER_PART = 256
# What TFRecord adds to a record: its length, and a checksum of the length and of the record.
FRAME = 8 + 4 + 4


class Written(NamedTuple):
    """What a cache holds, as `write_records` returns it."""

    folder: str
    images: int
    objects: int
    bytes: int
    parts: int  # files of records
    kept: int  # of them, those that an earlier writing had finished
    bad_images: list[str]  # which image was left out, and why
    left_out: str = ""  # what the reader of the annotations left out, then and while drawing

    def __str__(self) -> str:
        said = (
            f"{self.folder}: {self.images} images with {self.objects} objects, "
            f"{self.bytes / 1e6:.1f} MB in {self.parts} files"
        )
        if self.kept:
            said += (
                f", {self.kept} of them of an earlier writing (where image or mask files have "
                "changed since, delete the folder and write it again)"
            )
        problems = [*self.bad_images, *([self.left_out] if self.left_out else [])]
        return said + "".join(f"\n  left out: {problem}" for problem in problems)


def write_records(
    dataset: Dataset,
    config: Config,
    folder: AnyPath,
    shards: int | None = None,
    encoding: str = "raw",
    workers: int = 2,
    skip_bad: bool = False,
    progress: bool = True,
) -> Written:
    """Write every image of a data set, resized as training wants it, with its masks: see
    `data.cache.layout`.

    Each file appears whole or not at all. A writing that was stopped goes on with the first part
    that is missing.

    Args:
        dataset: a prepared Dataset; its load_image, load_mask and known_objects must be
            thread-safe.
        config: the IMAGE_* fields are read, and NUM_CLASSES.
        folder: for the cache; it is made. One folder holds one cache.
        shards: number of files; None: one for each 256 images.
        encoding: of the pixels, without loss: "raw", or "png", which takes about half of the space
            and longer to read.
        workers: threads that load images.
        skip_bad: leave out images that cannot be used, and tell them; False: raise after all were
            tried.
        progress: show progress bars on stderr.

    Returns:
        `Written`.

    Raises:
        ValueError: the folder holds a cache of another data set, of other objects or settings, or
            files that are no cache's,
            IMAGE_RESIZE_MODE is "crop", which is random, a wrong argument, objects that would count
            as background because their masks are missing, or images that cannot be used, each with
            its reason.
        OSError: a file cannot be written.
    """
    _check(dataset, config, shards, encoding, workers)
    require_own_folder(folder)
    use_image_range(dataset, config)
    count = len(dataset.image_ids)
    parts = min(shards or -(-count // IMAGES_PER_PART), count)
    about = describe(dataset, config, encoding, parts, bool(skip_bad), workers, progress)
    os.makedirs(folder, exist_ok=True)
    remove_temporary_files(folder)
    if is_cache(folder) and read_about(folder)["fingerprint"] != about["fingerprint"]:
        raise ValueError(_what_differs(folder, about))

    bounds = [count * number // parts for number in range(parts + 1)]
    wanted = {
        name: range(*bounds[number : number + 2]) for number, name in enumerate(about["parts"])
    }
    whole = {
        name: part
        for name in wanted
        if (part := _whole_part(folder, name, about["fingerprint"])) is not None
    }
    missing = [
        image_id
        for name, image_ids in wanted.items()
        if name not in whole
        for image_id in image_ids
    ]
    kept, problems = len(whole), []

    def record(image_id):
        info = dataset.image_info[image_id]
        try:
            prepared = prepare(dataset, config, image_id)
            return encode(prepared, info["source"], info["id"], encoding), len(prepared.class_ids)
        except ValueError as error:
            place = (
                "" if isinstance(error, SampleError) else f"{describe_image(dataset, image_id)}: "
            )
            return f"{place}{error}", None

    with ThreadPoolExecutor(workers) as pool:
        records = track(
            map_ahead(pool, record, missing, 2 * workers), "Caching", progress, len(missing)
        )
        for name, image_ids in wanted.items():
            if name not in whole:
                part = _write_part(
                    folder, name, about["fingerprint"], dataset, image_ids, records, skip_bad
                )
                problems += part["left_out"]
                whole[name] = part
        next(records, None)  # none is left, which ends the progress bar
    if problems and not skip_bad:
        raise ValueError(
            f"{len(problems)} of {len(missing)} images cannot be used; mend them and write the "
            "cache again, or leave them out with "
            f"{option_or_argument('--skip-bad', 'skip_bad=True')}:\n  " + "\n  ".join(problems)
        )
    ordered = [whole[name] for name in wanted]
    images = [info for part in ordered for info in part["images"]]
    if not images:
        raise ValueError("no image can be used:\n  " + "\n  ".join(problems))
    write_json(os.path.join(folder, FILE_NAME), about)
    return Written(
        str(folder),
        len(images),
        sum(info["objects"] for info in images),
        sum(part["bytes"] for part in ordered),
        parts,
        kept,
        [problem for part in ordered for problem in part["left_out"]],
        str(getattr(dataset, "left_out", "")),
    )


def _check(dataset, config, shards, encoding, workers):
    if not len(dataset.image_ids):
        raise ValueError(
            f"{type(dataset).__name__} has no images: add_image is needed for each, then prepare()"
        )
    if config.IMAGE_RESIZE_MODE == "crop":
        raise ValueError(
            "IMAGE_RESIZE_MODE is 'crop', which takes another part of the image each time: a cache "
            "holds one size; use 'square', and SCALE_JITTER for random crops"
        )
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding is {encoding!r}; use one of {', '.join(ENCODINGS)}")
    for name, value in (("shards", shards), ("workers", workers)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    require_masks(dataset)


def _what_differs(folder, about):
    """Why a folder's cache is not the one that is to be written."""
    there = read_about(folder)
    differs = [
        f"{name} = {old!r} (now {about['settings'].get(name)!r})"
        for name, old in there["settings"].items()
        if old != about["settings"].get(name)
    ]
    differs += [
        f"other {what}"
        for name, what in (
            ("classes", "classes"),
            ("objects", "images or objects"),
            ("encoding", "encoding"),
            ("skip_bad", option_or_argument("--skip-bad", "skip_bad")),
            ("parts", "number of files"),
        )
        if there.get(name) != about[name]
    ]
    return f"{folder} holds a cache of {', '.join(differs)}: delete it, or give another folder"


def _whole_part(folder, name, fingerprint):
    """A part that an earlier writing has finished; None without."""
    try:
        return read_part(folder, name, fingerprint)
    except (FileNotFoundError, ValueError):
        return None


@contextlib.contextmanager
def _os_errors(path):
    """TensorFlow's errors of a file as OSError, which callers know."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(
            f"could not write {path} (is the disk full, the folder writable?): {error.message}"
        ) from error


def _write_part(folder, name, fingerprint, dataset, image_ids, records, skip_bad):
    """Write one part, of as many of the ``records`` as it has images; what was written, as its json
    holds it.
    """
    path, images, problems, offset = os.path.join(folder, name), [], [], 0
    with _os_errors(f"{path}.tfrecord"), whole_file(f"{path}.tfrecord") as temporary:
        with tf.io.TFRecordWriter(temporary) as writer:
            for image_id in image_ids:
                content, objects = next(records)
                if objects is None:
                    problems.append(content)
                    continue
                writer.write(content)
                info = dataset.image_info[image_id]
                images.append(
                    {
                        "source": info["source"],
                        "id": plain_id(info["id"]),
                        "path": path_text(info),
                        "offset": offset,
                        "objects": objects,
                    }
                )
                offset += len(content) + FRAME
    part = {"fingerprint": fingerprint, "bytes": offset, "images": images, "left_out": problems}
    if skip_bad or not problems:  # a part with images to mend is written again
        write_json(f"{path}.json", part)
    return part
