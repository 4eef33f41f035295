"""What a segmenter returns for an image."""

import copy
import pickle

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.label_drawing import draw_labels
from mrcnn.inference import Result
from mrcnn.inference.semantic_result import SemanticResult, label_pixels

NAMES = ["BG", "cat", "dog", "cow"]
LABELS = np.array([[0, 1, 1, 0, 1], [0, 1, 0, 2, 0], [3, 0, 2, 2, 255]], np.uint8)
CONFIDENCE = np.linspace(0.3, 1, 15, dtype=np.float32).reshape(3, 5)
IMAGE = np.random.RandomState(0).randint(0, 256, (3, 5, 3)).astype(np.uint8)


def result(labels=LABELS, image=IMAGE, **fields):
    confidence = np.resize(CONFIDENCE, labels.shape)
    return SemanticResult(labels.copy(), confidence, NAMES, image, **fields)


# === What was found ===


def test_names_pixels_and_shares():
    found = result()
    assert found.names == ["cat", "dog", "cow"]
    assert found.pixels.tolist() == [6, 4, 3, 1]
    assert list(found.shares.items()) == [
        ("BG", 6 / 15),
        ("cat", 4 / 15),
        ("dog", 3 / 15),
        ("cow", 1 / 15),
    ]
    assert found.share("cat") == 4 / 15 and found.share(["dog", 3]) == 4 / 15
    assert found.share(0) == found.share("BG") == 6 / 15
    assert found.at_limit is False and found.to_labels() is found.labels
    assert repr(found) == (
        "<SemanticResult of 3 x 5 px: BG 40.00 %, cat 26.67 %, dog 20.00 %, cow 6.67 %>"
    )
    with pytest.raises(ValueError, match="no class 'bird'"):
        found.share("bird")


def test_an_image_of_void_and_one_of_background():
    void = result(np.full((2, 2), 255, np.uint8), image=None)
    assert (
        void.names == []
        and void.shares == {}
        and repr(void) == ("<SemanticResult of 2 x 2 px: void>")
    )
    empty = result(np.zeros((2, 2), np.uint8), image=None)
    assert empty.names == [] and empty.shares == {"BG": 1.0}
    assert empty.to_result().count == void.to_result().count == 0


def test_filter():
    found = result()
    cats = found.filter("cat")
    np.testing.assert_array_equal(cats.labels, np.where(LABELS == 2, 0, LABELS) * (LABELS != 3))
    assert cats.names == ["cat"] and cats.image is IMAGE and cats.confidence is found.confidence
    sure = found.filter(min_confidence=0.5)
    np.testing.assert_array_equal(sure.labels, np.where(CONFIDENCE < 0.5, 255, LABELS))
    np.testing.assert_array_equal(found.labels, LABELS)
    with pytest.raises(ValueError, match="min_confidence is -1"):
        found.filter(min_confidence=-1)


def test_copies_and_pickles():
    found = result(scores=np.random.rand(2, 3, 4).astype(np.float32))
    for other in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        for name in ("labels", "confidence", "image", "probabilities"):
            np.testing.assert_array_equal(getattr(other, name), getattr(found, name))
        assert other.class_names == NAMES


# === Probabilities ===


def test_probabilities_of_a_size():
    scores = np.random.RandomState(0).dirichlet(np.ones(4), (3, 5)).astype(np.float32)
    labels, confidence = label_pixels(scores, 3, 5)
    np.testing.assert_array_equal(labels, scores.argmax(-1))
    np.testing.assert_array_equal(confidence, scores.max(-1))
    found = SemanticResult(labels, confidence, NAMES, scores=scores)
    np.testing.assert_array_equal(found.probabilities, scores)
    found.scores = None
    with pytest.raises(ValueError, match="were not kept"):
        _ = found.probabilities


