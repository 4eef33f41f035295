"""What inspect_model, inspect_nucleus_model and inspect_weights ask of the package, in their own
order and words.
"""

import random

import matplotlib
import numpy as np
import pytest
import tensorflow as tf

from mrcnn import model as modellib
from mrcnn import utils, visualize
from mrcnn.model import log
from tests.matterport.toy_network import RectanglesConfig
from tests.tiny import Rectangles, randomize

matplotlib.use("Agg")
import matplotlib.pyplot as plt


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


@pytest.fixture(scope="module")
def model(config, tmp_path_factory):
    model = modellib.MaskRCNN(
        mode="inference", model_dir=str(tmp_path_factory.mktemp("logs")), config=config
    )
    randomize(model.keras_model)
    for variable in model.keras_model.weights:
        if variable.name == "gamma" and "branch2c" in variable.path:
            variable.assign(variable * 0.2)  # 50 layers of random weights would overflow
    return model


@pytest.fixture(scope="module")
def sample(dataset, config):
    """image, image_meta, gt_class_id, gt_bbox, gt_mask of an image with two objects."""
    return modellib.load_image_gt(dataset, config, 2, use_mini_mask=False)


@pytest.fixture(scope="module")
def rpn(model, sample):
    """The sub-graph of the region proposal network."""
    pillar = model.keras_model.get_layer("ROI").output
    # TensorFlow renamed the kernel: look for each name
    nms_node = model.ancestor(pillar, "ROI/rpn_non_max_suppression:0")
    if nms_node is None:
        nms_node = model.ancestor(pillar, "ROI/rpn_non_max_suppression/NonMaxSuppressionV2:0")
    if nms_node is None:
        nms_node = model.ancestor(pillar, "ROI/rpn_non_max_suppression/NonMaxSuppressionV3:0")
    assert nms_node is not None
    return model.run_graph(
        [sample[0]],
        [
            ("rpn_class", model.keras_model.get_layer("rpn_class").output),
            ("pre_nms_anchors", model.ancestor(pillar, "ROI/pre_nms_anchors:0")),
            ("refined_anchors", model.ancestor(pillar, "ROI/refined_anchors:0")),
            ("refined_anchors_clipped", model.ancestor(pillar, "ROI/refined_anchors_clipped:0")),
            ("post_nms_anchor_ix", nms_node),
            ("proposals", model.keras_model.get_layer("ROI").output),
        ],
    )


@pytest.fixture(scope="module")
def mrcnn(model, sample):
    """Proposals, what the heads say of them, and the detections."""
    layer = model.keras_model.get_layer
    return model.run_graph(
        [sample[0]],
        [
            ("proposals", layer("ROI").output),
            ("probs", layer("mrcnn_class").output),
            ("deltas", layer("mrcnn_bbox").output),
            ("masks", layer("mrcnn_mask").output),
            ("detections", layer("mrcnn_detection").output),
        ],
    )


def get_ax(rows=1, cols=1, size=4):
    return plt.subplots(rows, cols, figsize=(size * cols, size * rows))[1]


# === inspect_model ===


@pytest.mark.parametrize(
    "name",
    [
        "ROI/rpn_non_max_suppression:0",
        "ROI/rpn_non_max_suppression/NonMaxSuppressionV2:0",
        "ROI/rpn_non_max_suppression/NonMaxSuppressionV3:0",
    ],
)
def test_each_name_of_the_nms_gives_the_same(model, sample, rpn, name):
    node = model.ancestor(model.keras_model.get_layer("ROI").output, name)
    if node is not None:  # as in the original, where only one of them was there
        values = model.run_graph([sample[0]], [("ix", node)])
        np.testing.assert_array_equal(values["ix"], rpn["post_nms_anchor_ix"])


def test_ancestor_knows_no_strangers(model):
    pillar = model.keras_model.get_layer("ROI").output
    assert model.ancestor(pillar, "ROI/no_such_thing:0") is None
    assert model.ancestor(pillar, "mrcnn_mask/Sigmoid:0") is None  # comes after it
    with pytest.raises(ValueError, match="lost"):
        model.run_graph([np.zeros((128, 128, 3), np.uint8)], [("lost", None)])


