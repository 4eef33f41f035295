"""What the inspect_data notebooks ask of the package, in their own order and words."""

import random

import matplotlib
import numpy as np
import pytest

from mrcnn import model as modellib
from mrcnn import utils, visualize
from mrcnn.model import log
from tests.matterport.toy_network import RectanglesConfig
from tests.tiny import Rectangles

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="module")
def config():
    return RectanglesConfig()


@pytest.fixture(scope="module")
def dataset():
    return Rectangles(6, size=(96, 120))


def test_samples_and_boxes(dataset, config):
    print(f"Image Count: {len(dataset.image_ids)}")
    for i, info in enumerate(dataset.class_info):
        print("{:3}. {:50}".format(i, info["name"]))
    image_id = dataset.image_from_source_map["rectangles.picture2"]
    image = dataset.load_image(image_id)
    mask, class_ids = dataset.load_mask(image_id)
    visualize.display_top_masks(image, mask, class_ids, dataset.class_names)
    bbox = utils.extract_bboxes(mask)
    assert (
        bbox.tolist() == [list(box) for _, *box in dataset.image_info[image_id]["objects"]]
        and bbox.dtype == np.int32
    )
    visualize.display_instances(image, bbox, mask, class_ids, dataset.class_names)

    original_shape = image.shape
    image, window, scale, padding, _ = utils.resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        mode=config.IMAGE_RESIZE_MODE,
    )
    mask = utils.resize_mask(mask, scale, padding)
    assert original_shape == (96, 120, 3) and image.shape == (128, 128, 3) == (*mask.shape[:2], 3)
    resized = utils.extract_bboxes(mask)
    assert np.abs((resized - np.tile(window[:2], 2)) / scale - bbox).max() <= 1.5
    visualize.display_instances(image, resized, mask, class_ids, dataset.class_names)


def test_mini_masks(dataset, config):
    _, _, _, _, whole = modellib.load_image_gt(dataset, config, 2, use_mini_mask=False)
    image, _, class_ids, bbox, mask = modellib.load_image_gt(
        dataset, config, 2, augment=True, use_mini_mask=True
    )
    assert mask.shape == (28, 28, 2) and mask.dtype == bool
    visualize.display_images([image] + [mask[:, :, i] for i in range(min(mask.shape[-1], 7))])
    mask = utils.expand_mask(bbox, mask, image.shape)
    assert mask.shape == (128, 128, 2)
    visualize.display_instances(image, bbox, mask, class_ids, dataset.class_names)
    for index in range(2):
        either = [
            utils.compute_overlaps_masks(mask[..., [index]], view[..., [index]])[0, 0]
            for view in (whole, whole[:, ::-1])
        ]
        assert max(either) > 0.9


def test_anchors_per_level(dataset, config):
    backbone_shapes = modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE)
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        backbone_shapes,
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
    anchors_per_cell = len(config.RPN_ANCHOR_RATIOS)
    anchors_per_level = [
        anchors_per_cell * s[0] * s[1] // config.RPN_ANCHOR_STRIDE**2 for s in backbone_shapes
    ]
    assert sum(anchors_per_level) == len(anchors)
    image = dataset.load_image(0)
    for level, count in enumerate(anchors_per_level):
        level_anchors = anchors[sum(anchors_per_level[:level]) :][:count]
        areas = np.prod(level_anchors[:, 2:] - level_anchors[:, :2], axis=1)
        np.testing.assert_allclose(areas, config.RPN_ANCHOR_SCALES[level] ** 2)
        image = visualize.draw_box(
            image, level_anchors[count // 2].astype(int), np.array([0, 255, level * 50])
        )
    assert (image == [0, 255, 0]).all(axis=2).any()


@pytest.fixture(scope="module")
def batch(dataset, config):
    """A batch with random regions and the heads' targets."""
    np.random.seed(2)
    g = modellib.data_generator(
        dataset, config, shuffle=True, random_rois=2000, batch_size=4, detection_targets=True
    )
    return next(g)


def test_data_generator(batch, dataset, config):
    (
        [
            normalized_images,
            image_meta,
            rpn_match,
            rpn_bbox,
            gt_class_ids,
            gt_boxes,
            gt_masks,
            _rpn_rois,
            rois,
        ],
        [mrcnn_class_ids, mrcnn_bbox, mrcnn_mask],
    ) = batch
    log("rois", rois)
    log("mrcnn_class_ids", mrcnn_class_ids)
    log("mrcnn_bbox", mrcnn_bbox)
    log("mrcnn_mask", mrcnn_mask)
    log("gt_class_ids", gt_class_ids)
    log("gt_boxes", gt_boxes)
    log("gt_masks", gt_masks)
    log("rpn_match", rpn_match)
    log("rpn_bbox", rpn_bbox)
    A, M, T, K = 3 * (32**2 + 16**2 + 8**2 + 4**2 + 2**2), 10, 20, 3
    assert [(array.shape, str(array.dtype)) for array in batch[0]] == [
        ((4, 128, 128, 3), "float32"),
        ((4, 12 + K), "float64"),
        ((4, A, 1), "int32"),
        ((4, 32, 4), "float64"),
        ((4, M), "int32"),
        ((4, M, 4), "int32"),
        ((4, 28, 28, M), "bool"),
        ((4, 2000, 4), "int32"),
        ((4, T, 4), "int32"),
    ]
    assert [array.shape for array in batch[1]] == [(4, T, 1), (4, T, K, 4), (4, T, 28, 28, K)]
    image_id = modellib.parse_image_meta(image_meta)["image_id"][0]
    image = modellib.unmold_image(normalized_images[0], config)
    expected = modellib.load_image_gt(dataset, config, int(image_id))[0]
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), expected, atol=1)


