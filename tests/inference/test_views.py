"""Test-time augmentation: views of an image, and their detections put together."""

import numpy as np
import pytest

from mrcnn.evaluation import evaluate
from mrcnn.inference.detect import detect, mold, resize_as
from mrcnn.inference.unmold import Located
from mrcnn.inference.views import View, merged, views
from mrcnn.model import MaskRCNN
from tests.tiny import image, randomize, same, tiny_config

RNG = np.random.RandomState(0)


# === Which views there are ===


def test_views_of_a_config():
    assert views(tiny_config()) == [View(1, False)]
    assert views(tiny_config(TEST_FLIPS=True)) == [View(1, False), View(1, True)]
    assert views(tiny_config(TEST_SCALES=(0.5, 2))) == [View(0.5), View(2)]
    both = views(tiny_config(TEST_SCALES=[0.5, 1], TEST_FLIPS=True))
    assert both == [View(0.5), View(0.5, True), View(1), View(1, True)]


@pytest.mark.parametrize(
    "mode, low, high, min_scale, factor, resized, padded",
    [
        # the image is 150 x 200
        ("square", 0, 512, 0, 1, (150, 200), (512, 512)),
        ("square", 0, 512, 0, 0.5, (75, 100), (256, 256)),
        ("square", 0, 512, None, 2, (300, 400), (1024, 1024)),
        ("rect", 0, 512, 0, 0.5, (75, 100), (128, 128)),
        ("square", 300, 512, 0, 0.5, (150, 200), (256, 256)),
        ("square", 300, 512, 0, 1.5, (450, 600), (768, 768)),
        ("square", 0, 512, 2.0, 0.5, (150, 200), (256, 256)),
        ("square", 0, 128, 0, 0.5, (48, 64), (64, 64)),  # the longer side counts
        # 140.8 px would be the size, of multiples of 64 128 is the next
        ("square", 0, 128, 0, 1.1, (96, 128), (128, 128)),
        ("fit", 120, 640, 0, 0.5, (60, 80), (64, 96)),
        ("fit", 120, 640, 0, 1.5, (180, 240), (192, 256)),
    ],
)
def test_sizes_of_views(mode, low, high, min_scale, factor, resized, padded):
    config = tiny_config(
        IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=low, IMAGE_MAX_DIM=high, IMAGE_MIN_SCALE=min_scale
    )
    made, (y1, x1, y2, x2), scale = resize_as(config, image(150, 200), factor)
    assert (y2 - y1, x2 - x1) == resized and made.shape[:2] == padded
    assert scale == pytest.approx(resized[0] / 150)


# === The union ===


def scattered(count, views_count, seed):
    """Detections of several views, many of which overlap."""
    rng = np.random.RandomState(seed)
    parts = []
    for _ in range(views_count):
        corner, size = rng.uniform(0, 40, (count, 2)), rng.uniform(5, 40, (count, 2))
        parts.append(
            Located(
                np.concatenate([corner, corner + size], axis=1),
                rng.randint(1, 4, count).astype(np.int32),
                np.sort(rng.uniform(0.1, 1, count).astype(np.float32))[::-1],
                rng.uniform(size=(count, 28, 28)).astype(np.float32),
            )
        )
    return parts


def overlap(a, b):
    """IoU of two boxes."""
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(height, 0) * max(width, 0)
    whole = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (whole - shared)


def merged_by_loops(parts, config, least):
    """[(view, row, score)] of what is left."""
    waiting = [
        [float(score), view, row]
        for view, part in enumerate(parts)
        for row, score in enumerate(part.scores)
    ]
    kept = []
    while waiting and len(kept) < config.DETECTION_MAX_INSTANCES:
        best = max(waiting, key=lambda one: (one[0], -one[1], -one[2]))
        waiting.remove(best)
        if config.SOFT_NMS_SIGMA and best[0] < least:
            break
        score, view, row = best
        kept.append((view, row, score))
        for other in list(waiting):
            if other[1] == view:
                continue
            theirs, own = parts[other[1]], parts[view]
            if theirs.class_ids[other[2]] != own.class_ids[row]:
                continue
            iou = overlap(theirs.boxes[other[2]], own.boxes[row])
            if config.SOFT_NMS_SIGMA:
                other[0] *= np.exp(-(iou**2) / config.SOFT_NMS_SIGMA)
            elif iou > config.DETECTION_NMS_THRESHOLD:
                waiting.remove(other)
    return kept