def test_detect_and_precision_recall(model, dataset, sample, capsys):
    image, _image_meta, gt_class_id, gt_bbox, gt_mask = sample
    info = dataset.image_info[2]
    print(
        "image ID: {}.{} ({}) {}".format(info["source"], info["id"], 2, dataset.image_reference(2))
    )
    r = model.detect([image], verbose=1)[0]
    ax = get_ax()
    visualize.display_instances(
        image,
        r["rois"],
        r["masks"],
        r["class_ids"],
        dataset.class_names,
        r["scores"],
        ax=ax,
        title="Predictions",
    )
    assert ax.get_title() == "Predictions" and len(ax.patches) >= len(r["rois"]) > 0
    log("gt_class_id", gt_class_id)
    log("gt_bbox", gt_bbox)
    log("gt_mask", gt_mask)
    assert "gt_bbox                  shape: (2, 4) " in capsys.readouterr().out

    AP, precisions, recalls, overlaps = utils.compute_ap(
        gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
    )
    assert 0 <= AP <= 1 and overlaps.shape == (len(r["rois"]), 2)
    visualize.plot_precision_recall(AP, precisions, recalls)
    assert f"AP@50 = {AP:.3f}" in plt.gca().get_title()
    visualize.plot_overlaps(gt_class_id, r["class_ids"], r["scores"], overlaps, dataset.class_names)
    assert len(plt.gcf().axes[0].texts) == overlaps.size

    def compute_batch_ap(image_ids):
        APs = []
        for image_id in image_ids:
            image, _, class_id, bbox, mask = modellib.load_image_gt(
                dataset, model.config, image_id, use_mini_mask=False
            )
            r = model.detect([image], verbose=0)[0]
            APs.append(
                utils.compute_ap(
                    bbox, class_id, mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
                )[0]
            )
        return APs

    assert compute_batch_ap([2, 2]) == [AP, AP]


def test_rpn_targets(model, sample):
    image, _, gt_class_id, gt_bbox, _ = sample
    model.get_anchors(image.shape)
    target_rpn_match, target_rpn_bbox = modellib.build_rpn_targets(
        image.shape, model.anchors, gt_class_id, gt_bbox, model.config
    )
    positive_anchor_ix = np.where(target_rpn_match[:] == 1)[0]
    negative_anchor_ix = np.where(target_rpn_match[:] == -1)[0]
    assert len(positive_anchor_ix) and len(positive_anchor_ix) + len(negative_anchor_ix) == 32
    positive_anchors = model.anchors[positive_anchor_ix]
    refined_anchors = utils.apply_box_deltas(
        positive_anchors,
        target_rpn_bbox[: positive_anchors.shape[0]] * model.config.RPN_BBOX_STD_DEV,
    )
    # the targets lead back to the objects
    distance = np.abs(refined_anchors[:, np.newaxis] - gt_bbox).max(axis=2).min(axis=1)
    assert (distance < 1e-3).all()
    ax = get_ax()
    visualize.draw_boxes(image, boxes=positive_anchors, refined_boxes=refined_anchors, ax=ax)
    assert len(ax.patches) == 2 * len(positive_anchors)


