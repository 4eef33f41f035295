"""Every name of the original, importable from where it was, with its signature and defaults.

An implementation may take more arguments than the original, after its own.
"""

import importlib
import inspect
import subprocess
import sys

import pytest

from tests.paths import ROOT

# "module.name(signature)"; a method is "module.Class.name"
SIGNATURES = """
utils.extract_bboxes(mask)
utils.compute_iou(box, boxes, box_area, boxes_area)
utils.compute_overlaps(boxes1, boxes2)
utils.compute_overlaps_masks(masks1, masks2)
utils.non_max_suppression(boxes, scores, threshold)
utils.apply_box_deltas(boxes, deltas)
utils.box_refinement_graph(box, gt_box)
utils.box_refinement(box, gt_box)
utils.Dataset(class_map=None)
utils.Dataset.add_class(self, source, class_id, class_name)
utils.Dataset.add_image(self, source, image_id, path, **kwargs)
utils.Dataset.image_reference(self, image_id)
utils.Dataset.prepare(self, class_map=None)
utils.Dataset.map_source_class_id(self, source_class_id)
utils.Dataset.get_source_class_id(self, class_id, source)
utils.Dataset.source_image_link(self, image_id)
utils.Dataset.load_image(self, image_id)
utils.Dataset.load_mask(self, image_id)
utils.resize_image(image, min_dim=None, max_dim=None, min_scale=None, mode='square')
utils.resize_mask(mask, scale, padding, crop=None)
utils.minimize_mask(bbox, mask, mini_shape)
utils.expand_mask(bbox, mini_mask, image_shape)
utils.mold_mask(mask, config)
utils.unmold_mask(mask, bbox, image_shape)
utils.generate_anchors(scales, ratios, shape, feature_stride, anchor_stride)
utils.generate_pyramid_anchors(scales, ratios, feature_shapes, feature_strides, anchor_stride)
utils.trim_zeros(x)
utils.compute_matches(gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks, iou_threshold=0.5, score_threshold=0.0)
utils.compute_ap(gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks, iou_threshold=0.5)
utils.compute_ap_range(gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, iou_thresholds=None, verbose=1)
utils.compute_recall(pred_boxes, gt_boxes, iou)
utils.batch_slice(inputs, graph_fn, batch_size, names=None)
utils.download_trained_weights(coco_model_path, verbose=1)
utils.norm_boxes(boxes, shape)
utils.denorm_boxes(boxes, shape)
utils.resize(image, output_shape, order=1, mode='constant', cval=0, clip=True, preserve_range=False, anti_aliasing=False, anti_aliasing_sigma=None)
model.log(text, array=None)
model.compute_backbone_shapes(config, image_shape)
model.identity_block(input_tensor, kernel_size, filters, stage, block, use_bias=True, train_bn=True)
model.conv_block(input_tensor, kernel_size, filters, stage, block, strides=(2, 2), use_bias=True, train_bn=True)
model.resnet_graph(input_image, architecture, stage5=False, train_bn=True)
model.apply_box_deltas_graph(boxes, deltas)
model.clip_boxes_graph(boxes, window)
model.log2_graph(x)
model.overlaps_graph(boxes1, boxes2)
model.trim_zeros_graph(boxes, name='trim_zeros')
model.batch_pack_graph(x, counts, num_rows)
model.norm_boxes_graph(boxes, shape)
model.denorm_boxes_graph(boxes, shape)
model.parse_image_meta_graph(meta)
model.ProposalLayer(proposal_count, nms_threshold, config=None, **kwargs)
model.PyramidROIAlign(pool_shape, **kwargs)
model.detection_targets_graph(proposals, gt_class_ids, gt_boxes, gt_masks, config)
model.DetectionTargetLayer(config, **kwargs)
model.refine_detections_graph(rois, probs, deltas, window, config)
model.DetectionLayer(config=None, **kwargs)
model.rpn_graph(feature_map, anchors_per_location, anchor_stride)
model.build_rpn_model(anchor_stride, anchors_per_location, depth)
model.fpn_classifier_graph(rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True, fc_layers_size=1024)
model.build_fpn_mask_graph(rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True)
model.smooth_l1_loss(y_true, y_pred)
model.rpn_class_loss_graph(rpn_match, rpn_class_logits)
model.rpn_bbox_loss_graph(config, target_bbox, rpn_match, rpn_bbox)
model.mrcnn_class_loss_graph(target_class_ids, pred_class_logits, active_class_ids)
model.mrcnn_bbox_loss_graph(target_bbox, target_class_ids, pred_bbox)
model.mrcnn_mask_loss_graph(target_masks, target_class_ids, pred_masks)
model.load_image_gt(dataset, config, image_id, augment=False, augmentation=None, use_mini_mask=False)
model.build_rpn_targets(image_shape, anchors, gt_class_ids, gt_boxes, config)
model.build_detection_targets(rpn_rois, gt_class_ids, gt_boxes, gt_masks, config)
model.generate_random_rois(image_shape, count, gt_class_ids, gt_boxes)
model.data_generator(dataset, config, shuffle=True, augment=False, augmentation=None, random_rois=0, batch_size=1, detection_targets=False, no_augmentation_sources=None)
model.compose_image_meta(image_id, original_image_shape, image_shape, window, scale, active_class_ids)
model.parse_image_meta(meta)
model.mold_image(images, config)
model.unmold_image(normalized_images, config)
model.MaskRCNN(mode, config, model_dir)
model.MaskRCNN.build(self, mode, config)
model.MaskRCNN.find_last(self)
model.MaskRCNN.load_weights(self, filepath, by_name=False, exclude=None)
model.MaskRCNN.get_imagenet_weights(self)
model.MaskRCNN.compile(self, learning_rate, momentum)
model.MaskRCNN.set_trainable(self, layer_regex, keras_model=None, indent=0, verbose=1)
model.MaskRCNN.set_log_dir(self, model_path=None)
model.MaskRCNN.train(self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation=None, custom_callbacks=None, no_augmentation_sources=None)
model.MaskRCNN.mold_inputs(self, images)
model.MaskRCNN.unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window)
model.MaskRCNN.detect(self, images, verbose=0)
model.MaskRCNN.detect_molded(self, molded_images, image_metas, verbose=0)
model.MaskRCNN.get_anchors(self, image_shape)
model.MaskRCNN.ancestor(self, tensor, name, checked=None)
model.MaskRCNN.find_trainable_layer(self, layer)
model.MaskRCNN.get_trainable_layers(self)
model.MaskRCNN.run_graph(self, images, outputs, image_metas=None)
visualize.display_images(images, titles=None, cols=4, cmap=None, norm=None, interpolation=None)
visualize.random_colors(N, bright=True)
visualize.apply_mask(image, mask, color, alpha=0.5)
visualize.display_instances(image, boxes, masks, class_ids, class_names, scores=None, title='', figsize=(16, 16), ax=None, show_mask=True, show_bbox=True, colors=None, captions=None)
visualize.display_differences(image, gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, class_names, title='', ax=None, show_mask=True, show_box=True, iou_threshold=0.5, score_threshold=0.5)
visualize.draw_rois(image, rois, refined_rois, mask, class_ids, class_names, limit=10)
visualize.draw_box(image, box, color)
visualize.display_top_masks(image, mask, class_ids, class_names, limit=4)
visualize.plot_precision_recall(AP, precisions, recalls)
visualize.plot_overlaps(gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names, threshold=0.5)
visualize.draw_boxes(image, boxes=None, refined_boxes=None, masks=None, captions=None, visibilities=None, title='', ax=None)
visualize.display_table(table)
visualize.display_weight_stats(model)
parallel_model.ParallelModel(keras_model, gpu_count)
config.Config()
config.Config.display(self)
""".strip().splitlines()

