"""Cases without a network: what NumPy does before and after it. Only that of the cache imports
TensorFlow.
"""

import json
import tempfile
from pathlib import Path

import measure
import numpy as np

# an ordinary COCO photo, and the photo of issue 5's reference figures
SAMPLE_SIZE = (480, 640)
PHOTO_SIZE = (410, 615)


# === What the cases work on; the peers' cases too ===


def samples(quick, mini_masks, batch=1, dataset_class=None):
    """A config and a dataset of photos with 20 objects each; ``dataset_class`` as of
    `measure.scenes`.
    """
    config = measure.settings(side=128 if quick else 1024, batch=batch, USE_MINI_MASK=mini_masks)
    images = [measure.photo(*SAMPLE_SIZE, seed=number) for number in range(batch)]
    masks = [measure.ellipses(*SAMPLE_SIZE, count=20, seed=number) for number in range(batch)]
    return config, measure.scenes(images, masks, dataset_class=dataset_class)


def network_outputs(detections):
    """The arguments of unmold_detections: random detections of a photo, by a network at 1024 px."""
    draw = np.random.RandomState(0)
    side = 1024
    scale = side / PHOTO_SIZE[1]
    height = round(PHOTO_SIZE[0] * scale)
    top = (side - height) // 2
    window = (top, 0, top + height, side)
    size = draw.uniform(0.1, 0.5, (detections, 2)) * (height, side)
    corner = (top, 0) + draw.uniform(0, 1, (detections, 2)) * ((height, side) - size)
    rows = np.concatenate(
        [
            np.concatenate([corner, corner + size], axis=1) / (side - 1),
            draw.randint(1, 81, (detections, 1)),
            draw.uniform(0, 1, (detections, 1)),
        ],
        axis=1,
    )
    masks = draw.uniform(0, 1, (detections, 28, 28, 81)).astype(np.float32)
    return rows, masks, (*PHOTO_SIZE, 3), (side, side, 3), window


def predictions(quick, extract_bboxes):
    """The arguments of compute_ap: 20 objects, 100 predictions of which 20 are the objects, moved a
    little.
    """
    side = 128 if quick else 1024
    gt_masks = measure.ellipses(side, side, 20)
    masks = np.concatenate(
        [np.roll(gt_masks, side // 100, axis=0), measure.ellipses(side, side, 80, seed=1)], axis=2
    )
    # `detect` returns masks that each lie in one piece
    masks = np.moveaxis(np.ascontiguousarray(np.moveaxis(masks, -1, 0)), 0, -1)
    scores = np.random.RandomState(0).uniform(0, 1, 100).astype(np.float32)
    return (
        extract_bboxes(gt_masks),
        np.ones(20, np.int32),
        gt_masks,
        extract_bboxes(masks),
        np.ones(100, np.int32),
        scores,
        masks,
    )


# === Cases ===


def sample(quick, repeats, mini_masks):
    """load_image_gt: resize the image, resize its masks, find their boxes, shrink them."""
    from names import load_image_gt

    config, dataset = samples(quick, mini_masks)
    found = measure.repeat(
        lambda: load_image_gt(dataset, config, 0, use_mini_mask=mini_masks), repeats
    )
    return {**found, "images": 1}


def batch(quick, repeats, mini_masks):
    """TrainingBatches: `sample` and RPN targets for two images, stacked."""
    from names import TrainingBatches

    config, dataset = samples(quick, mini_masks, batch=2)
    batches = TrainingBatches(dataset, config, seed=0)
    return {**measure.repeat(lambda: batches.batch(0), repeats), "images": 2}


def label_batch(quick, repeats, side):
    """LabelBatches: two images of `SAMPLE_SIZE` with their label maps, mirrored at random, resized,
    molded and stacked.
    """
    import segmentation_cases

    from mrcnn.data.label_batches import LabelBatches

    _, dataset = samples(quick, False, batch=2)
    config = segmentation_cases.settings(quick, "unet", side, batch=2, NUM_CLASSES=81)

    def flip(image, masks, rng):
        return (image[:, ::-1], masks[:, ::-1]) if rng.random_sample() < 0.5 else (image, masks)

    batches = LabelBatches(dataset, config, augmentation=flip, seed=0)
    return {**measure.repeat(lambda: batches.batch(0), repeats), "images": 2}


def cached_batches(quick, repeats, encoding, workers):
    """Batches of two images by `record_pipeline`, from a cache of 16 images that `sample` would
    resize.
    """
    from names import RecordDataset, TrainingBatches, record_pipeline, write_records

    config, dataset = samples(quick, True, batch=2 if quick else 16)
    with tempfile.TemporaryDirectory() as folder:
        write_records(dataset, config, folder, encoding=encoding, progress=False)
        batches = TrainingBatches(RecordDataset(folder), config, 2, seed=0)
        steps = 2 if quick else 16
        pipeline = record_pipeline(batches, steps, workers=workers)
        result = measure.repeat(lambda: [None for _ in pipeline], repeats)
    return {**result, "images": 2 * steps, "images_per_second": 2 * steps / result["seconds"]}


def open_coco(quick, repeats):
    """open_dataset of COCO json with as many images and objects as COCO's training images have; the
    images are empty files, since none is read.
    """
    from names import open_dataset

    images, objects = (20, 150) if quick else (118_000, 860_000)
    with tempfile.TemporaryDirectory() as folder:
        size = _write_coco(Path(folder), images, objects, points=4)
        for number in range(images):
            (Path(folder) / "train2017" / f"{number:012d}.jpg").touch()
        found = measure.repeat(lambda: open_dataset(folder), repeats)
    return {**found, "images": images, "objects": objects, "file_megabytes": size / 1e6}


def check(quick, repeats, workers):
    """Dataset.check of 200 JPEG files of 480 x 640 px with 7 polygons of 30 points each."""
    from names import open_dataset
    from PIL import Image

    images = 4 if quick else 200
    with tempfile.TemporaryDirectory() as folder:
        _write_coco(Path(folder), images, 7 * images, points=30)
        for number in range(images):
            photo = Image.fromarray(measure.photo(480, 640, seed=number))
            photo.save(Path(folder) / "train2017" / f"{number:012d}.jpg", quality=85)
        dataset = open_dataset(folder)
        found = measure.repeat(lambda: dataset.check(progress=False, workers=workers), repeats)
    return {**found, "images": images, "images_per_second": images / found["seconds"]}


def _write_coco(folder, images, objects, points):
    """Write annotations/instances_train2017.json with polygons around random places; its bytes."""
    draw = np.random.default_rng(0)
    angles = np.sort(draw.uniform(0, 2 * np.pi, (objects, points)), axis=1)
    radius, center = draw.uniform(10, 60, (objects, 1)), draw.uniform(60, 420, (2, objects, 1))
    xs, ys = center[0] + 80 + radius * np.cos(angles), center[1] + radius * np.sin(angles)
    outlines = np.stack([xs, ys], axis=-1).round(2).reshape(objects, -1).tolist()
    owners, classes = (draw.integers(*ends, objects).tolist() for ends in ((0, images), (1, 81)))
    content = {
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg", "height": 480, "width": 640}
            for number in range(images)
        ],
        "categories": [{"id": number, "name": f"class {number}"} for number in range(1, 81)],
        "annotations": [
            {
                "id": number,
                "image_id": owners[number],
                "category_id": classes[number],
                "segmentation": [outlines[number]],
                "area": round(float(radius[number, 0]) ** 2, 2),
                "bbox": [0, 0, 1, 1],
                "iscrowd": 0,
            }
            for number in range(objects)
        ],
    }
    for name in ("annotations", "train2017"):
        (folder / name).mkdir()
    path = folder / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(content))
    return path.stat().st_size