def test_anchors_refined_and_suppressed(model, sample, rpn):
    image = sample[0]
    limit = 20
    sorted_anchor_ids = np.argsort(rpn["rpn_class"][:, :, 1].flatten())[::-1]
    visualize.draw_boxes(image, boxes=model.anchors[sorted_anchor_ids[:limit]], ax=get_ax())
    pre_nms_anchors = utils.denorm_boxes(rpn["pre_nms_anchors"][0], image.shape[:2])
    refined_anchors = utils.denorm_boxes(rpn["refined_anchors"][0], image.shape[:2])
    refined_anchors_clipped = utils.denorm_boxes(rpn["refined_anchors_clipped"][0], image.shape[:2])
    assert pre_nms_anchors.shape == refined_anchors.shape == (500, 4)
    # the best anchors first, as sorted by hand (those of one score in any order)
    scores = rpn["rpn_class"][0, :, 1]
    clear = np.isin(
        scores[sorted_anchor_ids[:500]], [s for s in np.unique(scores) if (scores == s).sum() == 1]
    )
    expected = np.around(model.anchors[sorted_anchor_ids[:500]]).astype(np.int32)
    assert clear.sum() > 100 and np.abs(pre_nms_anchors - expected)[clear].max() <= 1
    np.testing.assert_array_equal(
        np.clip(rpn["refined_anchors"], 0, 1), rpn["refined_anchors_clipped"]
    )
    ax = get_ax(1, 2)
    visualize.draw_boxes(
        image, boxes=pre_nms_anchors[:limit], refined_boxes=refined_anchors[:limit], ax=ax[0]
    )
    visualize.draw_boxes(image, refined_boxes=refined_anchors_clipped[:limit], ax=ax[1])

    # after the suppression: an index per proposal, into the rows above
    ixs = rpn["post_nms_anchor_ix"]
    assert ixs.ndim == 1 and 0 < len(ixs) <= 30 and np.issubdtype(ixs.dtype, np.integer)
    visualize.draw_boxes(image, refined_boxes=refined_anchors_clipped[ixs[:limit]], ax=get_ax())
    np.testing.assert_array_equal(
        rpn["proposals"][0, : len(ixs)], rpn["refined_anchors_clipped"][0, ixs]
    )
    assert not rpn["proposals"][0, len(ixs) :].any()


def test_rpn_recall(model, sample, rpn):
    image, _, _, gt_bbox, _ = sample
    h, w = image.shape[:2]
    proposals = rpn["proposals"][0] * np.array([h, w, h, w])
    visualize.draw_boxes(image, refined_boxes=proposals, ax=get_ax())
    recalls = []
    for boxes in (
        model.anchors,
        utils.denorm_boxes(rpn["refined_anchors"][0], image.shape[:2]),
        proposals,
    ):
        recall, positive_ids = utils.compute_recall(boxes, gt_bbox, 0.5)
        assert (utils.compute_overlaps(boxes, gt_bbox).max(axis=1)[positive_ids] >= 0.5).all()
        recalls.append(recall)
    assert recalls[0] > 0 and all(0 <= recall <= 1 for recall in recalls)