CONSTANTS = {
    "utils.COCO_MODEL_URL": "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
}


def lookup(path):
    module, *names = path.split(".")
    found = importlib.import_module(f"mrcnn.{module}")
    for name in names:
        found = getattr(found, name)
    return found


def parameters(text):
    """The parameters of a signature as text."""
    scope = {}
    exec(f"def function({text}): ...", scope)  # the table above is the only source
    return list(inspect.signature(scope["function"]).parameters.values())


@pytest.mark.parametrize("line", SIGNATURES, ids=lambda line: line.split("(")[0])
def test_signature(line):
    path, _, text = line.rstrip(")").partition("(")
    if line.count("(") > 1:  # a default with brackets of its own
        text = line.partition("(")[2][:-1]
    wanted = parameters(text)
    found = list(inspect.signature(lookup(path)).parameters.values())
    variadic = [p for p in wanted if p.kind is p.VAR_KEYWORD]
    wanted = [p for p in wanted if p not in variadic]
    assert [p.name for p in found][: len(wanted)] == [p.name for p in wanted]
    assert [p.default for p in found][: len(wanted)] == [p.default for p in wanted]
    # what comes after must not be required
    extra = found[len(wanted) :]
    assert all(
        p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in extra
    )
    if variadic:
        assert any(p.kind is p.VAR_KEYWORD for p in found)


@pytest.mark.parametrize("path", CONSTANTS)
def test_constant(path):
    assert lookup(path) == CONSTANTS[path]


def test_loss_and_layer_classes_are_keras_layers():
    import keras

    for name in (
        "ProposalLayer",
        "PyramidROIAlign",
        "DetectionTargetLayer",
        "DetectionLayer",
        "BatchNorm",
    ):
        assert issubclass(lookup(f"model.{name}"), keras.layers.Layer)
    assert issubclass(lookup("model.BatchNorm"), keras.layers.BatchNormalization)


def test_import_star():
    for module in ("model", "utils"):
        scope = {}
        exec(f"from mrcnn.{module} import *", scope)
        wanted = {
            line.partition("(")[0].split(".")[1]
            for line in SIGNATURES
            if line[: len(module)] == module
        }
        assert wanted <= set(scope)


def test_a_name_that_the_original_lacks():
    with pytest.raises(AttributeError, match=r"'mrcnn\.model' has no attribute 'no_such_name'"):
        lookup("model.no_such_name")


def test_tf_identity_changes_with_the_first_name():
    """Not for who uses ``MaskRCNN`` alone."""
    script = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "import keras, tensorflow as tf\n"
        "from mrcnn.model import MaskRCNN\n"
        "tensor = keras.Input((3,))\n"
        "try:\n    tf.identity(tensor)\n"
        "except ValueError:\n    pass\n"
        "else:\n    raise AssertionError('changed without need')\n"
        "from mrcnn.model import log\n"
        "assert tf.identity(tensor).shape == (None, 3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