@pytest.mark.parametrize("sigma", [0.0, 0.5])
@pytest.mark.parametrize("most", [4, 1000])
@pytest.mark.parametrize("count, views_count", [(20, 2), (15, 5), (1, 3)])
def test_union_against_loops(sigma, most, count, views_count):
    config = tiny_config(SOFT_NMS_SIGMA=sigma, DETECTION_MAX_INSTANCES=most)
    for seed in range(5):
        parts = scattered(count, views_count, seed)
        found = merged(parts, config, 0.3)
        expected = merged_by_loops(parts, config, 0.3)
        assert len(found.scores) == len(expected) <= most
        if count > 1 and most > 100:
            assert 3 < len(expected) < count * views_count
        np.testing.assert_allclose(found.scores, [score for *_, score in expected], rtol=1e-5)
        for number, (view, row, _) in enumerate(expected):
            for have, want in zip(found[:2] + found[3:], parts[view][:2] + parts[view][3:]):
                np.testing.assert_array_equal(have[number], want[row])
        assert found.scores.dtype == np.float32 and found.class_ids.dtype == np.int32


def test_union_of_nothing_and_of_one_view():
    nothing = Located(*(part[:0] for part in scattered(1, 1, 0)[0]))
    assert len(merged([nothing, nothing], tiny_config()).scores) == 0
    (part,) = scattered(8, 1, 0)
    for found in (merged([part, nothing], tiny_config()), merged([nothing, part], tiny_config())):
        for have, want in zip(found, part):  # overlaps within a view are the network's business
            np.testing.assert_array_equal(have, want)


def test_of_equal_scores_the_earlier_view_comes_first():
    first, second = scattered(1, 2, 0)
    second = second._replace(scores=first.scores, class_ids=first.class_ids, boxes=first.boxes)
    found = merged([first, second], tiny_config())
    np.testing.assert_array_equal(found.masks, first.masks)
    found = merged([second, first], tiny_config())
    np.testing.assert_array_equal(found.masks, second.masks)


# === Detection ===


def finds_the_bright(config, score_of=lambda width: 0.9, log=None):
    """A network that finds the bright rectangle of an image; of its mask the left third is bright
    where the left of the rectangle is brighter than its right.
    """

    def predict(molded, metas, min_confidence=None):
        if log is not None:
            log.append((molded.shape[:3], min_confidence))
        detections = np.zeros((len(molded), 10, 6), np.float32)
        masks = np.zeros((len(molded), 10, 28, 28), np.float32)
        for number, one in enumerate(molded):
            values = one[..., 0] + config.MEAN_PIXEL[0]
            y1, x1, y2, x2 = metas[number][7:11].astype(int)
            bright = np.zeros(values.shape, bool)
            bright[y1:y2, x1:x2] = values[y1:y2, x1:x2] > 60
            if not bright.any():
                continue
            rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
            y1, y2, x1, x2 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            shift, middle = config.BOX_SHIFT, (x1 + x2) // 2
            height, width = one.shape[:2]
            box = (y1, x1, y2 - shift, x2 - shift)
            sides = np.tile([height - shift, width - shift], 2)
            detections[number, 0] = *(box / sides), 1, score_of(max(metas[number][4:6]))
            inside = values[y1:y2]
            left_is_brighter = inside[:, x1:middle].mean() > inside[:, middle:x2].mean()
            masks[number, 0, :, slice(0, 9) if left_is_brighter else slice(19, 28)] = 1
        return detections, masks

    return predict