def test_proposal_classification(model, dataset, sample, mrcnn, capsys):
    image = sample[0]
    det_class_ids = mrcnn["detections"][0, :, 4].astype(np.int32)
    det_count = (np.append(det_class_ids, 0) == 0).argmax()
    det_class_ids = det_class_ids[:det_count]
    detections = mrcnn["detections"][0, :det_count]
    assert det_count > 0
    captions = [
        f"{dataset.class_names[int(c)]} {s:.3f}" if c > 0 else ""
        for c, s in zip(detections[:, 4], detections[:, 5])
    ]
    visualize.draw_boxes(
        image,
        refined_boxes=utils.denorm_boxes(detections[:, :4], image.shape[:2]),
        visibilities=[2] * len(detections),
        captions=captions,
        title="Detections",
        ax=get_ax(),
    )

    h, w = model.config.IMAGE_SHAPE[:2]
    proposals = np.around(mrcnn["proposals"][0] * np.array([h, w, h, w])).astype(np.int32)
    roi_class_ids = np.argmax(mrcnn["probs"][0], axis=1)
    roi_scores = mrcnn["probs"][0, np.arange(roi_class_ids.shape[0]), roi_class_ids]
    np.testing.assert_allclose(mrcnn["probs"].sum(axis=2), 1, rtol=1e-5)
    roi_positive_ixs = np.where(roi_class_ids > 0)[0]
    print(f"{np.sum(np.any(proposals, axis=1))} Valid proposals out of {proposals.shape[0]}")
    print(f"{len(roi_positive_ixs)} Positive ROIs")

    # refine, filter and suppress in NumPy: what is left are the detections
    roi_bbox_specific = mrcnn["deltas"][0, np.arange(proposals.shape[0]), roi_class_ids]
    log("roi_bbox_specific", roi_bbox_specific)
    refined = utils.apply_box_deltas(
        mrcnn["proposals"][0], roi_bbox_specific * model.config.BBOX_STD_DEV
    )
    refined = np.clip(refined, 0, 1).astype(np.float32)
    visualize.draw_boxes(
        image,
        boxes=proposals[roi_positive_ixs],
        refined_boxes=utils.denorm_boxes(refined, image.shape[:2])[roi_positive_ixs],
        visibilities=np.where(roi_scores[roi_positive_ixs] > 0.5, 1, 0),
        captions=["x"] * len(roi_positive_ixs),
        ax=get_ax(),
    )
    nms = []
    for class_id in np.unique(roi_class_ids[roi_positive_ixs]):
        ixs = np.where(roi_class_ids == class_id)[0]
        class_keep = utils.non_max_suppression(
            refined[ixs], roi_scores[ixs], model.config.DETECTION_NMS_THRESHOLD
        )
        nms.extend(ixs[class_keep])
    nms = sorted(nms, key=lambda ix: (-roi_scores[ix], ix))[: model.config.DETECTION_MAX_INSTANCES]
    np.testing.assert_array_equal(roi_class_ids[nms], det_class_ids)
    np.testing.assert_allclose(roi_scores[nms], detections[:, 5], rtol=1e-5)
    np.testing.assert_allclose(refined[nms], detections[:, :4], atol=1e-5)
    visualize.draw_boxes(
        image,
        boxes=proposals[nms],
        refined_boxes=utils.denorm_boxes(refined[nms], image.shape[:2]),
        visibilities=np.ones(len(nms), int),
        captions=captions,
        ax=get_ax(),
    )
    assert "roi_bbox_specific        shape: (30, 4) " in capsys.readouterr().out


def test_masks(model, dataset, sample, mrcnn):
    image, _, _gt_class_id, _, gt_mask = sample
    visualize.display_images(np.transpose(gt_mask, [2, 0, 1]), cmap="Blues")
    det_class_ids = mrcnn["detections"][0, :, 4].astype(np.int32)
    det_class_ids = det_class_ids[det_class_ids > 0]
    det_boxes = utils.denorm_boxes(
        mrcnn["detections"][0, : len(det_class_ids), :4], image.shape[:2]
    )
    det_mask_specific = np.array(
        [mrcnn["masks"][0, i, :, :, c] for i, c in enumerate(det_class_ids)]
    )
    assert det_mask_specific.shape == (len(det_class_ids), 28, 28)
    det_masks = np.array(
        [utils.unmold_mask(m, det_boxes[i], image.shape) for i, m in enumerate(det_mask_specific)]
    )
    log("det_mask_specific", det_mask_specific)
    log("det_masks", det_masks)
    visualize.display_images(det_mask_specific[:4] * 255, cmap="Blues", interpolation="none")
    visualize.display_images(det_masks[:4] * 255, cmap="Blues")

    # the same by the model's own method, and by detect
    boxes, class_ids, scores, masks = model.unmold_detections(
        mrcnn["detections"][0],
        mrcnn["masks"][0],
        image.shape,
        image.shape,
        (0, 0, *image.shape[:2]),
    )
    has_area = (det_boxes[:, 2] > det_boxes[:, 0]) & (det_boxes[:, 3] > det_boxes[:, 1])
    np.testing.assert_array_equal(masks, np.moveaxis(det_masks[has_area], 0, -1))
    np.testing.assert_array_equal(boxes, det_boxes[has_area])
    r = model.detect([image])[0]
    np.testing.assert_array_equal(r["rois"], boxes)
    np.testing.assert_array_equal(r["class_ids"], class_ids)
    np.testing.assert_allclose(r["scores"], scores, rtol=1e-5)
    assert np.mean(r["masks"] == masks) > 0.999
    assert r["masks"].any() and (scores > 0).all()


