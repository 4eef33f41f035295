"""From images of any size to the class of each of their pixels, and how good these are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.progress import track
from mrcnn.common.threads import check_workers, map_ahead
from mrcnn.config.classes import class_ids, numbered_names
from mrcnn.config.network_sides import stride_of
from mrcnn.data.bilinear import bilinear_within
from mrcnn.data.class_checks import check_classes
from mrcnn.data.coco_json import image_name, known_image_ids
from mrcnn.data.image_range import use_image_range
from mrcnn.data.images import mold_image
from mrcnn.data.label_drawing import draw_labels
from mrcnn.data.label_sample import pad_image
from mrcnn.data.labels import (
    call_load_labels,
    check_one_source,
    is_void,
    label_dtype,
    void_label,
)
from mrcnn.data.resize import resize_scale, resized_sides
from mrcnn.evaluation.collect import warn_of_unreadable
from mrcnn.evaluation.label_evaluation import LabelEvaluation, evaluate_labels
from mrcnn.evaluation.trimap import DISTANCE
from mrcnn.inference.detect import (
    as_seen,
    batches_of_one_shape,
    check_list,
    check_min_confidence,
    each_named,
    pixels_for,
    resize_as,
    warn_of_few_bits,
)
from mrcnn.inference.result import Classes
from mrcnn.inference.semantic_result import SemanticResult, label_pixels
from mrcnn.inference.tiles import blend, tiles

if TYPE_CHECKING:
    from mrcnn.config.segmentation import SegmentationConfig
    from mrcnn.data.dataset import Dataset

# Molded images, float32 [b, H, W, c] -> the probabilities of all classes, float32 [b, h, w, K].
Predict: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
# Images -> the class of each pixel.
Segment: TypeAlias = Callable[[list[np.ndarray]], Sequence[SemanticResult]]


def segment(
    predict: Predict,
    images: Sequence[np.ndarray] | np.ndarray,
    config: SegmentationConfig,
    classes: Classes | None = None,
    min_confidence: float | None = None,
    log: Callable[..., object] | None = None,
) -> list[SemanticResult]:
    """Label the pixels of images, BATCH_SIZE images at a time.

    Where TILE is set, an image is not resized, whatever IMAGE_RESIZE_MODE says: it is cut into
    tiles, BATCH_SIZE of them at a time, and no more than the probabilities of one row of tiles are
    in memory. Those of the whole image are not kept.

    Args:
        predict: callable (molded float32 [b, H, W, c]) -> probabilities float32 [b, h, w,
            NUM_CLASSES], whose first pixel is the image's.
        images: sequence of [h, w] or [h, w, c], of any sizes, from 1 x 1 px, and number types.
        config: a ``SegmentationConfig``.
        classes, min_confidence: what to keep; see `SemanticResult.filter`.
        log: callable (text, array=None) for the shapes of what goes in, or None.

    Returns:
        A `SemanticResult` per image, of the image's size, in order.

    Raises:
        ValueError: an unknown class, a ``min_confidence`` that is no probability, or what is wrong
            with an image, by its place in the list.
    """
    check_list(images, "segment")
    check_min_confidence(min_confidence)
    names = config.CLASS_NAMES or numbered_names(config.NUM_CLASSES)
    if classes is not None:
        class_ids(classes, config.CLASS_NAMES, config.NUM_CLASSES, first=0)
    if log:
        log(f"Processing {len(images)} images")
    if config.IMAGE_RANGE is None:
        warn_of_few_bits(images, "segment")
    label = _label_in_tiles if config.TILE else _label_whole
    found: list[SemanticResult] = []
    # one batch at a time, so that memory does not grow with the number of images
    for start in range(0, len(images), config.BATCH_SIZE):
        group = images[start : start + config.BATCH_SIZE]
        fit = list(each_named(partial(pixels_for, config), group, start, len(images)))
        for image, (labels, confidence, scores) in zip(group, label(predict, fit, config, log)):
            found.append(SemanticResult(labels, confidence, names, as_seen(config, image), scores))
    if classes is None and min_confidence is None:
        return found
    return [result.filter(classes, min_confidence) for result in found]


def _label_whole(predict, images, config, log):
    """(labels, confidence, probabilities at the network's size) of each image of a batch."""
    scales = config.TEST_SCALES or (1,)
    for image, found in zip(
        images, zip(*(_at_scale(predict, images, config, scale, log) for scale in scales))
    ):
        scores = found[0]
        if len(found) > 1:
            sides = _network_sides(image, config)
            scores = np.mean([bilinear_within(one, *sides) for one in found], axis=0)
        yield *label_pixels(scores, *image.shape[:2]), scores


def _at_scale(predict, images, config, scale, log):
    """The probabilities of each image of a batch at ``scale`` times the size of the config."""
    resized = [resize_as(config, image, scale) for image in images]
    molded = [mold_image(image, config, np.float32) for image, _, _ in resized]
    run = probabilities_of(predict, molded, config, log)
    for (_, (y1, x1, y2, x2), _), scores in zip(resized, run):
        yield np.ascontiguousarray(scores[y1:y2, x1:x2])


def _network_sides(image, config):
    """The sides that an image is resized to, px."""
    height, width = image.shape[:2]
    mode = config.IMAGE_RESIZE_MODE
    sizes = config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE
    return resized_sides(height, width, resize_scale(height, width, *sizes, mode), mode)


def _label_in_tiles(predict, images, config, log):
    """(labels, confidence, None) of each image."""
    for image in images:
        windows = tiles(image.shape, config.TILE, config.TILE_OVERLAP, stride_of(config))
        found = _of_windows(predict, image, windows, config, log)
        labels = np.empty(image.shape[:2], label_dtype(void_label(config.NUM_CLASSES)))
        confidence = np.empty(image.shape[:2], np.float32)
        for y, strip in blend(windows, found):
            rows = slice(y, y + len(strip))
            labels[rows], confidence[rows] = strip.argmax(axis=-1), strip.max(axis=-1)
        yield labels, confidence, None


def _of_windows(predict, image, windows, config, log):
    """The probabilities of each window of an image."""
    for start in range(0, len(windows), config.BATCH_SIZE):
        parts = [image[y1:y2, x1:x2] for y1, x1, y2, x2 in windows[start:][: config.BATCH_SIZE]]
        molded = [mold_image(part, config, np.float32) for part in parts]
        yield from probabilities_of(predict, molded, config, log)


def probabilities_of(
    predict: Predict,
    molded: Sequence[NDArray[np.float32]],
    config: SegmentationConfig,
    log: Callable[..., object] | None = None,
) -> list[NDArray[np.float32]]:
    """Run the network on molded images of any sizes, BATCH_SIZE at a time.

    Args:
        predict, log: as of `segment`.
        molded: float32 [H, W, c] each.
        config: TEST_FLIPS averages with the mirror images.

    Returns:
        float32 [H, W, NUM_CLASSES] of each image.
    """
    found = _run(predict, molded, config, log)
    if config.TEST_FLIPS:
        mirrored = _run(predict, [image[:, ::-1] for image in molded], config, log)
        found = [(one + other[:, ::-1]) / 2 for one, other in zip(found, mirrored)]
    return found


def _run(predict, molded, config, log):
    padded = [pad_image(image, config) for image in molded]
    found: dict[int, NDArray[np.float32]] = {}
    for indices in batches_of_one_shape(padded, config.BATCH_SIZE):
        batch = np.stack([padded[index] for index in indices])
        if log:
            log("molded_images", batch)
        for index, scores in zip(indices, predict(batch)):
            height, width = molded[index].shape[:2]
            found[index] = scores[:height, :width]
    return [found[index] for index in range(len(molded))]


# === Measuring ===


def evaluate_segmenter(
    segment: Segment,
    config: SegmentationConfig,
    dataset: Dataset,
    image_ids: Iterable[int] | None = None,
    *,
    report: AnyPath | None = None,
    worst: int = 8,
    trimap: float | None = DISTANCE,
    batch_size: int | None = None,
    workers: int = 1,
    verbose: int = 1,
) -> LabelEvaluation:
    """Measure a segmenter on a dataset; see `evaluation.evaluate_labels` for the measures.

    The truth is what `Dataset.load_labels` makes with OVERLAP and CROWDS. An image that cannot be
    read is left out, and named in ``left_out``.

    Args:
        segment: callable, list of images (as ``load_image`` gives them) -> list of
            `SemanticResult`.
        config: the network's ``SegmentationConfig``.
        dataset: a prepared Dataset of the network's classes. Where CLASS_NAMES are known it may
            have others after them, whose pixels are then found wrongly.
        image_ids: list of ids; None: all.
        report: folder for a report: an HTML page, pictures and json.
        worst: number of worst images to name and show.
        trimap: distance from a border for trimap_IoU, px; None measures none.
        batch_size: images per call of ``segment``; None: BATCH_SIZE.
        workers: threads that load the next images meanwhile.
        verbose: 1 shows progress and prints the result, 0 is silent.

    Returns:
        ``LabelEvaluation``, which also has images_per_second and segment_seconds, of ``segment``
        alone.

    Raises:
        ValueError: no image that can be read, no labelled pixel, unknown ids, a batch_size or
            workers below 1, sources with different classes, or classes other than the network's.
        OSError: the folder of the report cannot be made.
    """
    check_classes(dataset, config, more=True)
    check_one_source(dataset, config.MERGE_SOURCES)
    use_image_range(dataset, config)
    check_workers(workers)
    batch_size = config.BATCH_SIZE if batch_size is None else batch_size
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    image_ids = known_image_ids(dataset, image_ids)
    if report is not None:  # now, not after hours, shows whether it can be made
        os.makedirs(report, exist_ok=True)
    scenes = _Scenes(segment, dataset, config)
    evaluation = evaluate_labels(
        scenes.pairs(image_ids, batch_size, workers, bool(verbose)),
        list(dataset.class_names),
        images=lambda number: dataset.load_image(scenes.image_ids[number]),
        names=scenes.names,  # has that of each pair once the pair is there
        void=void_label(len(dataset.class_names)),
        trimap=trimap,
        worst=worst,
        verbose=0,
        settings={
            "dataset": type(dataset).__name__,
            "network": config.NAME,
            "network_classes": config.NUM_CLASSES,
        },
    )
    evaluation.metrics.update(scenes.speed())
    evaluation.left_out["unreadable_images"] = scenes.unreadable
    warn_of_unreadable(scenes.unreadable)
    evaluation.publish(verbose, report)
    return evaluation


class _Scenes:
    """The truth of images and what was found in them, and what cannot be read of them.

    Attributes:
        image_ids, names: of the images that could be read so far.
        unreadable: dicts of the others: image_id, name, why.
    """

    def __init__(self, segment: Segment, dataset: Dataset, config: SegmentationConfig) -> None:
        self.segment, self.dataset, self.config = segment, dataset, config
        self.image_ids: list[int] = []
        self.names: list[str] = []
        self.unreadable: list[dict[str, Any]] = []
        self._timings: list[tuple[int, float]] = []

    def pairs(
        self, image_ids: Sequence[int], batch_size: int, workers: int, progress: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(truth, found) of each image that can be read."""
        with ThreadPoolExecutor(workers) as pool:
            loaded = map_ahead(pool, self._load, image_ids, workers + batch_size)
            batch: list[tuple[int, np.ndarray, np.ndarray]] = []
            for number, (image_id, scene) in enumerate(
                zip(image_ids, track(loaded, "Segmenting", progress, len(image_ids))), 1
            ):
                if isinstance(scene, str):
                    name = image_name(self.dataset, image_id)
                    self.unreadable.append({"image_id": image_id, "name": name, "why": scene})
                else:
                    batch.append((image_id, *scene))
                if len(batch) == batch_size or (batch and number == len(image_ids)):
                    yield from self._segmented(batch)
                    batch = []
        if not self.names:
            first = self.unreadable[0]
            raise ValueError(
                f"none of the {len(image_ids)} images can be read; the first, {first['name']}: "
                f"{first['why']}"
            )

    def _load(self, image_id):
        """(image, truth), or why it cannot be read."""
        try:
            return self.dataset.load_image(image_id), _truth(self.dataset, self.config, image_id)
        except (OSError, ValueError) as error:
            return str(error)

    def _segmented(self, batch):
        start = time.perf_counter()
        results = self.segment([image for _, image, _ in batch])
        self._timings.append((len(batch), time.perf_counter() - start))
        for (image_id, _, truth), result in zip(batch, results, strict=True):
            self.image_ids.append(image_id)
            self.names.append(image_name(self.dataset, image_id))
            yield truth, result.labels

    def speed(self) -> dict[str, float]:
        """Images per second of ``segment``, without its first call where there are more, which
        builds the graph; and the seconds of all calls.
        """
        images, seconds = (sum(values) for values in zip(*(self._timings[1:] or self._timings)))
        return {
            "images_per_second": images / seconds if seconds else float("inf"),
            "segment_seconds": sum(seconds for _, seconds in self._timings),
        }


def found_and_true(
    segment: Segment, config: SegmentationConfig, dataset: Dataset, image_id: int
) -> NDArray[np.uint8]:
    """A picture of what was found in an image and, beside it, of the truth.

    Args:
        segment: callable, list of images -> list of `SemanticResult`.
        config: OVERLAP, CROWDS and IGNORE_LABEL are read.
        dataset: a prepared Dataset.
        image_id: of the image.

    Returns:
        uint8 [height, 2 * width, 3]; void is striped.
    """
    image = dataset.load_image(image_id)
    truth = _truth(dataset, config, image_id)
    found = segment([image])[0]
    if found.image is not None:
        image = found.image
    return np.hstack(
        [draw_labels(image, labels, dataset.class_names) for labels in (found.labels, truth)]
    )


def _truth(dataset: Dataset, config: SegmentationConfig, image_id: int) -> np.ndarray:
    """The label map of an image, where `void_label` stands for all that is void."""
    labels = call_load_labels(dataset, image_id, config.OVERLAP, config.CROWDS)
    count = len(dataset.class_names)
    void = void_label(count)
    empty = is_void(labels, count, config.IGNORE_LABEL)
    labels = np.where(empty, label_dtype(void)(void), labels)
    # the dtype says which value is void to whoever draws the map; a value beyond it is no label
    fitting = labels.astype(label_dtype(void))
    return fitting if np.array_equal(fitting, labels) else labels