def bright(height, width, y1, x1, y2, x2):
    """A dark image with a rectangle whose left third is brighter."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y1:y2, x1:x2] = 130
    picture[y1:y2, x1 : x1 + (x2 - x1) // 3] = 250
    return picture


SCENES = [(61, 47, 20, 12, 50, 40), (40, 80, 4, 40, 31, 75), (64, 64, 0, 2, 40, 50)]


@pytest.mark.parametrize("mode", ["square", "rect", "fit"])
@pytest.mark.parametrize("paste, shift", [("resize", 1), ("padded", 0), ("padded", 1)])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_views_meet_in_the_image(mode, paste, shift, batch):
    """Each view finds the same box and the same part of it, whatever its size and direction."""
    config = tiny_config(
        IMAGE_RESIZE_MODE=mode,
        IMAGE_MIN_DIM=128,
        IMAGE_MAX_DIM=192,
        MASK_PASTE=paste,
        BOX_SHIFT=shift,
        IMAGES_PER_GPU=batch,
    )
    pictures = [bright(*scene) for scene in SCENES]
    for options in ({"TEST_FLIPS": True}, {"TEST_SCALES": (1.5,)}, {"TEST_SCALES": (2, 3)}):
        # the score tells which view a detection is of: the last one is the best here
        chosen = type("Chosen", (type(config),), options)()
        found = detect(finds_the_bright(chosen, lambda width: width / 1000), pictures, chosen)
        for (height, width, *box), result in zip(SCENES, found):
            assert len(result["scores"]) == 1
            np.testing.assert_allclose(result.boxes[0], box, atol=1.2)
            y1, x1, y2, x2 = box
            mask, third = result["masks"][..., 0], (x2 - x1) / 3
            assert mask.shape == (height, width)
            assert mask[y1 + 3 : y2 - 3, x1 + 3 : int(x1 + third - 2)].all()
            assert not mask[:, int(x1 + third + 3) :].any()
            assert result.image is not None and result.at_limit is False


def test_the_mirror_image_is_undone():
    """With the mirrored view alone counting: boxes to the pixel, masks turned round."""
    config = tiny_config(TEST_FLIPS=True, BOX_SHIFT=0, MASK_PASTE="padded")
    picture = bright(64, 64, 10, 8, 50, 38)
    once = tiny_config(BOX_SHIFT=0, MASK_PASTE="padded")
    (plain,) = detect(finds_the_bright(once), [picture], once)
    calls = []

    def only_second(molded, metas):
        detections, masks = finds_the_bright(config)(molded, metas)
        calls.append(molded)
        return detections * (len(calls) % 2 == 0), masks

    found = detect(only_second, [picture], config)[0]
    np.testing.assert_array_equal(calls[1], calls[0][:, :, ::-1])
    np.testing.assert_allclose(found.boxes, plain.boxes, atol=1e-4)
    np.testing.assert_allclose(found.boxes, [(10, 8, 50, 38)], atol=1e-4)
    np.testing.assert_array_equal(found["masks"], plain["masks"])


def test_sizes_batches_and_confidence_reach_the_network():
    config, log = tiny_config(TEST_SCALES=(1, 2), TEST_FLIPS=True, IMAGES_PER_GPU=2), []
    config.DETECTION_MIN_CONFIDENCE = 0.5
    predict = finds_the_bright(config, log=log)
    detect(predict, [bright(*scene) for scene in SCENES], config, min_confidence=0.2)
    sizes = [(2, 64, 64)] * 2 + [(2, 128, 128)] * 2
    sizes += [(1, *size) for _, *size in sizes]
    assert log == [(size, 0.2) for size in sizes]
    assert detect(predict, [], config) == []
    with pytest.raises(ValueError, match="image 2 of 2"):
        detect(predict, [image(9, 9), np.zeros((0, 3))], config)
    with pytest.raises(ValueError, match="image 1 of 1"):
        detect(predict, [np.zeros(3)], config)


def rows_of(lists):
    """A network that finds in its n-th call rows of (x1, class, score), 10 px wide."""
    lists = iter(lists)

    def predict(molded, metas, min_confidence=None):
        found = np.zeros((len(molded), 4, 6), np.float32)
        for row, (x, class_id, score) in enumerate(next(lists)):
            found[:, row] = (0, x / 63, 63 / 63, (x + 9) / 63, class_id, score)
        return found, np.ones((len(molded), 4, 28, 28), np.float32)

    return predict


@pytest.mark.parametrize(
    "first, second, options, scores, at_limit",
    [
        ([(0, 1, 0.9)], [(0, 1, 0.8), (30, 1, 0.7)], {}, [0.9, 0.7], False),
        ([(0, 1, 0.9)], [(0, 2, 0.8)], {}, [0.9, 0.8], False),  # of two classes
        ([(0, 1, 0.9)], [(0, 2, 0.8)], {"classes": 2}, [0.8], False),
        ([(0, 1, 0.9)], [(0, 2, 0.8)], {"min_confidence": 0.85}, [0.9], False),
        ([], [], {}, [], False),
        # four of two views fill the list
        ([(0, 1, 0.9), (20, 1, 0.8)], [(40, 1, 0.7), (50, 2, 0.6)], {}, [0.9, 0.8, 0.7, 0.6], True),
        (
            [(0, 1, 0.9), (20, 1, 0.8), (40, 1, 0.6)],
            [(0, 2, 0.7), (20, 2, 0.5)],
            {"classes": [1]},
            [0.9, 0.8, 0.6],
            True,
        ),
        # a view that is full may have been cut off, though less is left of both
        (
            [(x, 1, 0.9 - x / 100) for x in (0, 4, 8, 12)],
            [(6, 1, 0.95)],
            {},
            [0.95, 0.9, 0.78],
            True,
        ),
        # but those cut off are below what is asked for
        (
            [(x, 1, 0.6) for x in (0, 20, 40, 50)],
            [(6, 1, 0.95)],
            {"min_confidence": 0.7},
            [0.95],
            False,
        ),
    ],
)
def test_what_is_left_of_two_views(first, second, options, scores, at_limit):
    config = tiny_config(TEST_SCALES=(1, 2), DETECTION_MAX_INSTANCES=4)
    (found,) = detect(rows_of([first, second]), [image(64, 64)], config, **options)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-6)
    assert found.at_limit is at_limit


def test_soft_suppression_between_views():
    """IoU 1: the score falls by exp(-1 / 0.5), and what falls below the least score goes."""
    config = tiny_config(TEST_SCALES=(1, 2), SOFT_NMS_SIGMA=0.5, DETECTION_MAX_INSTANCES=4)
    views_of_one = [[(0, 1, 0.9)], [(0, 1, 0.8)]]
    (found,) = detect(rows_of(views_of_one), [image(64, 64)], config)
    np.testing.assert_allclose(found["scores"], [0.9, 0.8 * np.exp(-2)], rtol=1e-3)
    (found,) = detect(rows_of(views_of_one), [image(64, 64)], config, min_confidence=0.2)
    np.testing.assert_allclose(found["scores"], [0.9])
    config.DETECTION_MIN_CONFIDENCE = 0.2
    (found,) = detect(rows_of(views_of_one), [image(64, 64)], config)
    np.testing.assert_allclose(found["scores"], [0.9])
    (found,) = detect(rows_of(views_of_one), [image(64, 64)], config, min_confidence=0.1)
    np.testing.assert_allclose(found["scores"], [0.9, 0.8 * np.exp(-2)], rtol=1e-3)


# === A network of the project ===


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = tiny_config(DETECTION_MIN_CONFIDENCE=0.3, IMAGES_PER_GPU=2, DETECTION_MAX_INSTANCES=60)
    model = MaskRCNN("inference", config, str(tmp_path_factory.mktemp("logs")))
    randomize(model.keras_model)
    return model


@pytest.fixture
def looking(model, monkeypatch):
    """A function that sets fields of the model's config for the test."""
    return lambda **fields: [
        monkeypatch.setattr(model.config, name, value) for name, value in fields.items()
    ]


