"""ConfusionMatrix: numbers by hand, pixel by pixel, and of Keras."""

import warnings

import numpy as np
import pytest

from mrcnn.evaluation.confusion import BLOCK, ConfusionMatrix, PerImageIoU

NAN = float("nan")


def matrix_of(truth, found, num_classes, void=255):
    confusion = ConfusionMatrix(num_classes, void)
    confusion.add(np.asarray(truth), np.asarray(found))
    return confusion


def maps(seed, num_classes, shape=(2, 20, 30), void=255, dtype=np.uint8):
    """Random label maps, right in half of the pixels, of which not every class is there."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, shape).astype(dtype)
    found = np.where(rng.random(shape) < 0.5, truth, rng.integers(0, num_classes, shape))
    truth[rng.random(shape) < 0.1] = void
    return truth, found.astype(dtype)


def test_golden():
    confusion = matrix_of([0, 0, 1, 1, 255], [0, 1, 1, 1, 0], 3)
    np.testing.assert_array_equal(confusion.matrix, [[1, 1, 0], [0, 2, 0], [0, 0, 0]])
    assert confusion.matrix.dtype == np.int64 and confusion.pixels == 4
    np.testing.assert_allclose(confusion.iou, [0.5, 2 / 3, NAN])
    assert confusion.mean_iou == pytest.approx(0.58333333)
    assert confusion.foreground_mean_iou == pytest.approx(2 / 3)
    np.testing.assert_allclose(confusion.dice, [2 / 3, 0.8, NAN])
    assert confusion.pixel_accuracy == 0.75
    np.testing.assert_allclose(confusion.class_accuracy, [0.5, 1, NAN])
    np.testing.assert_allclose(confusion.precision, [1, 2 / 3, NAN])
    assert confusion.mean_accuracy == 0.75
    assert confusion.frequency_weighted_iou == pytest.approx((2 * 0.5 + 2 * 2 / 3) / 4)
    assert repr(confusion) == "<ConfusionMatrix of 3 classes, 4 pixels>"


def pixel_by_pixel(truth, found, num_classes, void):
    """{measure: value}, with sets of pixels in place of a matrix."""
    valid = {place for place in np.ndindex(truth.shape) if truth[place] != void}
    ious, dices, recalls, weighted = [], [], [], 0.0
    for label in range(num_classes):
        true = {place for place in valid if truth[place] == label}
        seen = {place for place in valid if found[place] == label}
        both = true & seen
        ious.append(len(both) / len(true | seen) if true | seen else NAN)
        dices.append(2 * len(both) / (len(true) + len(seen)) if true or seen else NAN)
        recalls.append(len(both) / len(true) if true else NAN)
        weighted += len(true) * ious[-1] if true else 0
    return {
        "iou": ious,
        "dice": dices,
        "class_accuracy": recalls,
        "mean_iou": np.mean([iou for iou in ious if iou == iou]),
        "foreground_mean_iou": np.mean([iou for iou in ious[1:] if iou == iou]),
        "mean_accuracy": np.mean([recall for recall in recalls if recall == recall]),
        "pixel_accuracy": sum(truth[place] == found[place] for place in valid) / len(valid),
        "frequency_weighted_iou": weighted / len(valid),
    }


@pytest.mark.parametrize(
    "num_classes, void, dtype",
    [
        (2, 255, np.uint8),
        (5, 255, np.uint8),
        (150, 255, np.uint8),
        (255, 255, np.uint8),
        (300, 65535, np.uint16),
        (4, 255, np.int64),
    ],
)
def test_measures_are_those_of_sets_of_pixels(num_classes, void, dtype):
    truth, found = maps(num_classes, num_classes, void=void, dtype=dtype)
    truth[truth == 1] = 0  # found only
    found[0, 0] = void
    confusion = matrix_of(truth, found, num_classes, void)
    for name, expected in pixel_by_pixel(truth, found, num_classes, void).items():
        np.testing.assert_allclose(getattr(confusion, name), expected, err_msg=name)
    assert confusion.iou[1] == 0 and confusion.pixels == np.count_nonzero(truth != void)


def test_absent_classes_are_nan_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion = matrix_of([0, 0], [0, 0], 4)
        np.testing.assert_array_equal(confusion.iou, [1, NAN, NAN, NAN])
        assert confusion.mean_iou == 1 and np.isnan(confusion.foreground_mean_iou)
        # found and not there: 0, which is in the means; nothing is known of its recall
        confusion = matrix_of([0, 0], [0, 3], 4)
        np.testing.assert_array_equal(confusion.iou, [0.5, NAN, NAN, 0])
        assert confusion.mean_iou == 0.25 and confusion.foreground_mean_iou == 0
        np.testing.assert_array_equal(confusion.class_accuracy, [0.5, NAN, NAN, NAN])
        assert confusion.frequency_weighted_iou == 0.5


MEASURES = (
    "iou mean_iou foreground_mean_iou dice pixel_accuracy mean_accuracy class_accuracy precision "
    "frequency_weighted_iou"
).split()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("truth", [None, [255, 255]])
def test_no_pixel_is_an_error(measure, truth):
    confusion = ConfusionMatrix(3)
    if truth:
        confusion.add(truth, [0, 1])
    with pytest.raises(ValueError, match=r"no pixel has a label.*all void \(255\)"):
        getattr(confusion, measure)


def test_a_labelled_pixel_found_void_is_wrong():
    confusion = matrix_of([1, 1, 0, 255], [1, 255, 0, 255], 2)
    np.testing.assert_array_equal(confusion.matrix, [[1, 0], [0, 1]])
    np.testing.assert_array_equal(confusion.unfound, [0, 1])
    np.testing.assert_allclose(confusion.iou, [1, 0.5])
    np.testing.assert_allclose(confusion.dice, [1, 2 / 3])
    np.testing.assert_allclose(confusion.class_accuracy, [1, 0.5])
    np.testing.assert_allclose(confusion.precision, [1, 1])
    assert confusion.pixel_accuracy == pytest.approx(2 / 3) and confusion.pixels == 3
    nothing = matrix_of([1, 0], [255, 255], 2)
    assert nothing.mean_iou == nothing.pixel_accuracy == nothing.frequency_weighted_iou == 0
    np.testing.assert_array_equal(nothing.precision, [NAN, NAN])


def test_a_sum_is_the_matrix_of_all_pixels():
    truth, found = maps(1, 6, (5, 30, 40))
    found[2, 3] = 255
    together = matrix_of(truth, found, 6)
    apart = sum(
        (matrix_of(one, other, 6) for one, other in zip(truth, found)), start=ConfusionMatrix(6)
    )
    one_by_one = ConfusionMatrix(6)
    for pair in zip(truth, found):
        one_by_one.add(*pair)
    for other in (apart, one_by_one):
        np.testing.assert_array_equal(other.matrix, together.matrix)
        np.testing.assert_array_equal(other.unfound, together.unfound)
    assert apart.mean_iou == together.mean_iou
    first, second = matrix_of([0], [0], 2), matrix_of([1], [0], 2)
    total = first + second
    assert (total.pixels, first.pixels, second.pixels) == (2, 1, 1)
    with pytest.raises(ValueError, match="of 2 and 3 classes with void 255 and 255"):
        first + ConfusionMatrix(3)
    with pytest.raises(TypeError):
        first + 1


def test_more_pixels_than_a_block():
    truth = np.tile(np.array([0, 1, 2, 255], np.uint8), BLOCK // 4 + 5)
    confusion = matrix_of(truth, np.roll(truth, 4) % 255, 3)
    np.testing.assert_array_equal(confusion.matrix, np.eye(3) * (BLOCK // 4 + 5))


def test_masks_are_label_maps():
    truth = np.array([[True, False], [True, True]])
    confusion = matrix_of(truth, ~truth, 2)
    np.testing.assert_array_equal(confusion.matrix, [[0, 1], [3, 0]])


def test_no_pixel_adds_nothing():
    confusion = ConfusionMatrix(2)
    confusion.add(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8))
    assert confusion.pixels == 0


def test_wrong_labels_are_named():
    confusion = ConfusionMatrix(3)
    for truth, found, said in (
        ([0, 7], [0, 0], "the true label map has the label 7; labels are 0 to 2, and 255 for void"),
        ([0, 0], [3, 254], "the found label map has the labels 3, 254; labels are 0 to 2"),
        ([0, -1], [0, 0], "the true label map has the label -1;"),
        ([255, 0], [9, 0], "the found label map has the label 9;"),  # void in truth, yet no label
        (np.uint16([0, 65535]), np.uint16([0, 0]), "the label 65535"),
        ([0, 0, 0], [0, 0], r"has the shape \(3,\), the one found \(2,\); they must be equal"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), "true labels are of type float64; .* argmax"),
        (np.zeros(2, int), np.zeros(2, np.float32), "found labels are of type float32"),
    ):
        with pytest.raises(ValueError, match=said):
            confusion.add(truth, found)
    assert confusion.pixels == 0
    with pytest.raises(ValueError, match="num_classes is 0; it must be at least 1"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="void is 255, which is a class: .* such as 65535"):
        ConfusionMatrix(256)


def test_per_image_iou_is_the_mean_of_the_images_with_the_class():
    per_image = PerImageIoU(3)
    per_image.add(matrix_of([0, 0, 1, 1], [0, 0, 1, 0], 3))  # 2/3 and 1/2
    per_image.add(matrix_of([0, 0, 0, 0], [0, 0, 1, 0], 3))  # 3/4; a 1 that is not there
    np.testing.assert_allclose(per_image.iou, [(2 / 3 + 3 / 4) / 2, 0.5, NAN])
    np.testing.assert_array_equal(per_image.images, [2, 1, 0])
    assert per_image.mean_iou == pytest.approx(((2 / 3 + 3 / 4) / 2 + 0.5) / 2)
    with pytest.raises(ValueError, match="no pixel has a label"):
        per_image.add(ConfusionMatrix(3))


@pytest.mark.parametrize("num_classes", [2, 7, 40])
def test_keras_agrees(num_classes):
    import keras

    truth, found = maps(num_classes, num_classes, (4, 16, 20))
    truth[truth == 1] = 0
    found[found == num_classes - 1] = 0
    truth[truth == num_classes - 1] = 0  # a class that is nowhere
    metric = keras.metrics.MeanIoU(num_classes, ignore_class=255)
    confusion = ConfusionMatrix(num_classes)
    for one, other in zip(truth, found):
        metric.update_state(one.astype(np.int32), other.astype(np.int32))
        confusion.add(one, other)
    assert confusion.mean_iou == pytest.approx(float(metric.result()), abs=1e-6)
    np.testing.assert_array_equal(confusion.matrix, np.asarray(metric.total_cm))
