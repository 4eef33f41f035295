"""What the network's parts should compute: float64 NumPy and loops, written from the formulas.

One image at a time and nothing clever, so that a mistake of the batched code cannot be
repeated here.
"""

import math

import numpy as np

# === Boxes ===


def apply_deltas(box, delta):
    height, width = box[2] - box[0], box[3] - box[1]
    center_y = (box[0] + box[2]) / 2 + delta[0] * height
    center_x = (box[1] + box[3]) / 2 + delta[1] * width
    height, width = height * math.exp(delta[2]), width * math.exp(delta[3])
    return np.array(
        [center_y - height / 2, center_x - width / 2, center_y + height / 2, center_x + width / 2]
    )


def refinement(box, gt_box):
    height, width = box[2] - box[0], box[3] - box[1]
    return np.array(
        [
            ((gt_box[0] + gt_box[2]) - (box[0] + box[2])) / 2 / height,
            ((gt_box[1] + gt_box[3]) - (box[1] + box[3])) / 2 / width,
            math.log((gt_box[2] - gt_box[0]) / height),
            math.log((gt_box[3] - gt_box[1]) / width),
        ]
    )


def clip(box, window):
    return np.array(
        [min(max(box[side], window[side % 2]), window[side % 2 + 2]) for side in range(4)]
    )


