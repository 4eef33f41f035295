"""MaskRCNN.evaluate: the network's thresholds, its classes and its batches."""

import numpy as np
import pytest

from mrcnn.evaluation import evaluate, evaluate_detections
from mrcnn.model import MaskRCNN
from tests.tiny import Rectangles, randomize, tiny_config


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The same random weights behind a low and a high DETECTION_MIN_CONFIDENCE: (low, high)."""
    built = []
    for least in (0.0, 0.7):
        model = MaskRCNN(
            "inference",
            tiny_config(DETECTION_MIN_CONFIDENCE=least),
            str(tmp_path_factory.mktemp("logs")),
        )
        randomize(model.keras_model)
        built.append(model)
    return built


def numbers(evaluation):
    """What does not depend on the clock."""
    return {
        key: value
        for key, value in evaluation.items()
        if not key.endswith(("seconds", "per_second"))
    }


def test_it_is_evaluate_on_detect(models, rectangles):
    low, _ = models
    evaluation = low.evaluate(rectangles, verbose=0)
    by_hand = evaluate(rectangles, low.detect, min_score=0.5, verbose=0)
    np.testing.assert_equal(numbers(evaluation), numbers(by_hand))
    np.testing.assert_array_equal(evaluation.confusion, by_hand.confusion)
    summary = evaluate_detections(rectangles, low.detect, progress=False)
    assert (
        evaluation["segm_AP"] == summary["segm"]["AP"]
        and evaluation["bbox_AR_10"] == summary["bbox"]["AR_10"]
    )
    assert (
        evaluation["objects"] == 8
        and sum(row["detections"] for row in evaluation.per_class.values()) > 5
    )


def test_ap_counts_low_scores_without_another_model(models, rectangles):
    low, high = models
    few = [len(one["scores"]) for one in high.detect([rectangles.load_image(i) for i in range(6)])]
    expected = low.evaluate(rectangles, verbose=0, min_confidence=0.05)
    evaluation = high.evaluate(rectangles, verbose=0)
    assert evaluation.settings["min_confidence"] == 0.05 and evaluation.settings["min_score"] == 0.7
    for key in ("segm_AP", "bbox_AP50", "segm_AR_100"):
        assert evaluation[key] == expected[key]
    assert "all detections from a score of 0.05" in str(evaluation)
    # precision and recall are those of what detect returns, which has not changed
    assert (
        evaluation["detections"]
        == sum(few)
        == sum(
            len(one["scores"]) for one in high.detect([rectangles.load_image(i) for i in range(6)])
        )
    )
    everything = [one["score"] for scene in evaluation._found.scenes for one in scene.detections]
    assert len(everything) > sum(few) and 0.05 <= min(everything) < 0.7
    assert high.keras_model.get_layer("mrcnn_detection").settings["DETECTION_MIN_CONFIDENCE"] == 0.7


def test_thresholds_of_ones_own(models, rectangles):
    low, high = models
    evaluation = high.evaluate(rectangles, verbose=0, min_confidence=0.7, min_score=0.8)
    assert evaluation.settings["min_confidence"] == 0.7 and evaluation.settings["min_score"] == 0.8
    scores = [one["score"] for scene in evaluation._found.scenes for one in scene.detections]
    assert min(scores) >= 0.7 and evaluation["detections"] == sum(score >= 0.8 for score in scores)
    # a config made for AP says nothing about the score to use
    assert low.evaluate(rectangles, verbose=0).settings["min_score"] == 0.5
    with pytest.raises(ValueError, match="min_confidence is 2; it must lie in 0..1"):
        low.evaluate(rectangles, verbose=0, min_confidence=2)


def test_batches(models, rectangles, monkeypatch):
    low, _ = models
    sizes = []
    predict = low.predict
    monkeypatch.setattr(
        low,
        "predict",
        lambda images, metas, **options: (
            sizes.append(len(images)) or predict(images, metas, **options)
        ),
    )
    expected = numbers(low.evaluate(rectangles, verbose=0))
    assert sizes == [2, 2, 2]  # BATCH_SIZE
    sizes.clear()
    measured = numbers(low.evaluate(rectangles, verbose=0, batch_size=4))
    assert sizes == [4, 2] and low.config.BATCH_SIZE == 2
    assert measured == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_images_of_several_sizes_and_a_report(models, tmp_path):
    low, _ = models
    dataset = Rectangles(3, size=(50, 90))
    evaluation = low.evaluate(dataset, [0, 2], report=tmp_path, worst=1, verbose=0)
    assert evaluation["images"] == 2 and len(evaluation.worst) == 1
    assert (tmp_path / "report.html").read_text().count("image/jpeg") == 2


def test_the_classes_must_be_the_networks(models, rectangles):
    low, _ = models
    other = Rectangles(2)
    other.add_class("rectangles", 3, "green")
    other.prepare()
    with pytest.raises(
        ValueError, match=r"Rectangles has 4 classes .*\(red, blue, green\).* NUM_CLASSES 3"
    ):
        low.evaluate(other, verbose=0)
    model = MaskRCNN("inference", tiny_config(CLASS_NAMES=["BG", "blue", "red"]), "logs")
    with pytest.raises(
        ValueError, match="1 is 'red' in the dataset and 'blue' in CLASS_NAMES; 2 is 'blue'"
    ):
        model.evaluate(rectangles, verbose=0)
    unprepared = type("Empty", (Rectangles,), {"prepare": lambda self: None})(2)
    with pytest.raises(ValueError, match="no class_names: call its prepare"):
        low.evaluate(unprepared, verbose=0)


def test_further_classes_of_the_data_are_missed(models, tmp_path):
    low, _ = models
    model = MaskRCNN("inference", tiny_config(CLASS_NAMES=["BG", "red", "blue"]), str(tmp_path))
    model.keras_model.set_weights(low.keras_model.get_weights())
    data = Rectangles(2)
    expected = numbers(model.evaluate(data, verbose=0))
    data.add_class("rectangles", 3, "green")
    data.prepare()
    data.image_info[0]["objects"].append((3, 0, 0, 9, 9))
    evaluation = model.evaluate(data, verbose=0)
    assert evaluation["objects"] == expected["objects"] + 1 == 3
    assert evaluation["hits"] == expected["hits"]
    assert evaluation["segm_AP50"] == pytest.approx(expected["segm_AP50"] * 2 / 3)
    assert "lacks 1 classes of the data, whose objects count as missed: green (1" in str(evaluation)


def test_a_training_model_is_refused(tmp_path, rectangles):
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    with pytest.raises(ValueError, match="evaluate needs mode='inference'"):
        model.evaluate(rectangles)


def test_limits_that_are_reached(models, rectangles, tmp_path):
    """Random weights fill all rows, and images 2 and 5 have two objects."""
    low, _ = models
    evaluation = low.evaluate(rectangles, verbose=0)
    assert evaluation.left_out["images_at_limit"] == sum(
        len(one["scores"]) == 10 for one in low.detect([rectangles.load_image(i) for i in range(6)])
    )
    assert evaluation.left_out["images_beyond_limit"] == []
    model = MaskRCNN("inference", tiny_config(DETECTION_MAX_INSTANCES=1), str(tmp_path))
    model.keras_model.set_weights(low.keras_model.get_weights())
    evaluation = model.evaluate(rectangles, verbose=0)
    assert [
        (one["image_id"], one["objects"]) for one in evaluation.left_out["images_beyond_limit"]
    ] == [(2, 2), (5, 2)]
    assert (
        "2 images have more objects than DETECTION_MAX_INSTANCES = 1, up to 2: the others are "
        "missed. DETECTION_MAX_INSTANCES=2 leaves room for all." in str(evaluation)
    )
    assert evaluation.left_out["images_at_limit"] == 6
    assert "On 6 images there are as many detections as DETECTION_MAX" in str(evaluation)
