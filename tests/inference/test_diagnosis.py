"""Where objects are lost: each stage made to fail in turn."""

import numpy as np
import pytest

from mrcnn.data.masks import compute_overlaps_masks, extract_bboxes
from mrcnn.data.paste import paste_masks
from mrcnn.inference.diagnosis import STAGES, count_stages, diagnose, trace_objects
from mrcnn.model import MaskRCNN
from mrcnn.ops.boxes_np import compute_overlaps, norm_boxes, pixel_boxes
from tests.tiny import Rectangles, randomize, tiny_config

SHAPE = (64, 64)
MASKS = np.zeros((*SHAPE, 2), bool)
MASKS[10:30, 10:30, 0] = True
MASKS[40:60, 40:60, 1] = True
CLASS_IDS = np.array([1, 2], np.int32)


def steps():
    """Three proposals: one on each object, found as it should be, and one on nothing."""
    boxes = norm_boxes(np.array([[10, 10, 30, 30], [40, 40, 60, 60], [0, 40, 20, 60]]), SHAPE)
    return {
        "proposals": boxes.copy(),
        "clipped_rois": boxes.copy(),
        "probs": np.array([[0.1, 0.9, 0], [0.1, 0.1, 0.8], [0.9, 0.1, 0]], np.float32),
        "confident": np.array([True, True, False]),
        "nms_indices": np.array([0, 1]),
        "masks": np.ones((4, 28, 28, 3), np.float32),
    }


def spoil(values, stage):
    """Let the first object fail at a stage, and only there."""
    if stage == "proposals":
        values["proposals"][0] = values["proposals"][2]
    elif stage == "class":
        values["probs"][0] = 0.1, 0.2, 0.7
    elif stage == "score":
        values["confident"][0] = False
        values["nms_indices"] = np.array([1])
    elif stage == "box":
        values["clipped_rois"][0] = values["proposals"][2]
    elif stage == "NMS":
        values["nms_indices"] = np.array([1])
    elif stage == "mask":
        values["masks"][0, :, 10:] = 0
    return values


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage(stage):
    first, second = trace_objects(spoil(steps(), stage), CLASS_IDS, MASKS, image_id=7)
    assert (first.stage, second.stage) == (stage, "found")
    assert (first.image_id, first.class_id) == (7, 1)
    assert second.mask_iou == second.box_iou == second.proposal_iou == 1 and second.taken_for == 2


def test_numbers_of_a_trace():
    values = steps()
    values["proposals"][0] = norm_boxes(np.array([10, 10, 30, 40]), SHAPE)
    values["probs"][0] = 0.6, 0.3, 0.1
    trace, _ = trace_objects(values, CLASS_IDS, MASKS)
    assert trace.stage == "class" and trace.taken_for == 0
    assert trace.proposal_iou == pytest.approx(2 / 3) and trace.score == pytest.approx(0.3)
    assert trace.box_iou == trace.mask_iou == 0
    values["masks"][0, :, 14:] = 0
    values["probs"][0] = 0.1, 0.8, 0.1
    trace, _ = trace_objects(values, CLASS_IDS, MASKS, iou=0.4)
    assert trace.stage == "found" and trace.mask_iou == pytest.approx(0.5, abs=0.06)


def test_a_candidate_must_pass_all_stages():
    """One proposal of the right class that is unsure, and a sure one elsewhere, do not make a
    detection.
    """
    values = steps()
    values["confident"][0] = False
    values["probs"][2] = 0, 1, 0
    values["confident"][2] = True
    values["nms_indices"] = np.array([2, 1])
    assert trace_objects(values, CLASS_IDS, MASKS)[0].stage == "score"


def test_crowds_nothing_and_no_proposals():
    assert [trace.class_id for trace in trace_objects(steps(), np.array([-1, 2]), MASKS)] == [2]
    assert trace_objects(steps(), np.zeros(0, int), np.zeros((*SHAPE, 0), bool)) == []
    empty = {name: value[:0] for name, value in steps().items()}
    first, _ = trace_objects(empty, CLASS_IDS, MASKS)
    assert first.stage == "proposals" and first.proposal_iou == first.score == 0


def test_counts():
    traces = [
        trace
        for stage in ("found", "mask")
        for trace in trace_objects(spoil(steps(), stage), CLASS_IDS, MASKS)
    ]
    assert count_stages(traces) == {**dict.fromkeys(STAGES, 0), "found": 3, "mask": 1}
    assert list(count_stages([])) == list(STAGES)


