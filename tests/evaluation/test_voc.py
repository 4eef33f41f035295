"""compute_matches, compute_ap, compute_recall: the original's numbers, loops, hand-made cases."""

import numpy as np
import pytest

from mrcnn import evaluation
from mrcnn.evaluation import voc
from tests.paths import PARITY as PARITY_FOLDER

PARITY = PARITY_FOLDER / "evaluation.npz"


def rectangles(boxes, height=60, width=80):
    """Masks [H, W, N] of filled boxes."""
    masks = np.zeros((height, width, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks


def random_case(seed, gt_count=7, pred_count=12, classes=3):
    rng = np.random.RandomState(seed)

    def boxes(count):
        corner = rng.randint(0, 40, (count, 2))
        return np.concatenate([corner, corner + rng.randint(5, 20, (count, 2))], axis=1)

    gt = boxes(gt_count)
    pred = np.concatenate([gt + rng.randint(-1, 2, gt.shape), boxes(pred_count - gt_count)])
    pred = np.clip(pred, 0, 59)
    gt_ids = rng.randint(1, classes + 1, gt_count)
    pred_ids = np.concatenate([gt_ids, rng.randint(1, classes + 1, pred_count - gt_count)])
    scores = rng.permutation(pred_count) / pred_count
    return gt, gt_ids, rectangles(gt), pred, pred_ids, scores, rectangles(pred)


def slow_voc_ap(gt_ids, gt_masks, pred_ids, scores, pred_masks, iou_threshold):
    """VOC AP from its definition, in loops: sum over recall steps of the best later precision."""
    free = [True] * len(gt_ids)
    hits = []
    for p in sorted(range(len(scores)), key=lambda i: -scores[i]):
        candidates = []
        for g in range(len(gt_ids)):
            a, b = pred_masks[:, :, p], gt_masks[:, :, g]
            iou = (a & b).sum() / (a | b).sum()
            if free[g] and gt_ids[g] == pred_ids[p] and iou >= iou_threshold:
                candidates.append((iou, g))
        if candidates:
            free[max(candidates)[1]] = False
        hits.append(bool(candidates))
    total = 0.0
    for i, hit in enumerate(hits):
        if hit:
            total += max(sum(hits[: k + 1]) / (k + 1) for k in range(i, len(hits)))
    return total / len(gt_ids)


@pytest.fixture(scope="module")
def parity():
    stored = np.load(PARITY)
    values = {key: stored[key] for key in stored.files}
    for side in ("gt", "pred"):
        shape = values[f"{side}_masks_shape"]
        bits = np.unpackbits(values[f"{side}_masks_packed"])[: np.prod(shape)]
        values[f"{side}_masks"] = bits.reshape(shape).astype(bool)
    values["arguments"] = [
        values[key]
        for key in (
            "gt_boxes",
            "gt_ids",
            "gt_masks",
            "pred_boxes",
            "pred_ids",
            "pred_scores",
            "pred_masks",
        )
    ]
    return values


def test_matches_are_the_originals(parity):
    gt_match, pred_match, overlaps = evaluation.compute_matches(*parity["arguments"])
    np.testing.assert_array_equal(gt_match, parity["gt_match"])
    np.testing.assert_array_equal(pred_match, parity["pred_match"])
    np.testing.assert_allclose(overlaps, parity["overlaps"], rtol=0, atol=1e-6)


def test_ap_is_the_originals(parity):
    ap, precisions, recalls, overlaps = evaluation.compute_ap(*parity["arguments"])
    assert ap == pytest.approx(float(parity["ap"]), abs=1e-12)
    np.testing.assert_allclose(precisions, parity["precisions"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(recalls, parity["recalls"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(overlaps, parity["overlaps"], rtol=0, atol=1e-6)


def test_ap_range_is_the_originals(parity):
    ap = evaluation.compute_ap_range(*parity["arguments"], verbose=0)
    assert ap == pytest.approx(float(parity["ap_range"]), abs=1e-12)


def test_recall_is_the_originals(parity):
    gt_boxes = parity["gt_boxes"][parity["gt_boxes"].any(axis=1)]
    recall, ids = evaluation.compute_recall(parity["pred_boxes"], gt_boxes, 0.5)
    assert recall == parity["recall"]
    np.testing.assert_array_equal(ids, parity["recall_ids"])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
def test_ap_is_the_definition(seed, threshold):
    case = random_case(seed)
    expected = slow_voc_ap(case[1], case[2], case[4], case[5], case[6], threshold)
    ap = evaluation.compute_ap(*case, iou_threshold=threshold)[0]
    assert ap == pytest.approx(expected, abs=1e-6)  # recalls are float32, as in the original
    assert 0 < expected < 1


def test_ap_without_objects_or_predictions():
    none = (np.zeros((0, 4), np.int32), np.zeros(0, np.int32), np.zeros((60, 80, 0), bool))
    gt, gt_ids, gt_masks, pred, pred_ids, scores, pred_masks = random_case(0)
    assert np.isnan(evaluation.compute_ap(*none, pred, pred_ids, scores, pred_masks)[0])
    nothing = (none[0], none[1], np.zeros(0), none[2])
    assert evaluation.compute_ap(gt, gt_ids, gt_masks, *nothing)[0] == 0
    found = (pred, pred_ids, scores, pred_masks)
    assert np.isnan(evaluation.compute_ap_range(*none, *found, verbose=0))


def test_padding_rows_do_not_count():
    gt, gt_ids, gt_masks, *pred = random_case(3)
    padded = (
        np.pad(gt, ((0, 5), (0, 0))),
        np.pad(gt_ids, (0, 5)),
        np.pad(gt_masks, ((0, 0), (0, 0), (0, 5))),
    )
    expected = evaluation.compute_ap(gt, gt_ids, gt_masks, *pred)[0]
    assert evaluation.compute_ap(*padded, *pred)[0] == expected


def test_score_threshold_cuts_by_overlap():
    gt = np.array([(0, 0, 10, 10), (30, 30, 40, 40)])
    pred = np.array([(0, 0, 10, 5), (30, 30, 40, 39)])  # IoU 0.5 and 0.9
    case = (gt, [1, 1], rectangles(gt), pred, [1, 1], np.array([0.9, 0.8]), rectangles(pred))
    assert evaluation.compute_matches(*case, 0.1)[1].tolist() == [0, 1]
    gt_match, pred_match, _ = evaluation.compute_matches(*case, 0.1, score_threshold=0.7)
    assert gt_match.tolist() == [-1, 1] and pred_match.tolist() == [-1, 1]


def test_masks_of_another_size_are_named():
    gt, gt_ids, gt_masks, *pred = random_case(1)
    with pytest.raises(ValueError, match="gt_masks are 56x56 and pred_masks 60x80.*use_mini_mask"):
        evaluation.compute_ap(gt, gt_ids, gt_masks[:56, :56], *pred)


@pytest.mark.parametrize("kind", [list, np.array])
def test_ap_range_takes_lists_and_arrays(kind, capsys):
    case = random_case(2)
    thresholds = [0.5, 0.7, 0.9]
    expected = np.mean([evaluation.compute_ap(*case, iou_threshold=t)[0] for t in thresholds])
    assert evaluation.compute_ap_range(*case, iou_thresholds=kind(thresholds)) == expected
    out = capsys.readouterr().out
    assert out.count("AP @") == 4 and f"AP @0.50-0.90:\t {expected:.3f}" in out


def test_ap_range_computes_overlaps_once(monkeypatch):
    calls = []
    original = voc.compute_overlaps_masks
    monkeypatch.setattr(
        voc, "compute_overlaps_masks", lambda *masks: calls.append(1) or original(*masks)
    )
    evaluation.compute_ap_range(*random_case(2), verbose=0)
    assert len(calls) == 1


def test_recall_by_hand_and_without_objects():
    gt = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    pred = np.array([[0, 0, 10, 9], [0, 0, 10, 8], [50, 50, 60, 60]])
    recall, ids = evaluation.compute_recall(pred, gt, 0.5)
    assert recall == 0.5 and ids.tolist() == [0, 1]
    recall, ids = evaluation.compute_recall(pred, np.zeros((0, 4)), 0.5)
    assert np.isnan(recall) and ids.shape == (0,)
