"""Images of any size into the class of each pixel, and how good these are."""

import warnings

import numpy as np
import pytest

from mrcnn.config.choices import SEGMENTATION_NETWORKS
from mrcnn.data.dataset import Dataset
from mrcnn.data.images import mold_image
from mrcnn.data.label_drawing import draw_labels
from mrcnn.inference.segment import evaluate_segmenter, found_and_true, segment
from mrcnn.inference.semantic_result import SemanticResult
from tests.networks.segmentation.tiny import config_of

RNG = np.random.RandomState(0)
# Three classes by brightness, and how sure the colour is.
LEVELS = np.array([40.0, 120.0, 210.0])


def whole(**fields):
    """Settings with which an image goes in as it is."""
    return config_of("plain", **{"IMAGE_RESIZE_MODE": "none", **fields})


def by_brightness(config):
    """A network that sees the pixel alone: the nearer a level, the likelier its class."""

    def predict(molded):
        assert molded.dtype == np.float32 and molded.ndim == 4
        scores = np.exp(-np.abs(molded + config.MEAN_PIXEL - LEVELS[: config.NUM_CLASSES]) / 30)
        return (scores / scores.sum(-1, keepdims=True)).astype(np.float32)

    return predict


def picture(labels, dtype=np.uint8):
    """The grey image that `by_brightness` finds a label map in."""
    return LEVELS[labels].astype(dtype)


def segment_as(config, **options):
    return lambda images: segment(by_brightness(config), images, config, **options)


# === Labels ===


def test_each_pixel_gets_its_class():
    config, labels = whole(), RNG.randint(0, 3, (5, 9))
    given = picture(labels)
    (result,) = segment_as(config)([given])
    np.testing.assert_array_equal(result.labels, labels)
    assert result.labels.dtype == np.uint8 and result.image is given
    assert result.class_names == ["BG", "class 1", "class 2"]
    expected = by_brightness(config)(mold_image(given[None, ..., None], config, np.float32))[0]
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-6)
    np.testing.assert_allclose(result.confidence, expected.max(-1), rtol=1e-6)


