"""Which stage of the network loses an object that is not found.

Each object is followed through the steps of one pass: is there a proposal on it, is a proposal
given its class, with what score, does the refined box meet it, does it survive the suppression, is
the mask right? The first step that no candidate passes is where the object is lost.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from mrcnn.common.progress import track
from mrcnn.data.images import mold_image
from mrcnn.data.load import load_image_gt
from mrcnn.data.masks import compute_overlaps_masks, extract_bboxes
from mrcnn.inference.inspection import Step, check_inference_network, run
from mrcnn.inference.unmold import Located, paste
from mrcnn.ops.boxes_np import compute_overlaps, denorm_boxes, pixel_boxes

# The stages in their order, and what it means to be lost there.
STAGES = {
    "proposals": "no proposal overlaps it enough",
    "class": "no such proposal is given its class",
    "score": "none of these is sure enough",
    "box": "none of these has a refined box that overlaps it enough",
    "NMS": "all of these are suppressed by better ones, or beyond the most detections",
    "mask": "the mask of its detection does not overlap it enough",
    "found": "",
}


class Trace(NamedTuple):
    """What became of one object."""

    image_id: int
    class_id: int
    stage: str  # a key of STAGES: where it was lost, or "found"
    proposal_iou: float  # of the proposal that fits it best
    taken_for: int  # the most probable class of that proposal, 0 for background
    score: float  # probability of the object's own class for that proposal
    box_iou: float  # of the best refined box among those of its class, 0 where there is none
    mask_iou: float  # of its detection, 0 where there is none


def diagnose(model, dataset, image_ids=None, iou=0.5, progress=False):
    """Follow every object of some images through the network. Crowds are left out.

    Args:
        model: a `MaskRCNN` made in mode "inference".
        dataset: a prepared Dataset.
        image_ids: list of ids; None: all.
        iou: least IoU of boxes, and of masks, that counts as found.
        progress: show a progress bar on stderr.

    Returns:
        list of `Trace`.
    """
    network, config, traces = model.keras_model, model.config, []
    check_inference_network(network, "diagnose")
    outputs = [
        ("proposals", network.get_layer("ROI").output),
        ("probs", network.get_layer("mrcnn_class").output),
        ("masks", network.get_layer("mrcnn_mask").output),
    ]
    outputs += [
        (step, Step("mrcnn_detection", step))
        for step in ("class_ids", "clipped_rois", "confident", "nms_indices")
    ]
    for image_id in track(
        dataset.image_ids if image_ids is None else image_ids, "Diagnosis", progress
    ):
        image, meta, class_ids, _, masks = load_image_gt(dataset, config, image_id)
        anchors = model.get_anchors(image.shape)
        values = run(
            network,
            [mold_image(image, config)[np.newaxis], meta[np.newaxis], anchors[np.newaxis]],
            outputs,
        )
        steps = {
            name: value if name == "nms_indices" else value[0] for name, value in values.items()
        }
        traces += trace_objects(
            steps,
            class_ids,
            masks,
            iou,
            int(image_id),
            box_shift=config.BOX_SHIFT,
            mask_paste=config.MASK_PASTE,
        )
    return traces


def trace_objects(steps, class_ids, masks, iou=0.5, image_id=0, box_shift=1, mask_paste="resize"):
    """Follow the objects of one image.

    Args:
        steps: dict of proposals float [n, 4], normalised; probs [n, classes]; of the m candidates
            of `networks.mask_rcnn.detections.DetectionSteps` class_ids int [m], clipped_rois float
            [m, 4], normalised, and confident bool [m]; nms_indices int [d], rows of the m; masks
            float [d or more, h, w, classes]. Without class_ids each proposal is a candidate of its
            most probable class.
        class_ids: int [objects], below 0 for crowds, which are left out.
        masks: bool [height, width, objects], of the image that the boxes are normalised to.
        iou: as in `diagnose`.
        image_id: to be put into the traces.
        box_shift: ``Config.BOX_SHIFT``, by which boxes are normalised.
        mask_paste: ``Config.MASK_PASTE``.

    Returns:
        list of `Trace`.
    """
    shape = masks.shape[:2]
    objects, class_ids = masks[..., class_ids > 0], class_ids[class_ids > 0]
    boxes = extract_bboxes(objects)
    proposals, refined = (
        denorm_boxes(steps[name], shape, box_shift) for name in ("proposals", "clipped_rois")
    )
    on_object = compute_overlaps(proposals, boxes)  # [n, objects]
    refined_on_object = compute_overlaps(refined, boxes)
    most_probable = steps["probs"].argmax(axis=-1)
    predicted = steps.get("class_ids", most_probable)
    # the proposal of each candidate: all proposals come class by class, if not once
    source = np.arange(len(predicted)) % max(len(proposals), 1)
    kept = np.zeros(len(predicted), bool)
    kept[steps["nms_indices"]] = True

    traces = []
    for index, class_id in enumerate(class_ids):
        own = predicted == class_id
        mask_iou = 0.0
        survivors = np.flatnonzero(own & kept & (refined_on_object[:, index] >= iou))
        if len(survivors):
            row = survivors[refined_on_object[survivors, index].argmax()]
            slot = int(np.flatnonzero(steps["nms_indices"] == row)[0])
            exact = pixel_boxes(steps["clipped_rois"][[row]], shape, box_shift)
            own_mask = steps["masks"][[slot], :, :, class_id]
            located = Located(exact, predicted[[row]], np.ones(1, np.float32), own_mask)
            found = paste(located, shape, mask_paste)
            overlaps = compute_overlaps_masks(found.masks, objects[..., index : index + 1])
            mask_iou = float(overlaps.max(initial=0))
        candidates, stage = np.ones(len(predicted), bool), "found"
        for name, passed in (
            ("proposals", on_object[source, index] >= iou),
            ("class", own),
            ("score", steps["confident"]),
            ("box", refined_on_object[:, index] >= iou),
            ("NMS", kept),
            ("mask", mask_iou >= iou),
        ):
            candidates = candidates & passed
            if not candidates.any():
                stage = name
                break
        best = on_object[:, index].argmax() if len(on_object) else None
        traces.append(
            Trace(
                image_id,
                int(class_id),
                stage,
                *(
                    (0.0, 0, 0.0)
                    if best is None
                    else (
                        float(on_object[best, index]),
                        int(most_probable[best]),
                        float(steps["probs"][best, class_id]),
                    )
                ),
                float(refined_on_object[own, index].max(initial=0)),
                mask_iou,
            )
        )
    return traces


def count_stages(traces):
    """How many objects each stage lost, and how many were found: dict in the order of `STAGES`."""
    counted = Counter(trace.stage for trace in traces)
    return {stage: counted[stage] for stage in STAGES}