def iou(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union else 0.0


def suppress(boxes, scores, max_count, threshold):
    """Indices that survive greedy suppression, by falling score; the lower index wins a tie."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if len(kept) < max_count and all(
            iou(boxes[index], boxes[other]) <= threshold for other in kept
        ):
            kept.append(index)
    return kept


def soft_suppress(boxes, scores, max_count, sigma):
    """Indices and scores after Gaussian soft-NMS (Bodla et al. 2017, figure 3)."""
    rest = {i: float(score) for i, score in enumerate(scores)}
    kept = []
    while rest and len(kept) < max_count:
        best = max(rest, key=lambda i: (rest[i], -i))
        kept.append((best, rest.pop(best)))
        for i in rest:
            rest[i] *= math.exp(-(iou(boxes[best], boxes[i]) ** 2) / sigma)
    return kept


# === Proposals and detections ===


def proposals(foreground, deltas, anchors, count, threshold, limit, std_dev):
    best = sorted(range(len(anchors)), key=lambda i: (-foreground[i], i))[:limit]
    boxes = [clip(apply_deltas(anchors[i], deltas[i] * std_dev), (0, 0, 1, 1)) for i in best]
    kept = suppress(boxes, [foreground[i] for i in best], count, threshold)
    result = np.zeros((count, 4))
    for slot, row in enumerate(kept):
        result[slot] = boxes[row]
    return result


def detections(rois, probs, deltas, window, max_instances, min_confidence, threshold, std_dev):
    classes, scores, boxes = probs.argmax(axis=1), probs.max(axis=1), []
    for roi, class_id, delta in zip(rois, classes, deltas):
        boxes.append(clip(apply_deltas(roi, delta[class_id] * std_dev), window))
    kept = []
    for class_id in range(1, probs.shape[1]):
        rows = [
            i for i in range(len(rois)) if classes[i] == class_id and scores[i] >= min_confidence
        ]
        kept += [
            rows[i]
            for i in suppress(
                [boxes[r] for r in rows], [scores[r] for r in rows], max_instances, threshold
            )
        ]
    result = np.zeros((max_instances, 6))
    for slot, row in enumerate(sorted(kept, key=lambda i: (-scores[i], i))[:max_instances]):
        result[slot] = [*boxes[row], classes[row], scores[row]]
    return result


def many_detections(
    rois,
    probs,
    deltas,
    window,
    max_instances,
    min_confidence,
    threshold,
    std_dev,
    *,
    multi_class=True,
    min_size=(-math.inf, -math.inf),
    sigma=0.0,
    limit=math.inf,
):
    """`detections` with each class of a RoI as a candidate, a least size, soft-NMS and a limit of
    log sizes.
    """
    found = []
    for class_id in range(1, probs.shape[1]):
        boxes, scores = [], []
        for roi, prob, delta in zip(rois, probs, deltas):
            if not roi.any() or (not multi_class and prob.argmax() != class_id):
                continue
            delta = delta[class_id] * std_dev
            box = clip(apply_deltas(roi, [*delta[:2], *np.minimum(delta[2:], limit)]), window)
            is_large = box[2] - box[0] >= min_size[0] and box[3] - box[1] >= min_size[1]
            if prob[class_id] >= min_confidence and is_large:
                boxes.append(box)
                scores.append(prob[class_id])
        if sigma:
            kept = soft_suppress(boxes, scores, max_instances, sigma)
            kept = [(i, score) for i, score in kept if score >= min_confidence]
        else:
            kept = [(i, scores[i]) for i in suppress(boxes, scores, max_instances, threshold)]
        found += [[*boxes[i], class_id, score] for i, score in kept]
    result = np.zeros((max_instances, 6))
    best = sorted(found, key=lambda row: -row[5])[:max_instances]
    result[: len(best)] = np.reshape(best, (-1, 6))
    return result


# === RoIAlign ===


def sample(image, y, x):
    """Bilinear value of image [h, w, c] at a point in pixels; 0 outside."""
    if not (0 <= y <= image.shape[0] - 1 and 0 <= x <= image.shape[1] - 1):
        return np.zeros(image.shape[2])
    top, left = math.floor(y), math.floor(x)
    bottom, right = math.ceil(y), math.ceil(x)
    upper = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
    lower = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def grid(low, high, size, bins):
    """The points of one side: both edges of the box and evenly between; the middle of a single
    bin.
    """
    if bins == 1:
        return [(low + high) / 2 * (size - 1)]
    return [(low + (high - low) * i / (bins - 1)) * (size - 1) for i in range(bins)]


def crop(image, box, shape):
    """[h, w, c] sampled on a corner-aligned grid over a normalised box."""
    image = np.asarray(image, np.float64)
    rows, columns = (
        grid(box[0], box[2], image.shape[0], shape[0]),
        grid(box[1], box[3], image.shape[1], shape[1]),
    )
    return np.array([[sample(image, y, x) for x in columns] for y in rows])


def roi_level(box, image_shape):
    area = (box[2] - box[0]) * (box[3] - box[1])
    if area <= 0:
        return 2
    pixels = math.sqrt(area * image_shape[0] * image_shape[1])
    return min(max(4 + round(math.log2(pixels / 224)), 2), 5)


def roi_align(boxes, image_shape, pyramid, shape):
    """Boxes [n, 4] of one image from its maps P2..P5 [h, w, c] -> [n, *shape, c]."""
    return np.array([crop(pyramid[roi_level(box, image_shape) - 2], box, shape) for box in boxes])


def sample_with_edge(image, y, x):
    """Bilinear value at a point in pixels; the edge up to a pixel outside, then 0."""
    height, width = image.shape[:2]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(image.shape[2])
    return sample(image, min(max(y, 0), height - 1), min(max(x, 0), width - 1))


def mean_of_samples(image, region, shape):
    """[h, w, c]: four samples in each bin of a region in pixels (0: the first one's centre)."""
    image = np.asarray(image, np.float64)
    y1, x1, y2, x2 = (float(side) for side in region)
    result = np.zeros((*shape, image.shape[2]))
    for i, j in np.ndindex(shape):
        for quarter_y in (0.25, 0.75):
            for quarter_x in (0.25, 0.75):
                y = y1 + (i + quarter_y) * (y2 - y1) / shape[0]
                x = x1 + (j + quarter_x) * (x2 - x1) / shape[1]
                result[i, j] += sample_with_edge(image, y, x) / 4
    return result


def roi_pool(image, region, shape):
    """[h, w, c]: the maximum of each bin of a region of whole pixels; 0 for none."""
    y1, x1, y2, x2 = (int(side) for side in region)
    result = np.zeros((*shape, image.shape[2]))
    for i, j in np.ndindex(shape):
        top, bottom = y1 + i * (y2 - y1) // shape[0], y1 - (-(i + 1) * (y2 - y1) // shape[0])
        left, right = x1 + j * (x2 - x1) // shape[1], x1 - (-(j + 1) * (x2 - x1) // shape[1])
        cells = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if cells.size:
            result[i, j] = cells.max(axis=(0, 1))
    return result


def roi_level_floor(box, image_shape, shift):
    """By the FPN paper's floor, of a normalised box in pixels."""
    sides = [
        max((box[2 + axis] - box[axis]) * (image_shape[axis] - shift) + shift, 0) for axis in (0, 1)
    ]
    area = sides[0] * sides[1]
    return 2 if not area else min(max(math.floor(4 + math.log2(area**0.5 / 224) + 1e-6), 2), 5)


# === Targets of the heads ===


def targets(
    rois,
    gt_class_ids,
    gt_boxes,
    gt_masks,
    *,
    count,
    positive_ratio,
    positive_iou,
    std_dev,
    mask_shape,
    mini_masks,
):
    """Rois, class ids, deltas and masks [count, ...] of one image, first candidates first."""
    objects = [i for i in range(len(gt_boxes)) if gt_boxes[i].any() and gt_class_ids[i] > 0]
    crowds = [i for i in range(len(gt_boxes)) if gt_boxes[i].any() and gt_class_ids[i] < 0]
    positives, negatives = [], []
    for roi in rois:
        if not roi.any():
            continue
        overlaps = [iou(roi, gt_boxes[i]) for i in objects]
        if overlaps and max(overlaps) >= positive_iou:
            positives.append((roi, objects[int(np.argmax(overlaps))]))
        elif all(iou(roi, gt_boxes[i]) < 0.001 for i in crowds):
            negatives.append(roi)
    positives = positives[: int(count * positive_ratio)]
    wanted = int(np.float32(len(positives)) * np.float32(1 / positive_ratio)) - len(positives)
    result = (
        np.zeros((count, 4)),
        np.zeros(count, int),
        np.zeros((count, 4)),
        np.zeros((count, *mask_shape)),
    )
    for slot, roi in enumerate(negatives[:wanted][: count - len(positives)], len(positives)):
        result[0][slot] = roi
    for slot, (roi, match) in enumerate(positives):
        box, window = gt_boxes[match], roi
        if mini_masks:
            size = np.array([box[2] - box[0], box[3] - box[1]])
            window = np.concatenate([(roi[:2] - box[:2]) / size, (roi[2:] - box[:2]) / size])
        result[0][slot] = roi
        result[1][slot] = gt_class_ids[match]
        result[2][slot] = refinement(roi, box) / std_dev
        result[3][slot] = np.round(
            crop(gt_masks[:, :, match : match + 1], window, mask_shape)[..., 0]
        )
    return result


# === Losses ===


def _average(terms):
    return sum(terms) / len(terms) if len(terms) else 0.0


def smooth_l1(truth, predicted):
    difference = abs(truth - predicted)
    return difference**2 / 2 if difference < 1 else difference - 0.5


def cross_entropy(logits, label):
    return math.log(sum(math.exp(value - logits[label]) for value in logits))


def rpn_class_loss(match, logits):
    return _average(
        [
            cross_entropy(logits[index], int(match[index] == 1))
            for index in np.ndindex(match.shape)
            if match[index]
        ]
    )


def rpn_bbox_loss(target, match, predicted):
    terms = []
    for image in range(len(match)):
        for row, anchor in enumerate(np.flatnonzero(match[image] == 1)):
            terms += [
                smooth_l1(target[image, row, side], predicted[image, anchor, side])
                for side in range(4)
            ]
    return _average(terms)


def class_loss(class_ids, logits, active, weights=None, first_image_rules=False, counted=None):
    weights = np.ones(logits.shape[-1]) if weights is None else weights
    return _average(
        [
            weights[class_ids[index]] * cross_entropy(logits[index], class_ids[index])
            for index in np.ndindex(class_ids.shape)
            if active[0 if first_image_rules else index[0]][np.argmax(logits[index])]
            and (counted is None or counted[index])
        ]
    )


def bbox_loss(target, class_ids, predicted, counted=None):
    return _average(
        [
            smooth_l1(target[index][side], predicted[index][class_ids[index]][side])
            for index in np.ndindex(class_ids.shape)
            if class_ids[index] > 0 and (counted is None or counted[index])
            for side in range(4)
        ]
    )


def mask_loss(target, class_ids, predicted):
    terms = []
    for index in np.ndindex(class_ids.shape):
        if class_ids[index] > 0:
            chance = np.clip(predicted[index][..., class_ids[index]], 1e-7, 1 - 1e-7)
            terms += list(np.where(target[index] > 0, -np.log(chance), -np.log(1 - chance)).ravel())
    return _average(terms)


def mask_softmax_loss(target, class_ids, logits):
    """Of logits [b, rois, h, w, classes]."""
    return _average(
        [
            cross_entropy(logits[index][cell], class_ids[index] if target[index][cell] else 0)
            for index in np.ndindex(class_ids.shape)
            if class_ids[index] > 0
            for cell in np.ndindex(target.shape[2:])
        ]
    )


def hard_examples(class_ids, logits, active, target, predicted, is_padding, count):
    """bool [b, rois]: the ``count`` of each image with the largest loss of class and box."""
    chosen = np.zeros(class_ids.shape, bool)
    for image, ids in enumerate(class_ids):
        losses = []
        for roi, class_id in enumerate(ids):
            loss = 0.0
            if active[image][np.argmax(logits[image, roi])]:
                loss += cross_entropy(logits[image, roi], class_id)
            if class_id > 0:
                for side in range(4):
                    loss += smooth_l1(
                        target[image, roi, side], predicted[image, roi, class_id, side]
                    )
            losses.append((-loss, roi))
        real = [pair for pair in sorted(losses) if not is_padding[image, pair[1]]]
        for _, roi in real[:count]:
            chosen[image, roi] = True
    return chosen


# === Gradients ===


def numeric_gradient(function, value, step=1e-6):
    """Central differences of a scalar function of one float64 array."""
    value = np.array(value, np.float64)
    gradient = np.zeros_like(value)
    for index in np.ndindex(value.shape):
        for sign in (1, -1):
            moved = value.copy()
            moved[index] += sign * step
            gradient[index] += sign * function(moved) / (2 * step)
    return gradient


# === Random material ===


def random_boxes(random, *shape, smallest=0.05, largest=0.6):
    """float32 normalised boxes [*shape, 4] that may leave the image on the lower right."""
    low = random.uniform(0, 0.7, (*shape, 2))
    return np.concatenate(
        [low, low + random.uniform(smallest, largest, (*shape, 2))], axis=-1
    ).astype(np.float32)


def softmax(values):
    values = np.exp(values)
    return (values / values.sum(axis=-1, keepdims=True)).astype(np.float32)
