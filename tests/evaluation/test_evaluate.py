"""evaluate: an Evaluation of rectangles whose every number is known."""

import json
import re

import numpy as np
import pytest

from mrcnn.evaluation import COCO_METRICS, Evaluation, coco_summary, evaluate
from mrcnn.evaluation.result import REPORT_FILES
from tests.evaluation.scenes import (
    IMAGES,
    Rectangles,
    coco_by_hand,
    noisy_images_and_results,
    perfect,
    result,
)


def recorded(results):
    """A detector that gives these results: the pixel value is the image id."""
    return lambda images: [results[image[0, 0, 0]] for image in images]


def quiet(dataset, detect, *arguments, **options):
    return evaluate(dataset, detect, *arguments, **{"verbose": 0, **options})


# Image 0: a cat found, a dog taken for a cat, a second cat missed. Image 1: a false alarm. Image 2:
# all right.
OBJECTS = [
    [(1, (0, 0, 10, 10)), (2, (20, 20, 30, 30)), (1, (40, 40, 50, 50))],
    [],
    [(2, (0, 0, 20, 20))],
]
FOUND = [
    result([(0, 0, 10, 10), (20, 20, 30, 30), (40, 40, 50, 50)], [1, 1, 1], [0.9, 0.8, 0.3]),
    result([(5, 5, 15, 15)], [2], [0.6]),
    result([(0, 0, 20, 20)], [2], [0.95]),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("batch_size, workers", [(1, 1), (4, 2)])
def test_ap_is_that_of_pycocotools_fed_by_hand(seed, batch_size, workers, capsys):
    images, results = noisy_images_and_results(seed)
    evaluation = quiet(
        Rectangles(images), recorded(results), batch_size=batch_size, workers=workers
    )
    assert capsys.readouterr() == ("", "")
    for kind in ("bbox", "segm"):
        expected = coco_by_hand(images, results, kind)
        measured = [evaluation[f"{kind}_{name}"] for name in COCO_METRICS]
        np.testing.assert_array_equal(np.nan_to_num(measured, nan=-1), expected)
        # per class: the same with the other class's objects and detections taken away
        for name, class_id in (("cat", 1), ("dog", 2)):
            alone = [[(c, box) for c, box in objects if abs(c) == class_id] for objects in images]
            found = [
                result(
                    r["rois"][r["class_ids"] == class_id].tolist(),
                    r["class_ids"][r["class_ids"] == class_id],
                    r["scores"][r["class_ids"] == class_id],
                )
                for r in results
            ]
            stats = coco_by_hand(alone, found, kind)
            assert evaluation.per_class[name][f"{kind}_AP"] == pytest.approx(stats[0])
            assert evaluation.per_class[name][f"{kind}_AP50"] == pytest.approx(stats[1])


def test_counts_by_hand():
    evaluation = quiet(Rectangles(OBJECTS), recorded(FOUND))
    assert {
        key: evaluation[key] for key in ("objects", "detections", "hits", "images", "crowds")
    } == {"objects": 4, "detections": 4, "hits": 2, "images": 3, "crowds": 0}
    assert (
        evaluation["precision"] == 0.5 and evaluation["recall"] == 0.5 and evaluation["F1"] == 0.5
    )
    cat, dog = evaluation.per_class["cat"], evaluation.per_class["dog"]
    assert (cat["objects"], cat["detections"], cat["hits"]) == (2, 2, 1)
    assert (dog["objects"], dog["detections"], dog["hits"]) == (2, 2, 1)
    # with the detection of 0.3 the second cat is found: 2 of 3 right, 2 of 2 found
    assert cat["best_F1"] == pytest.approx(4 / 5) and cat["best_F1_score"] == pytest.approx(0.3)
    assert dog["best_F1"] == pytest.approx(2 / 3) and dog["best_F1_score"] == pytest.approx(0.95)
    # all together: 0.95 and 0.9 are right, 0.8 and 0.6 wrong, 0.3 is right again
    assert evaluation["best_F1"] == pytest.approx(2 * 2 / (2 + 4)) and evaluation[
        "best_F1_score"
    ] == pytest.approx(0.9)
    np.testing.assert_array_equal(evaluation.confusion, [[0, 0, 1], [1, 1, 0], [0, 1, 1]])
    assert evaluation.class_names == ["background", "cat", "dog"]
    assert [
        (row["image_id"], row["hits"], row["missed"], row["false_alarms"], row["confused"])
        for row in evaluation.worst
    ] == [(1, 0, 0, 1, 0), (0, 1, 1, 0, 1)]
    assert evaluation.worst[1]["F1"] == pytest.approx(2 / 5)  # 1 right, 2 detections, 3 objects


def test_min_score_and_iou():
    low = quiet(Rectangles(OBJECTS), recorded(FOUND), min_score=0.2)
    assert (low["hits"], low["detections"]) == (3, 5)
    high = quiet(Rectangles(OBJECTS), recorded(FOUND), min_score=0.99)
    assert high["detections"] == 0 and np.isnan(high["precision"]) and high["recall"] == 0
    assert high["segm_AP"] == low["segm_AP"]  # AP looks at all scores
    shifted = [result([(0, 1, 10, 11)], [1], [0.9])]  # an IoU of 0.818
    for iou, hits in ((0.8, 1), (0.85, 0)):
        assert (
            quiet(Rectangles([[(1, (0, 0, 10, 10))]]), recorded(shifted), iou=iou)["hits"] == hits
        )


def test_curves_are_cocos():
    images, results = noisy_images_and_results(0)
    evaluation = quiet(Rectangles(images), recorded(results))
    for kind in ("bbox", "segm"):
        for iou, metric in (("0.50", "AP50"), ("0.75", "AP75")):
            lines = evaluation.curves[kind][iou]
            assert len(lines["mean"]) == 101 and set(lines) == {"mean", "cat", "dog"}
            assert np.mean(lines["mean"]) == pytest.approx(evaluation[f"{kind}_{metric}"])
            assert (np.diff(lines["cat"]) <= 0).all()


def test_a_class_that_does_not_appear():
    evaluation = quiet(
        Rectangles([[(1, (0, 0, 10, 10))]], names=("cat", "dog", "cow")),
        recorded([result([(0, 0, 10, 10), (30, 30, 40, 40)], [1, 2], [0.9, 0.8])]),
    )
    assert evaluation["segm_AP"] == pytest.approx(1)  # of the cat alone, as COCO has it
    dog, cow = evaluation.per_class["dog"], evaluation.per_class["cow"]
    assert np.isnan(dog["segm_AP"]) and np.isnan(dog["recall"]) and dog["precision"] == 0
    assert np.isnan(cow["precision"]) and np.isnan(cow["F1"]) and cow["objects"] == 0
    assert evaluation["precision"] == 0.5 and np.mean(
        evaluation.curves["segm"]["0.50"]["mean"]
    ) == pytest.approx(1)
    assert "cow" in str(evaluation)


def test_nothing_found_and_nothing_there(tmp_path):
    nothing = quiet(Rectangles(IMAGES), recorded([result([], [], [])] * 3), report=tmp_path / "a")
    assert nothing["segm_AP"] == 0 and nothing["F1"] == 0 and np.isnan(nothing["best_F1_score"])
    assert len(nothing.worst) == 2 and nothing.confusion[1:, 0].tolist() == [2, 1]
    empty = quiet(
        Rectangles([[], []]),
        recorded([result([(0, 0, 5, 5)], [1], [0.9]), result([], [], [])]),
        report=tmp_path / "b",
    )
    assert np.isnan(empty["segm_AP"]) and np.isnan(empty["recall"]) and empty["precision"] == 0
    neither = quiet(Rectangles([[]]), recorded([result([], [], [])]), report=tmp_path / "c")
    assert (
        neither.worst == []
        and "No image with a mistake" in (tmp_path / "c" / "report.html").read_text()
    )


def test_crowds():
    objects = [[(1, (0, 0, 10, 10)), (-1, (20, 20, 50, 60))]]
    evaluation = quiet(
        Rectangles(objects),
        recorded([result([(0, 0, 10, 10), (25, 25, 35, 35)], [1, 1], [0.5, 0.9])]),
    )
    assert evaluation["segm_AP"] == evaluation["bbox_AP"] == pytest.approx(1)
    assert evaluation["precision"] == 1 and evaluation["objects"] == 1 and evaluation["crowds"] == 1
    assert evaluation.worst == [] and "1 crowd regions" in str(evaluation)


def test_a_detector_without_masks():
    def boxes_only(images):
        return [
            {key: value for key, value in one.items() if key != "masks"} for one in perfect(images)
        ]

    evaluation = quiet(Rectangles(IMAGES), boxes_only)
    assert evaluation.iou_types == ("bbox",) and evaluation.settings["iou_type"] == "bbox"
    assert (
        evaluation["bbox_AP"] == pytest.approx(1)
        and "segm_AP" not in evaluation
        and evaluation["F1"] == 1
    )


class Damaged(Rectangles):
    """Image 1 cannot be read, and image 3's masks neither."""

    def load_image(self, image_id):
        if image_id == 1:
            raise ValueError("Image file cannot be read: /secret/folder/one.png")
        return super().load_image(image_id)

    def load_mask(self, image_id):
        if image_id == 3:
            raise FileNotFoundError("/secret/folder/three-mask.png is missing")
        return super().load_mask(image_id)


def test_images_that_cannot_be_read_are_named(tmp_path, capsys):
    images = [*IMAGES, [(1, (0, 0, 5, 5))]]
    with pytest.warns(
        UserWarning, match="2 images cannot be read and are left out: 1: .*one.png; 3: .*three-mask"
    ):
        evaluation = evaluate(Damaged(images), perfect, report=tmp_path)
    assert (
        evaluation["images"] == 2
        and evaluation["segm_AP"] == pytest.approx(1)
        and evaluation["objects"] == 2
    )
    assert [one["image_id"] for one in evaluation.left_out["unreadable_images"]] == [1, 3]
    assert "Left out: 2 images that cannot be read: 1, 3." in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "2 images that cannot be read" in page and "secret" not in page
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="none of the 1 images can be read; the first, 1: "),
    ):
        quiet(Damaged(images), perfect, [0, 1])
        quiet(Damaged(images), perfect, [1])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_every_readable_image_is_detected_once(batch_size):
    images, asked = [*IMAGES, [], []], []

    def detect(batch):
        asked.append([int(image[0, 0, 0]) for image in batch])
        return [result([], [], [])] * len(batch)

    with pytest.warns(UserWarning, match="2 images cannot be read"):
        quiet(Damaged(images), detect, batch_size=batch_size)
    assert sum(asked, []) == [0, 2, 4] and all(len(batch) == batch_size for batch in asked[:-1])