def rpn_targets(quick, repeats):
    """build_rpn_targets for the boxes of 20 objects."""
    from names import build_rpn_targets, extract_bboxes, pyramid_anchors

    config = measure.settings(side=128 if quick else 1024)
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    boxes = extract_bboxes(measure.ellipses(*config.IMAGE_SHAPE[:2], count=20))
    ids = np.ones(len(boxes), np.int32)
    return measure.repeat(
        lambda: build_rpn_targets(config.IMAGE_SHAPE, anchors, ids, boxes, config), repeats
    )


def mold(quick, repeats, side):
    """mold_inputs: one photo resized, padded and centred."""
    from names import mold_inputs

    config = measure.settings(side=128 if quick else side)
    images = [measure.photo(*PHOTO_SIZE)]
    return {**measure.repeat(lambda: mold_inputs(images, config), repeats), "images": 1}


def unmold(quick, repeats, detections):
    """unmold_detections: boxes and masks back to the pixels of the photo."""
    from names import unmold_detections

    arguments = network_outputs(detections)
    found = unmold_detections(*arguments)
    if len(found[0]) != detections:
        raise ValueError(
            f"{len(found[0])} of {detections} detections came back: the case measures another thing"
        )
    return measure.repeat(lambda: unmold_detections(*arguments), repeats)


def anchors(quick, repeats):
    """pyramid_anchors of one image size, as they are made the first time."""
    from names import pyramid_anchors

    config = measure.settings(side=128 if quick else 1024)
    return measure.repeat(lambda: pyramid_anchors(config, config.IMAGE_SHAPE), repeats)


def box_overlaps(quick, repeats):
    """compute_overlaps of all anchors with 20 boxes."""
    from names import compute_overlaps, pyramid_anchors

    config = measure.settings(side=128 if quick else 1024)
    all_anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    boxes = all_anchors[np.linspace(0, len(all_anchors) - 1, 20).astype(int)] + 3
    return measure.repeat(lambda: compute_overlaps(all_anchors, boxes), repeats)


def mask_overlaps(quick, repeats):
    """compute_overlaps_masks of 100 masks with 20."""
    from names import compute_overlaps_masks, extract_bboxes

    arguments = predictions(quick, extract_bboxes)
    return measure.repeat(lambda: compute_overlaps_masks(arguments[6], arguments[2]), repeats)


def average_precision(quick, repeats):
    """compute_ap of 100 predictions and 20 objects."""
    from names import compute_ap, extract_bboxes

    arguments = predictions(quick, extract_bboxes)
    return measure.repeat(lambda: compute_ap(*arguments), repeats)


def average_precision_range(quick, repeats):
    """compute_ap_range of the same, ten thresholds."""
    from names import compute_ap_range, extract_bboxes

    arguments = predictions(quick, extract_bboxes)
    return measure.repeat(lambda: compute_ap_range(*arguments, verbose=0), repeats)