PICTURES = [image(64, 64, seed) for seed in range(3)]


def test_one_view_is_what_it_was(model, looking):
    plain = model.detect(PICTURES)
    assert sum(len(one["scores"]) for one in plain) > 5
    for scales in ((1,), [1.0]):
        looking(TEST_SCALES=scales)
        assert same(model.detect(PICTURES), plain)
    looking(TEST_SCALES=(2,))
    doubled = model.detect(PICTURES)
    assert not same(doubled, plain)
    looking(TEST_SCALES=(1, 2))
    both = model.detect(PICTURES)
    for union, one, other in zip(both, plain, doubled):
        scores = np.concatenate([one["scores"], other["scores"]])
        assert np.isin(union["scores"], scores).all() and len(union["scores"]) <= len(scores)
        assert max(union["scores"]) == max(scores)


def test_a_mirrored_image_has_mirrored_detections(model, looking):
    looking(TEST_FLIPS=True)
    found = model.detect(PICTURES)
    assert same(model.detect(PICTURES), found)
    mirrored = model.detect([picture[:, ::-1] for picture in PICTURES])
    for one, other in zip(found, mirrored):
        np.testing.assert_array_equal(one["class_ids"], other["class_ids"])
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)
        y1, x1, y2, x2 = other.boxes.T
        np.testing.assert_allclose(one.boxes.T, [y1, 64 - x2, y2, 64 - x1], atol=1e-2)
        assert (one["masks"] != other["masks"][:, ::-1]).mean() < 0.02
    looking(TEST_FLIPS=False)
    assert not same(model.detect(PICTURES), found)


def test_images_do_not_see_each_other(model, looking):
    looking(TEST_FLIPS=True, TEST_SCALES=(1, 2))
    together = model.detect(PICTURES)
    for one, picture in zip(together, PICTURES):
        (alone,) = model.detect([picture])
        np.testing.assert_allclose(one["scores"], alone["scores"], atol=1e-5)
        np.testing.assert_array_equal(one["rois"], alone["rois"])


def test_evaluation_looks_at_all_views(model, looking, rectangles):
    looking(TEST_FLIPS=True, SOFT_NMS_SIGMA=0.0)
    evaluation = model.evaluate(rectangles, verbose=0, min_confidence=0.3)
    assert evaluation.settings["views_of_an_image"] == 2
    by_hand = evaluate(rectangles, model.detect, min_score=0.5, verbose=0)
    assert evaluation["segm_AP"] == by_hand["segm_AP"]
    assert evaluation["bbox_AR_100"] == by_hand["bbox_AR_100"]
    assert model.config.DETECTION_MIN_CONFIDENCE == 0.3
    looking(TEST_FLIPS=False)
    assert "views_of_an_image" not in model.evaluate(rectangles, verbose=0).settings


def test_molding_at_a_scale():
    config = tiny_config()
    molded, meta, window = mold(image(32, 64), config, factor=2)
    assert molded.shape == (128, 128, 3) and window == (32, 0, 96, 128) and meta[11] == 2