def test_anchors_of_a_batch(batch, config):
    images, _, rpn_match, rpn_bbox, _, gt_boxes = batch[0][:6]
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE),
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
    b = 0
    image = modellib.unmold_image(images[b], config)
    positive = np.where(rpn_match[b] == 1)[0]
    negative = np.where(rpn_match[b] == -1)[0]
    neutral = np.where(rpn_match[b] == 0)[0]
    assert len(positive) + len(negative) == 32 and len(neutral) == len(anchors) - 32
    refined = utils.apply_box_deltas(
        anchors[positive], rpn_bbox[b, : len(positive)] * config.RPN_BBOX_STD_DEV
    )
    boxes = gt_boxes[b][gt_boxes[b].any(axis=1)]
    assert np.abs(refined[:, np.newaxis] - boxes).max(axis=2).min(axis=1).max() < 1e-3
    visualize.draw_boxes(image, boxes=anchors[positive], refined_boxes=refined)
    visualize.draw_boxes(image, boxes=anchors[negative])
    visualize.draw_boxes(image, boxes=anchors[np.random.choice(neutral, 20)])


def test_rois_of_a_batch(batch, dataset, config, capsys):
    images, gt_boxes, rois = batch[0][0], batch[0][5], batch[0][8]
    mrcnn_class_ids, mrcnn_bbox, mrcnn_mask = batch[1]
    b = 0
    image = modellib.unmold_image(images[b], config)
    # of each RoI the deltas and the mask of its own class
    ids = mrcnn_class_ids[b, :, 0]
    bbox_specific = mrcnn_bbox[b, np.arange(mrcnn_bbox.shape[1]), ids]
    refined_rois = utils.apply_box_deltas(
        rois[b].astype(np.float32), bbox_specific * config.BBOX_STD_DEV
    )
    mask_specific = mrcnn_mask[b, np.arange(mrcnn_mask.shape[1]), :, :, ids]
    positive = ids > 0
    boxes = gt_boxes[b][gt_boxes[b].any(axis=1)]
    assert positive.any() and not positive.all()
    assert (
        np.abs(refined_rois[positive][:, np.newaxis] - boxes).max(axis=2).min(axis=1).max() < 0.01
    )
    visualize.draw_rois(image, rois[b], refined_rois, mask_specific, ids, dataset.class_names)
    printed = capsys.readouterr().out
    assert (
        f"Positive ROIs:  {positive.sum()}\n" in printed
        and f"Positive Ratio: {positive.mean():.2f}" in printed
    )
    rpn_rois = batch[0][7][b]
    dummy = np.zeros((len(rpn_rois), 28, 28), np.float32)
    visualize.draw_rois(
        image, rpn_rois, rpn_rois, dummy, np.zeros(len(rpn_rois), int), dataset.class_names
    )

    # each mask of a RoI, on the whole image, lies within the RoI
    for roi, mask in zip(rois[b][positive][:5], mask_specific[positive][:5]):
        full = utils.unmold_mask(mask, roi, image.shape)
        y1, x1, y2, x2 = roi
        assert full.any() and full[y1:y2, x1:x2].sum() == full.sum()
    visualize.display_top_masks(
        image, np.moveaxis(mask_specific[positive], 0, -1), ids[positive], dataset.class_names
    )


def test_ratio_of_positive_rois(dataset, config):
    g = modellib.data_generator(
        dataset, config, shuffle=True, random_rois=300, batch_size=1, detection_targets=True
    )
    total = 0
    for _ in range(3):
        _, [ids, _, _] = next(g)
        total += np.mean(ids[0] > 0)
    assert 0 < total / 3 <= 0.33