@pytest.mark.parametrize("mode", ["square", "rect", "pad64", "none"])
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 20), (64, 64), (150, 100)])
def test_any_size_in_and_the_same_out(mode, size):
    config = whole(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=0)
    labels = np.zeros(size, int)
    labels[:, size[1] // 2 :] = 2
    (result,) = segment_as(config)([picture(labels)])
    assert result.labels.shape == result.confidence.shape == size
    assert result.probabilities.shape == (*size, 3)
    np.testing.assert_allclose(result.probabilities.sum(-1), 1, atol=1e-5)
    # where the image was shrunk, the pixels around the border may go either way
    wrong = result.labels != labels
    assert wrong.mean() <= (0.03 if size[0] > 64 and mode in ("square", "rect") else 0)


@pytest.mark.parametrize("size", [(1, 9), (33, 20), (64, 64), (150, 100)])
def test_mode_fit(size):
    """Enlarged or shrunk, the padding cut off again."""
    config = whole(IMAGE_RESIZE_MODE="fit", IMAGE_MIN_DIM=40, IMAGE_MAX_DIM=60)
    labels = np.zeros(size, int)
    labels[:, size[1] // 3 :] = 2
    sides = []

    def predict(molded):
        sides.append(molded.shape[1:3])
        return by_brightness(config)(molded)

    (result,) = segment(predict, [picture(labels)], config)
    assert result.labels.shape == size and (result.labels != labels).mean() <= 0.04
    height, width = (int(side * min(40 / min(size), 60 / max(size))) for side in size)
    assert result.scores.shape[:2] == (height, width)
    assert sides == [(-(-height // 32) * 32, -(-width // 32) * 32)]


@pytest.mark.parametrize("channels, dtype", [(2, np.uint8), (3, np.uint8), (4, np.uint16)])
def test_other_channels_and_types(channels, dtype):
    labels = RNG.randint(0, 3, (6, 7))
    image = np.repeat(picture(labels).astype(dtype)[..., None], channels, axis=-1)
    image = image * 257 if dtype == np.uint16 else image
    (result,) = segment_as(whole())([image])
    np.testing.assert_array_equal(result.labels, labels)


def test_images_of_few_bits_are_seen_and_drawn_in_their_range():
    labels = RNG.randint(0, 3, (6, 7))
    deep = np.rint(picture(labels) * (4095 / 255)).astype(np.uint16)
    (result,) = segment_as(whole(IMAGE_RANGE=(0, 4095)))([deep])
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.image, picture(labels))
    with pytest.warns(UserWarning, match="segment got images of 16 bits"):
        segment_as(whole())([deep])


def test_probabilities_grow_with_the_image():
    """A step of two pixels becomes a ramp: bilinear, and flat where the image ends."""
    config = whole(IMAGE_RESIZE_MODE="square", IMAGE_MAX_DIM=2, IMAGE_MIN_DIM=0, NUM_CLASSES=2)

    def predict(molded):
        assert molded.shape == (1, 2, 2, 1)
        second = np.broadcast_to(np.array([0.0, 1.0], np.float32), (1, 2, 2))
        return np.stack([1 - second, second], axis=-1)

    (result,) = segment(predict, [np.zeros((8, 8), np.uint8)], config)
    ramp = [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    np.testing.assert_allclose(result.probabilities[3, :, 1], ramp, atol=1e-6)
    np.testing.assert_array_equal(result.labels, np.repeat([[0] * 4 + [1] * 4], 8, axis=0))
    np.testing.assert_allclose(result.confidence[0], np.maximum(ramp, 1 - np.array(ramp)))


def test_batches_of_images_of_several_sizes():
    config, seen = whole(IMAGES_PER_GPU=2), []
    sizes = [(4, 4), (6, 5), (4, 4), (4, 4), (2, 9)]
    maps = [RNG.randint(0, 3, size) for size in sizes]

    def predict(molded):
        seen.append(molded.shape[:3])
        return by_brightness(config)(molded)

    found = segment(predict, [picture(labels) for labels in maps], config)
    for result, labels in zip(found, maps):
        np.testing.assert_array_equal(result.labels, labels)
    assert seen == [(1, 4, 4), (1, 6, 5), (2, 4, 4), (1, 2, 9)]
    assert segment(predict, [], config) == []


def test_padding_goes_to_the_bottom_and_right_and_comes_off_again():
    config = config_of("unet", IMAGE_RESIZE_MODE="none")  # sides of 8

    def predict(molded):
        assert molded.shape[1:3] == (16, 8)
        return by_brightness(config)(molded)

    labels = RNG.randint(0, 3, (9, 5))
    np.testing.assert_array_equal(segment(predict, [picture(labels)], config)[0].labels, labels)


def test_flips_average_with_the_mirror_image():
    config = whole(TEST_FLIPS=True)

    def lopsided(molded):
        """Class 1 where the left neighbour is bright."""
        bright = (molded[..., 0] + config.MEAN_PIXEL > 100).astype(np.float32)
        left = np.pad(bright, ((0, 0), (0, 0), (1, 0)))[..., :-1]
        return np.stack([1 - left, left, 0 * left], axis=-1)

    image = np.zeros((1, 5), np.uint8)
    image[0, 2] = 200
    (result,) = segment(lopsided, [image], config)
    np.testing.assert_allclose(result.probabilities[0, :, 1], [0, 0.5, 0, 0.5, 0])


@pytest.mark.parametrize("mode", ["square", "fit"])
def test_scales_average_the_probabilities_of_several_sizes(mode):
    """At the size of factor 1, which each of them is resized to."""
    config = whole(
        IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=12, IMAGE_MAX_DIM=16, TEST_SCALES=(0.5, 1, 2)
    )
    seen = []

    def predict(molded):
        """The probability of class 1 rises to the right, by as much a pixel at each size."""
        seen.append(molded.shape[1:3])
        share = np.broadcast_to(np.arange(molded.shape[2]) / 100, molded.shape[:3])
        return np.stack([1 - share, share, 0 * share], axis=-1).astype(np.float32)

    (result,) = segment(predict, [np.zeros((12, 16), np.uint8)], config)
    assert result.probabilities.shape == (12, 16, 3) and result.probabilities.dtype == np.float32
    expected = 0
    for width in (8, 16, 32):
        centres = (np.arange(16) + 0.5) * width / 16 - 0.5  # bilinear, ends as they are
        expected = expected + np.interp(centres, np.arange(width), np.arange(width) / 100) / 3
    for row in result.probabilities:
        np.testing.assert_allclose(row[:, 1], expected, atol=1e-6)
    if mode == "square":
        assert seen == [(8, 8), (16, 16), (32, 32)]
        seen.clear()
        config.TEST_FLIPS = True
        (result,) = segment(predict, [np.zeros((12, 16), np.uint8)], config)
        assert len(seen) == 6
        both = (expected + expected[::-1]) / 2
        np.testing.assert_allclose(result.probabilities[0, :, 1], both, atol=1e-6)


def test_a_single_scale_is_another_size():
    config = whole(IMAGE_RESIZE_MODE="square", IMAGE_MIN_DIM=0, IMAGE_MAX_DIM=8, TEST_SCALES=(2,))
    labels = np.kron([[0, 1], [1, 0]], np.ones((4, 4), int))
    seen, predict = [], by_brightness(config)
    (result,) = segment(
        lambda molded: seen.append(molded.shape[1:3]) or predict(molded), [picture(labels)], config
    )
    assert seen == [(16, 16)]
    np.testing.assert_array_equal(result.labels, labels)
    assert result.probabilities.shape == (8, 8, 3)


def test_classes_and_confidence():
    config, labels = whole(CLASS_NAMES=["BG", "cat", "dog"]), np.array([[0, 1, 2, 2]])
    image = picture(labels)
    image[0, 3] = 170  # in doubt
    assert segment_as(config, classes="dog")([image])[0].labels.tolist() == [[0, 0, 2, 2]]
    sure = segment_as(config, classes=["cat"], min_confidence=0.7)([image])[0]
    assert sure.labels.tolist() == [[0, 1, 0, 255]] and sure.names == ["cat"]
    for options, words in (
        ({"classes": "dgo"}, "no class 'dgo'; did you mean 'dog'"),
        ({"classes": 3}, "no class 3"),
        ({"min_confidence": 1.5}, "min_confidence is 1.5"),
    ):
        with pytest.raises(ValueError, match=words):
            segment_as(config, **options)([])


def test_what_is_no_image_is_named_by_its_place():
    good = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"image 3 of 3: .*no pixels"):
        segment_as(whole())([good, good, np.zeros((0, 4))])
    with pytest.raises(ValueError, match=r"write segment\(\[image\]\)"):
        segment_as(whole())(good)
    with pytest.raises(ValueError, match="'crop'.*random part"):
        segment_as(whole(IMAGE_RESIZE_MODE="crop"))([good])


def test_more_than_254_classes():
    count = 300
    config = whole(NUM_CLASSES=count, IGNORE_LABEL=65535)
    labels = RNG.randint(0, count, (3, 4))

    def predict(molded):
        return np.eye(count, dtype=np.float32)[labels][None]

    (result,) = segment(predict, [np.zeros((3, 4), np.uint8)], config)
    np.testing.assert_array_equal(result.labels, labels)
    assert result.labels.dtype == np.uint16


def test_shapes_are_logged():
    said = []
    segment_as(whole(), log=lambda *what: said.append(what))([np.zeros((4, 6), np.uint8)])
    assert said[0] == ("Processing 1 images",)
    assert said[1][0] == "molded_images" and said[1][1].shape == (1, 4, 6, 1)


@pytest.mark.parametrize("network", [*SEGMENTATION_NETWORKS, "unet-valid"])
def test_a_network_of_the_project(network, tmp_path):
    """Sizes that the strides do not divide, and of one pixel."""
    from mrcnn.segmenter import Segmenter

    valid = {"UNET_PADDING": "valid"} if network == "unet-valid" else {}
    config = config_of(
        network.removesuffix("-valid"), IMAGE_RESIZE_MODE="none", UNET_WIDTHS=(4, 4, 6), **valid
    )
    model = Segmenter("inference", config, str(tmp_path))
    images = [
        RNG.randint(0, 256, size).astype(np.uint8) for size in ((1, 1), (1, 90), (13, 37), (64, 32))
    ]
    for image, result in zip(images, model.segment(images)):
        assert result.labels.shape == image.shape
        np.testing.assert_allclose(result.probabilities.sum(-1), 1, atol=1e-5)


# === Measuring ===


class Maps(Dataset):
    """Grey images of label maps; some cannot be read."""

    def __init__(self, maps, broken=()):
        super().__init__()
        self.add_class("maps", 1, "cat")
        self.add_class("maps", 2, "dog")
        for number, labels in enumerate(maps):
            self.add_image("maps", number, f"image_{number}.png", labels=labels)
        self.broken = broken
        self.asked = []
        self.prepare()

    def load_image(self, image_id):
        if image_id in self.broken:
            raise OSError(f"image_{image_id}.png is damaged")
        labels = self.image_info[image_id]["labels"]
        return picture(np.where(labels == 255, 0, labels))

    def load_labels(self, image_id, overlap="smaller", crowds="ignore"):
        self.asked.append((overlap, crowds))
        return self.image_info[image_id]["labels"].astype(np.uint8)


def test_evaluation_counts_what_is_wrong():
    maps = [np.array([[0, 1], [2, 255]]), np.array([[1, 1, 1]])]
    dataset, config = Maps(maps), whole(OVERLAP="last", CROWDS="class")

    def segment(images):
        results = segment_as(config)(images)
        results[0].labels[0, 0] = 1  # the background pixel of the first image
        return results

    evaluation = evaluate_segmenter(segment, config, dataset, verbose=0, batch_size=2)
    assert set(dataset.asked) == {("last", "class")}
    assert evaluation["images"] == 2 and evaluation["pixels"] == 6
    assert evaluation["IoU of cat"] == 4 / 5 and evaluation["IoU of dog"] == 1
    assert evaluation["IoU of BG"] == 0 and evaluation["pixel_accuracy"] == 5 / 6
    assert [row["name"] for row in evaluation.worst] == ["image_0.png"]
    assert evaluation.left_out["void_pixels"] == 1
    assert evaluation.left_out["unreadable_images"] == []
    assert evaluation["images_per_second"] > 0 and evaluation["segment_seconds"] >= 0
    assert evaluation.settings["dataset"] == "Maps" and evaluation.settings["network"] == "tiny"


def test_load_labels_may_take_the_image_id_alone():
    class Short(Maps):
        def load_labels(self, image_id):
            return self.image_info[image_id]["labels"].astype(np.uint8)

    config = whole()
    dataset = Short([np.array([[0, 1], [2, 255]])])
    evaluation = evaluate_segmenter(segment_as(config), config, dataset, verbose=0)
    assert evaluation["pixels"] == 3 and evaluation["mIoU"] == 1


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_unreadable_images_are_named_and_the_others_keep_their_order(workers, batch_size):
    maps = [np.full((2, 2 + number), number % 3) for number in range(7)]
    dataset, seen = Maps(maps, broken=(1, 4)), []

    def segment(images):
        seen.append([image.shape[1] for image in images])
        return segment_as(whole())(images)

    with pytest.warns(UserWarning, match="2 images cannot be read.*image_1.png: .*damaged"):
        evaluation = evaluate_segmenter(
            segment, whole(), dataset, [6, 0, 1, 3, 4, 5], verbose=0, workers=workers,
            batch_size=batch_size,
        )  # fmt: skip
    assert sum(seen, []) == [8, 2, 5, 7] and len(seen[0]) == min(batch_size, 4)
    assert evaluation["images"] == 4 and evaluation["mIoU"] == 1
    unreadable = evaluation.left_out["unreadable_images"]
    assert [row["image_id"] for row in unreadable] == [1, 4]
    assert unreadable[1]["name"] == "image_4.png" and "damaged" in unreadable[1]["why"]
    assert "2 images that cannot be read: image_1.png, image_4.png" in str(evaluation)


def test_nothing_to_measure():
    maps = [np.zeros((2, 2), int), np.full((2, 2), 255)]
    for broken, ids, words in (
        ((0, 1), None, "none of the 2 images can be read; the first, image_0.png: .*damaged"),
        ((), [1], "no pixel"),
        ((), [2], "image_ids .2. are not in the dataset"),
        ((), [], "image_ids is empty"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluate_segmenter(segment_as(whole()), whole(), Maps(maps, broken), ids, verbose=0)
    with pytest.raises(ValueError, match="NUM_CLASSES 2"):
        evaluate_segmenter(segment_as(whole()), whole(NUM_CLASSES=2), Maps(maps), verbose=0)
    for options in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(ValueError, match="is 0; it must be at least 1"):
            evaluate_segmenter(segment_as(whole()), whole(), Maps(maps), verbose=0, **options)


def test_classes_that_the_network_lacks_are_found_wrongly():
    names = ["BG", "cat"]
    config = whole(NUM_CLASSES=2, CLASS_NAMES=names)
    dataset = Maps([np.array([[0, 1, 1, 2]])])
    evaluation = evaluate_segmenter(segment_as(config), config, dataset, verbose=0)
    assert evaluation["IoU of dog"] == 0 and evaluation["IoU of cat"] == 2 / 3


def test_sources_of_different_classes_are_refused():
    dataset = Maps([np.zeros((2, 2), int)])
    dataset.add_class("other", 1, "cow")
    dataset.add_image("other", 0, "other.png", labels=np.zeros((2, 2), int))
    dataset.prepare()
    config = whole(NUM_CLASSES=4)
    with pytest.raises(ValueError, match="2 sources with classes of their own"):
        evaluate_segmenter(segment_as(config), config, dataset, verbose=0)


def test_a_report_shows_the_worst_images(tmp_path, capsys):
    maps = [RNG.randint(0, 3, (12, 15)) for _ in range(3)]

    def segment(images):
        results = segment_as(whole())(images)
        results[0].labels[:] = 0
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_segmenter(
            segment, whole(IMAGES_PER_GPU=3), Maps(maps), report=tmp_path / "report", worst=1
        )
    assert (tmp_path / "report" / "labels.json").exists()
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Evaluation on Maps" in page and "image_0.png" in page
    assert "cannot be read" not in page  # the picture of the image is there
    printed = capsys.readouterr().out
    assert "mIoU" in printed and "Report: " in printed


# === The value of void ===


class Numbered(Maps):
    """Label maps with their own dtype and their own value of void."""

    def load_image(self, image_id):
        labels = self.image_info[image_id]["labels"]
        return picture(np.where(labels > 2, 0, labels))

    def load_labels(self, image_id, overlap="smaller", crowds="ignore"):
        return self.image_info[image_id]["labels"]


@pytest.mark.parametrize(
    "void, ignore, dtype",
    [
        (7, 7, np.uint8),
        (255, 7, np.uint8),
        (65535, 65535, np.uint16),
        (65535, 255, np.uint16),
        (300, 300, np.int64),
    ],
)
def test_ignore_label_is_void_in_the_truth(void, ignore, dtype, tmp_path):
    labels = np.kron(np.array([[0, 1, 2], [2, void, 0]]), np.ones((20, 20), int)).astype(dtype)
    config, dataset = whole(IGNORE_LABEL=ignore), Numbered([labels])
    evaluation = evaluate_segmenter(
        segment_as(config), config, dataset, verbose=0, report=tmp_path / "report"
    )
    assert evaluation["pixels"] == 2000 and evaluation["mIoU"] == 1
    assert evaluation.left_out["void_pixels"] == 400
    known = Maps([np.where(labels == void, 255, labels)])
    np.testing.assert_array_equal(
        found_and_true(segment_as(config), config, dataset, 0),
        found_and_true(segment_as(config), config, known, 0),
    )


def test_what_is_neither_a_class_nor_void_is_an_error():
    config = whole(IGNORE_LABEL=7)
    for value, dtype in ((9, np.uint8), (300, np.uint16), (-1, np.int32)):
        dataset = Numbered([np.array([[0, 1, value]], dtype)])
        with pytest.raises(ValueError, match=str(value)):
            evaluate_segmenter(segment_as(config), config, dataset, verbose=0)


# === Pictures of training ===


def test_found_beside_true():
    labels = np.array([[0, 1, 2], [2, 255, 0]])
    dataset = Maps([np.kron(labels, np.ones((20, 20), int))])
    picture_of_both = found_and_true(segment_as(whole()), whole(), dataset, 0)
    assert picture_of_both.shape == (40, 120, 3) and picture_of_both.dtype == np.uint8
    truth = dataset.load_labels(0)
    image = dataset.load_image(0)
    found, true = np.split(picture_of_both, 2, axis=1)
    np.testing.assert_array_equal(true, draw_labels(image, truth, dataset.class_names))
    np.testing.assert_array_equal(
        found, draw_labels(image, np.where(truth == 255, 0, truth), dataset.class_names)
    )
    assert isinstance(segment_as(whole())([image])[0], SemanticResult)