def test_what_a_reader_left_out_is_told():
    dataset = Rectangles(IMAGES)
    dataset.left_out = type("LeftOut", (), {"places": {"polygons without a pixel": ["a", "b"]}})()
    evaluation = quiet(dataset, perfect)
    assert "Left out when the data set was loaded: 2 polygons without a pixel." in str(evaluation)


def test_more_than_a_hundred_of_a_class_are_told():
    boxes = [(i // 40 * 3, i % 40 * 2, i // 40 * 3 + 2, i % 40 * 2 + 2) for i in range(130)]
    evaluation = quiet(
        Rectangles([[(1, box) for box in boxes]]),
        recorded([result(boxes, [1] * 130, np.linspace(0.6, 0.9, 130))]),
    )
    assert evaluation.left_out["surplus_detections"] == 30 and "AP leaves out 30 detections" in str(
        evaluation
    )
    assert evaluation["hits"] == 130 and evaluation["recall"] == 1 and evaluation["segm_AR_100"] < 1


def test_one_image_and_image_ids():
    evaluation = quiet(Rectangles(OBJECTS), recorded(FOUND), [2])
    assert evaluation["images"] == 1 and evaluation["segm_AP"] == pytest.approx(1)
    assert np.isnan(evaluation.per_class["cat"]["segm_AP"])


def test_an_image_drawn_twice_counts_once():
    """As of matterport's np.random.choice(dataset.image_ids, 10)."""
    twice = quiet(Rectangles(OBJECTS), recorded(FOUND), np.array([2, 0, 2, 0, 0]))
    once = quiet(Rectangles(OBJECTS), recorded(FOUND), [2, 0])
    assert (
        twice["images"] == 2
        and twice["objects"] == 4
        and twice.confusion.tolist() == once.confusion.tolist()
    )
    for name in COCO_METRICS:
        np.testing.assert_equal(twice[f"segm_{name}"], once[f"segm_{name}"])


def test_it_is_a_mapping_and_a_table(capsys):
    evaluation = evaluate(Rectangles(OBJECTS), recorded(FOUND), settings={"network": "toy"})
    assert (
        isinstance(evaluation, Evaluation)
        and dict(evaluation)["segm_AP50"] == evaluation["segm_AP50"]
    )
    assert len(evaluation) == len(list(evaluation)) and "bbox_AR_100" in evaluation
    streams = capsys.readouterr()
    assert (
        streams.out == str(evaluation) + "\n"
        and "Detecting" in streams.err
        and "Scoring" in streams.err
    )
    lines = str(evaluation).splitlines()
    assert lines[0].split() == ["bbox", "segm"] and len({len(line) for line in lines[:13]}) == 1
    table = lines[lines.index("") + 1 :][:4]
    assert [line.split()[0] for line in table] == ["class", "cat", "dog", "all"]
    assert len({len(line) for line in table}) == 1
    assert repr(evaluation).startswith("<Evaluation of 3 images, bbox_AP 0.")
    assert (
        evaluation.settings["network"] == "toy" and evaluation.settings["dataset"] == "Rectangles"
    )
    assert (
        0 < evaluation["detect_seconds"] <= evaluation["seconds"]
        and evaluation["images_per_second"] > 0
    )


def test_files(tmp_path):
    folder = tmp_path / "new" / "report"
    evaluation = quiet(
        Rectangles(OBJECTS, names=("cat", "<dog & é>")), recorded(FOUND), report=folder
    )
    assert {path.name for path in folder.iterdir()} == set(REPORT_FILES)
    told = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert told == json.loads(evaluation.to_json()) == json.loads(json.dumps(evaluation.to_dict()))
    assert told["metrics"]["precision"] == 0.5 and told["confusion"]["classes"][1] == "cat"
    assert "NaN" not in evaluation.to_json() and told["metrics"]["bbox_AP_large"] is None

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page and page.count("data:image/png;base64,") == 3
    assert page.count("data:image/jpeg;base64,") == 2 * len(evaluation.worst) == 4
    assert "&lt;dog &amp; é&gt;" in page and "<dog" not in page
    # nothing is fetched from elsewhere
    assert not re.search(r'(src|href)="(?!data:)', page) and "http" not in page.replace(
        "base64", ""
    )

    from pycocotools.coco import COCO

    truth = COCO(str(folder / "ground_truth.json"))
    detections = json.loads((folder / "detections.json").read_text())
    for kind in ("bbox", "segm"):
        assert coco_summary(truth, detections, kind)["AP"] == evaluation[f"{kind}_AP"]


def test_pictures_open_and_leave_no_figure(tmp_path):
    import matplotlib.pyplot as plt
    from PIL import Image

    before = plt.get_fignums()
    quiet(
        Rectangles(OBJECTS, names=[f"class number {i}" for i in range(30)]), recorded(FOUND)
    ).save(tmp_path)
    assert plt.get_fignums() == before
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 100 and len(set(picture.convert("L").tobytes())) > 10


def test_names_that_are_no_plain_text(tmp_path):
    r"""A "$" is no formula to matplotlib, and a file name of other bytes comes out as \udcff."""
    import os

    class Odd(Rectangles):
        def prepare(self):
            super().prepare()
            for info in self.image_info:
                info["path"] = os.fsdecode(b"caf\xe9.png")

    names = ["$\\frac$", "a $ and <b>"]
    evaluation = quiet(Odd(OBJECTS, names=names), recorded(FOUND))
    page = open(evaluation.save(tmp_path), encoding="utf-8").read()
    assert "caf\\udce9.png" in page and "a $ and &lt;b&gt;" in page
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert list(content["per_class"]) == names and content["worst"][0]["name"] == "caf\udce9.png"


def test_colours_of_the_worst_images():
    from mrcnn.evaluation.page import GREEN, ORANGE, RED, SIDE
    from mrcnn.evaluation.report import compare

    evaluation = quiet(Rectangles(OBJECTS), recorded(FOUND))
    scene = evaluation._found.scenes[0]
    pair = compare(
        np.zeros((60, 80, 3), np.uint8), scene, evaluation.settings, ["BG", "cat", "dog"]
    )
    scale = SIDE / 80
    for picture, colours in zip(pair, ((GREEN, ORANGE, RED), (GREEN, ORANGE, None))):
        assert picture.shape == (360, 480, 3)
        for (y, x), colour in zip(((8, 8), (28, 28), (48, 48)), colours):
            pixel = picture[int(y * scale), int(x * scale)]
            expected = np.zeros(3) if colour is None else 0.3 * 255 * np.array(colour)
            np.testing.assert_allclose(pixel, expected, atol=2)


def test_what_is_missed_shows_on_an_image_of_the_same_red():
    from mrcnn.evaluation.page import RED, SIDE
    from mrcnn.evaluation.report import compare

    evaluation = quiet(Rectangles(OBJECTS), recorded(FOUND))
    image = np.full((60, 80, 3), 255 * np.array(RED), np.uint8)
    left, _ = compare(image, evaluation._found.scenes[0], evaluation.settings, ["BG", "cat", "dog"])
    missed, beside = (left[int(y * SIDE / 80), int(48 * SIDE / 80)].astype(int) for y in (48, 58))
    assert np.ptp(beside) == 0 and missed[0] - missed[1:].max() > 50


def test_an_image_that_is_gone_when_the_report_is_written(tmp_path):
    dataset = Rectangles(OBJECTS)
    evaluation = quiet(dataset, recorded(FOUND))

    def gone(image_id):
        raise FileNotFoundError(f"{tmp_path}/{image_id}.png is missing")

    dataset.load_image = gone
    page = open(evaluation.save(tmp_path), encoding="utf-8").read()
    assert page.count("it can no longer be read") == 2 and str(tmp_path) not in page


def test_wrong_input_is_named():
    dataset = Rectangles(OBJECTS)
    for name, value in (("min_score", 1.5), ("iou", -0.1)):
        with pytest.raises(ValueError, match=f"{name} is {value}; it must lie in 0..1"):
            quiet(dataset, recorded(FOUND), **{name: value})
    for name in ("batch_size", "workers"):
        with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
            quiet(dataset, recorded(FOUND), **{name: 0})
    with pytest.raises(ValueError, match=r"image_ids \[5\] are not in the dataset"):
        quiet(dataset, recorded(FOUND), [5])
    with pytest.raises(ValueError, match="image_ids is empty"):
        quiet(dataset, recorded(FOUND), np.zeros(0, int))
    with pytest.raises(
        ValueError,
        match=r"detect returned the class ids \[7\] in 0; the dataset has the ids 1 to 2",
    ):
        quiet(dataset, lambda images: [result([(0, 0, 5, 5)], [7], [0.9])])
    with pytest.raises(ValueError, match="detect returned 0 results for 1 images"):
        quiet(dataset, lambda images: [])


def test_a_report_that_cannot_be_written_shows_at_once(tmp_path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(FileExistsError, match="report"):
        quiet(
            Rectangles(OBJECTS), lambda images: pytest.fail("detected"), report=tmp_path / "report"
        )


def test_an_error_of_the_detector_ends_it_at_once():
    loaded = []

    class Counted(Rectangles):
        def load_image(self, image_id):
            loaded.append(image_id)
            return super().load_image(image_id)

    def broken(images):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        quiet(Counted([[]] * 50), broken)
    assert len(loaded) < 10


def test_masks_of_another_size_than_the_image():
    class Turned(Rectangles):
        def load_image(self, image_id):
            return np.zeros((80, 60, 3), np.uint8)

    with pytest.raises(
        ValueError,
        match=r"load_mask\(0\) returned masks of 60 x 80 px, but the image 0 has 80 x 60",
    ):
        quiet(Turned(OBJECTS), recorded(FOUND))


# === Classes that one of the two lacks ===


class OfCategories(Rectangles):
    """Rectangles of an annotation file that lists some classes only."""

    def __init__(self, images, names, unlabelled):
        super().__init__(images, names)
        self.unlabelled = unlabelled

    def is_labelled(self, class_id):
        return class_id not in self.unlabelled


def with_cars(images):
    """What `perfect` finds, and on each image a car and two buses where nothing is."""
    found = []
    for image in images:
        objects = [*IMAGES[image[0, 0, 0]], (3, (50, 60, 58, 70)), *[(4, (0, 0, 9, 9))] * 2]
        found.append(
            result([box for _, box in objects], [one for one, _ in objects], [0.9] * len(objects))
        )
    return found


def test_detections_of_classes_that_are_not_labelled_are_left_out():
    names = ("cat", "dog", "car", "bus")
    evaluation = evaluate(OfCategories(IMAGES, names, {3, 4}), with_cars, verbose=0)
    assert evaluation["precision"] == evaluation["F1"] == evaluation["segm_AP"] == 1
    assert evaluation["detections"] == 3 and evaluation.confusion[0].sum() == 0
    assert evaluation.left_out["unlabelled_detections"] == {"car": 3, "bus": 6}
    assert (
        "Left out: detections of classes that the annotations do not list: car (3), bus (6)."
        in str(evaluation)
    )
    assert "count as false" not in str(evaluation)


def test_detections_of_classes_without_an_object_are_named():
    names = ("cat", "dog", "car", "bus")
    evaluation = evaluate(OfCategories(IMAGES, names, {4}), with_cars, verbose=0)
    assert evaluation["precision"] == pytest.approx(3 / 6)
    assert (
        "Detections of classes without an object in these images count as false: car (3)."
        in str(evaluation)
    )


def test_objects_of_classes_that_the_network_lacks_are_missed():
    """As pycocotools does it: their AP is 0, and so is their part of the mean."""
    images = [[*IMAGES[0], (3, (50, 60, 58, 70)), (-3, (20, 20, 25, 25))], *IMAGES[1:]]
    dataset = Rectangles(images, ("cat", "dog", "sign", "lamp"))
    evaluation = evaluate(dataset, perfect, verbose=0, settings={"network_classes": 3})
    assert evaluation["objects"] == 4 and evaluation["recall"] == 3 / 4
    assert evaluation["segm_AP"] == pytest.approx(2 / 3)
    assert evaluation.per_class["sign"]["segm_AP"] == 0
    assert (
        "The network lacks 1 classes of the data, whose objects count as missed: sign (1 objects)."
        in str(evaluation)
    )
    known = Rectangles(IMAGES, ("cat", "dog"))
    evaluation = evaluate(known, perfect, verbose=0, settings={"network_classes": 3})
    assert "The network lacks" not in str(evaluation)