def test_equally_probable_classes_are_the_first():
    labels, _ = label_pixels(np.full((1, 1, 2), 0.5, np.float32), 1, 1)
    assert labels == 0


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (400, 90), (37, 53)])
def test_strips_equal_the_whole(size, monkeypatch):
    scores = np.random.RandomState(1).dirichlet(np.ones(3), (20, 30)).astype(np.float32)
    monkeypatch.setattr("mrcnn.inference.semantic_result._STRIP_VALUES", 5000)
    labels, confidence = label_pixels(scores, *size)
    found = SemanticResult(labels, confidence, NAMES[:3], scores=scores)
    np.testing.assert_array_equal(labels, found.probabilities.argmax(-1))
    np.testing.assert_array_equal(confidence, found.probabilities.max(-1))


# === Objects ===


def test_regions_are_objects():
    objects = result().to_result()
    assert isinstance(objects, Result) and objects.image is IMAGE
    assert objects.count == 4 and objects.counts == {"cat": 2, "cow": 1, "dog": 1}
    np.testing.assert_allclose(objects["scores"], np.sort(objects["scores"])[::-1])
    for index, (box, name) in enumerate(zip(objects["rois"].tolist(), objects.names)):
        mask = objects["masks"][..., index]
        assert set(LABELS[mask].tolist()) == {NAMES.index(name)}
        np.testing.assert_allclose(objects["scores"][index], CONFIDENCE[mask].mean(), rtol=1e-6)
        rows, columns = np.nonzero(mask)
        assert box == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    np.testing.assert_array_equal(objects.to_labels() > 0, (LABELS > 0) & (LABELS < 255))


def test_masks_made_one_at_a_time_say_the_same():
    objects, large = result().to_result(), result().large_result()
    assert isinstance(objects["masks"], np.ndarray) and not isinstance(large["masks"], np.ndarray)
    assert large.to_coco(7) == objects.to_coco(7)
    assert large.to_coco(7, polygons=True) == objects.to_coco(7, polygons=True)
    assert large.to_labelme("a.png") == objects.to_labelme("a.png")
    assert large.area.tolist() == objects.area.tolist() and large.names == objects.names
    for one, other in zip(large.crop(mask=True), objects.crop(mask=True)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(large.select([1, 0])["masks"], objects["masks"][..., [1, 0]])


def test_small_regions_are_left_out_when_asked():
    objects = result().to_result(min_area=3)
    assert objects.counts == {"cat": 1, "dog": 1} and not objects.at_limit
    assert sorted(objects.area.tolist()) == [3, 3]


def test_the_largest_regions_are_taken():
    labels = np.array([[1, 0, 2, 2, 2], [0, 0, 0, 0, 0], [3, 3, 0, 0, 1]], np.uint8)
    objects = result(labels).to_result(most=2)
    assert objects.counts == {"cow": 1, "dog": 1} and objects.at_limit
    assert result(labels).to_result(most=4).at_limit  # more might be cut off
    assert not result(labels).to_result(most=5).at_limit


# === Pictures ===


def test_pictures(tmp_path):
    found = result()
    picture = found.draw(alpha=0.3, labels=False)
    np.testing.assert_array_equal(picture, draw_labels(IMAGE, LABELS, NAMES, 0.3, names=False))
    path = found.save(tmp_path / "a.png", alpha=0.3, labels=False)
    np.testing.assert_array_equal(np.array(Image.open(path)), picture)
    assert (found.draw(IMAGE[..., 0]) != picture).any()
    with pytest.raises(ValueError, match="no image"):
        result(image=None).draw()
    with pytest.raises(ValueError, match=r"5 x 3 px.*4 x 3 px"):
        found.draw(IMAGE[:, :4])
    with pytest.raises(ValueError, match=r"a\.gif: cannot write a \.gif picture"):
        found.save(tmp_path / "a.gif")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        found.save(tmp_path / "none" / "a.png")


def test_plot_has_a_legend_of_shares():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    result().plot(title="pets", ax=ax)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["BG 40.00 %", "cat 26.67 %", "dog 20.00 %", "cow 6.67 %", "void 6.67 %"]
    assert ax.get_title() == "pets"
    plt.close(figure)
    result().plot()
    plt.close("all")