def test_of_a_model_and_a_dataset(detector, rectangles):
    """Found by the diagnosis is found by `detect`, and the other way round."""
    traces = diagnose(detector, rectangles)
    assert [trace.image_id for trace in traces] == [
        image_id for image_id in rectangles.image_ids for _ in rectangles.load_mask(image_id)[1]
    ]
    assert len(diagnose(detector, rectangles, [2])) == 2
    images = [rectangles.load_image(image_id) for image_id in rectangles.image_ids]
    results = detector.detect(images)
    for trace in traces:
        masks, class_ids = rectangles.load_mask(trace.image_id)
        result = results[trace.image_id]
        own = result["rois"][result["class_ids"] == trace.class_id]
        best = compute_overlaps(own, extract_bboxes(masks)[class_ids == trace.class_id]).max(
            initial=0
        )
        if trace.stage in ("mask", "found"):
            assert best >= 0.5
        if best < 0.45:  # a pixel of rounding
            assert trace.stage not in ("mask", "found")


# === Boxes by their edges, candidates of several classes ===


def test_boxes_are_normalised_by_their_edges():
    values = steps()
    boxes = np.array([[10, 10, 30, 30], [40, 40, 60, 60], [0, 40, 20, 60]])
    values["proposals"] = values["clipped_rois"] = norm_boxes(boxes, SHAPE, 0)
    for trace in trace_objects(values, CLASS_IDS, MASKS, box_shift=0):
        assert trace.stage == "found" and trace.box_iou == trace.proposal_iou == 1


def test_masks_are_pasted_as_they_are_detected():
    """Of a full mask of 4 cells, a border of nothing takes half a cell on each side."""
    values = {**steps(), "masks": np.ones((4, 4, 4, 3), np.float32)}
    found = {
        name: trace_objects(values, CLASS_IDS, MASKS, mask_paste=name)[0].mask_iou
        for name in ("resize", "padded")
    }
    box = values["clipped_rois"][values["nms_indices"][0]][np.newaxis]
    mask = values["masks"][0, :, :, CLASS_IDS[0]][np.newaxis]
    pasted = paste_masks(mask, pixel_boxes(box, SHAPE), SHAPE)
    expected = compute_overlaps_masks(pasted, MASKS[..., :1])[0, 0]
    assert found["padded"] == expected != found["resize"]


def every_class(values, confident, kept):
    """Each of three proposals as a candidate of class 1, then each of class 2."""
    moved = values["clipped_rois"] + np.float32(0.01)
    return {
        **values,
        "class_ids": np.repeat([1, 2], 3),
        "clipped_rois": np.concatenate([values["clipped_rois"], moved]),
        "confident": np.array(confident, bool),
        "nms_indices": np.array(kept),
    }


def test_a_proposal_may_be_found_as_a_class_that_is_not_its_most_probable():
    values = steps()
    values["probs"][0] = 0.5, 0.2, 0.3
    # row 4: the second proposal as class 2
    found = every_class(values, [1, 0, 0, 1, 1, 0], [4, 0, 3])
    first, second = trace_objects(found, CLASS_IDS, MASKS)
    assert first.stage == second.stage == "found"
    assert first.taken_for == 0 and first.score == pytest.approx(0.2)
    assert first.box_iou == 1 and 0.8 < second.box_iou < 1 and second.proposal_iou == 1
    unsure = every_class(values, [0, 1, 1, 1, 1, 1], [4, 3])
    assert [trace.stage for trace in trace_objects(unsure, CLASS_IDS, MASKS)] == ["score", "found"]
    suppressed = every_class(values, [1, 1, 1, 1, 1, 1], [0, 3])
    assert [trace.stage for trace in trace_objects(suppressed, CLASS_IDS, MASKS)] == [
        "found",
        "NMS",
    ]


@pytest.mark.parametrize("classes", [2, 3])
def test_of_a_network_whose_regions_have_several_classes(tmp_path, classes):
    names = {"NUM_CLASSES": classes, "DETECTION_MULTI_CLASS": True, "BOX_SHIFT": 0}
    model = MaskRCNN("inference", tiny_config(**names), str(tmp_path))
    randomize(model.keras_model)
    dataset = Rectangles(3)
    if classes == 2:
        for info in dataset.image_info:
            info["objects"] = [(1, *box) for _, *box in info["objects"]]
        dataset.class_info.pop()
        dataset.prepare()
    traces = diagnose(model, dataset)
    assert len(traces) == 4 and {trace.stage for trace in traces} <= set(STAGES)
    # each proposal has every class, so none is lost by it
    assert all(trace.stage != "class" for trace in traces)