def test_activations(model, sample):
    image, layer = sample[0], model.keras_model.get_layer
    activations = model.run_graph(
        [image],
        [
            ("input_image", tf.identity(layer("input_image").output)),
            ("res2c_out", layer("res2c_out").output),
            ("res3c_out", layer("res3c_out").output),
            ("rpn_bbox", layer("rpn_bbox").output),
            ("roi", layer("ROI").output),
        ],
    )
    assert list(activations) == ["input_image", "res2c_out", "res3c_out", "rpn_bbox", "roi"]
    shown = modellib.unmold_image(activations["input_image"][0], model.config)
    assert shown.dtype == np.uint8
    np.testing.assert_allclose(shown.astype(int), image, atol=1)  # truncated, not rounded, as ever
    assert activations["res2c_out"].shape[:3] == (1, 32, 32) and activations["res3c_out"].shape[
        :3
    ] == (1, 16, 16)
    assert (activations["res2c_out"] >= 0).all() and activations["res2c_out"].any()
    visualize.display_images(np.transpose(activations["res2c_out"][0, :, :, :4], [2, 0, 1]), cols=4)
    assert len(plt.gcf().axes) == 4
    ax = get_ax(1, 4)
    for i, name in enumerate(("dy", "dx", "dw", "dh")):
        ax[i].set_title(name)
        ax[i].hist(activations["rpn_bbox"][0, :, i], 50)
    y1, x1, y2, x2 = np.split(activations["roi"][0], 4, axis=1)
    plt.scatter(y1, x1)
    assert (y2 >= y1).all() and (x2 >= x1).all()


def test_one_output_alone(model, sample, mrcnn):
    """It has the batch's axis too."""
    probs = model.run_graph(
        [sample[0]], [("probs", model.keras_model.get_layer("mrcnn_class").output)]
    )["probs"]
    np.testing.assert_allclose(probs, mrcnn["probs"], atol=1e-6)


def test_back_to_the_first_layer(model):
    """ancestor also finds the output of a whole layer, by the original's operation names."""
    layer = model.keras_model.get_layer
    assert (
        model.ancestor(layer("mrcnn_mask").output, "res2c_out/Relu:0") is layer("res2c_out").output
    )


# === inspect_nucleus_model ===


def test_molded_images_and_metas(model, dataset, sample, capsys):
    image, image_meta, gt_class_id, gt_bbox, gt_mask = sample
    molded = modellib.mold_image(image, model.config)
    r = model.detect_molded(np.expand_dims(molded, 0), np.expand_dims(image_meta, 0), verbose=1)[0]
    assert "molded_images            shape: (1, 128, 128, 3) " in capsys.readouterr().out
    assert len(r["rois"]) and r["masks"].shape[:2] == (128, 128)
    ax = get_ax()
    visualize.display_differences(
        image,
        gt_bbox,
        gt_class_id,
        gt_mask,
        r["rois"],
        r["class_ids"],
        r["scores"],
        r["masks"],
        dataset.class_names,
        ax=ax,
        show_box=False,
        show_mask=False,
        iou_threshold=0.5,
        score_threshold=0.5,
    )
    assert "GT=green" in ax.get_title()
    AP = utils.compute_ap_range(
        gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
    )
    printed = capsys.readouterr().out
    assert "AP @0.50:\t " in printed and f"AP @0.50-0.95:\t {AP:.3f}" in printed
    perfect = utils.compute_ap_range(
        gt_bbox, gt_class_id, gt_mask, gt_bbox, gt_class_id, np.ones(2), gt_mask, verbose=0
    )
    assert perfect == 1 and 0 <= AP < 1

    meta = modellib.parse_image_meta(image_meta[np.newaxis])
    assert meta["image_id"].tolist() == [2] and meta["original_image_shape"].tolist() == [
        [96, 120, 3]
    ]
    assert meta["image_shape"].tolist() == [[128, 128, 3]] and meta["window"].shape == (1, 4)
    assert meta["active_class_ids"].tolist() == [[1, 1, 1]] and meta[
        "scale"
    ].tolist() == pytest.approx([128 / 120])


def test_run_graph_with_metas(model, sample, rpn):
    image, image_meta, gt_class_id, gt_bbox, _ = sample
    anchors = utils.denorm_boxes(model.get_anchors(image.shape), image.shape[:2])
    assert anchors.dtype == np.int32 and np.abs(anchors - model.anchors).max() <= 0.5
    match, _ = modellib.build_rpn_targets(image.shape, anchors, gt_class_id, gt_bbox, model.config)
    assert (match == 1).any() and (match == -1).any()

    molded = modellib.mold_image(image, model.config)[np.newaxis]
    pillar = model.keras_model.get_layer("ROI").output
    nms_node = model.ancestor(pillar, "ROI/rpn_non_max_suppression/NonMaxSuppressionV3:0")
    values = model.run_graph(
        molded,
        [
            ("rpn_class", model.keras_model.get_layer("rpn_class").output),
            ("post_nms_anchor_ix", nms_node),
            ("proposals", model.keras_model.get_layer("ROI").output),
        ],
        image_metas=image_meta[np.newaxis],
    )
    np.testing.assert_allclose(values["rpn_class"], rpn["rpn_class"], atol=1e-6)
    np.testing.assert_allclose(values["proposals"], rpn["proposals"], atol=1e-5)


# === inspect_weights ===


def test_weight_statistics(model, capsys):
    visualize.display_weight_stats(model)
    printed = capsys.readouterr().out
    lines = {line.split()[0].split("***")[0]: line for line in printed.splitlines()}
    assert "WEIGHT" in lines and {
        "conv1/kernel:0",
        "bn_conv1/moving_variance:0",
        "mrcnn_mask/bias:0",
        "rpn_conv_shared/kernel:0",
    } <= set(lines)
    kernel = model.keras_model.get_layer("conv1").get_weights()[0]
    assert (
        f"{kernel.min():+.4f}"[:6] in lines["conv1/kernel:0"]
        and "(7, 7, 3, 8)" in lines["conv1/kernel:0"]
    )


def test_histograms_of_weights(model):
    """Names, classes and values, as the notebook looks for them."""
    LAYER_TYPES = ["Conv2D", "Dense", "Conv2DTranspose"]
    layers = model.get_trainable_layers()
    layers = list(filter(lambda layer: layer.__class__.__name__ in LAYER_TYPES, layers))
    kinds = {layer.name: layer.__class__.__name__ for layer in layers}
    assert (
        kinds["conv1"]
        == kinds["fpn_c5p5"]
        == kinds["mrcnn_mask_conv1"]
        == kinds["mrcnn_mask"]
        == "Conv2D"
    )
    assert kinds["mrcnn_class_logits"] == kinds["mrcnn_bbox_fc"] == "Dense"
    assert kinds["mrcnn_mask_deconv"] == "Conv2DTranspose" and "bn_conv1" not in kinds
    _fig, ax = plt.subplots(len(layers[:4]), 2, figsize=(8, 3))
    for row, layer in enumerate(layers[:4]):
        weights = layer.get_weights()
        assert len(weights) == 2 and weights[0].ndim == (2 if kinds[layer.name] == "Dense" else 4)
        for w, weight in enumerate(weights):
            tensor = layer.weights[w]
            assert tensor.name == f"{layer.name}/{('kernel', 'bias')[w]}:0"
            ax[row, w].set_title(tensor.name)
            ax[row, w].hist(weight.flatten(), 50)
    # the RPN counts as one layer, and nothing is missing
    names = [weight.name for layer in model.get_trainable_layers() for weight in layer.weights]
    assert len(names) == len(set(names)) == len(model.keras_model.weights)
    assert model.find_trainable_layer(model.keras_model.get_layer("conv1")).name == "conv1"
