"""evaluate_labels: label maps whose every number is known, and the files of the report."""

import json
import re

import numpy as np
import pytest

from mrcnn.evaluation import LabelEvaluation, evaluate_labels
from mrcnn.evaluation.confusion import ConfusionMatrix
from mrcnn.evaluation.label_report import draw_mistakes
from mrcnn.evaluation.label_tally import LABEL_METRICS
from mrcnn.evaluation.page import BLUE, ORANGE, RED
from mrcnn.evaluation.trimap import trimap_matrix

NAMES = ["background", "cat", "<dog & é>", "cow", "hen"]


def toys(count=6, height=40, width=60):
    """(truth, found) of two rectangles, found a little to the right, one as another class."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        truth = np.zeros((height, width), np.uint8)
        for label in (1, 2):
            y, x = rng.integers(0, height - 15), rng.integers(0, width - 25)
            truth[y : y + 12, x : x + 20] = label
        found = np.roll(truth, number, 1)
        found[found == 2] = (2, 3)[number % 2]
        truth[:4] = 255
        pairs.append((truth, found))
    return pairs


def quiet(pairs, classes=NAMES, **options):
    return evaluate_labels(pairs, classes, **{"verbose": 0, **options})


def test_numbers_are_those_of_the_matrix_of_all_pixels(capsys):
    pairs = toys()
    evaluation = quiet(iter(pairs))
    assert capsys.readouterr() == ("", "")
    truth, found = (np.stack(maps) for maps in zip(*pairs))
    total = ConfusionMatrix(5)
    total.add(truth, found)
    near = sum((trimap_matrix(*pair, 5) for pair in pairs), start=ConfusionMatrix(5))
    np.testing.assert_array_equal(evaluation.confusion, total.matrix)
    expected = {
        "mIoU": total.mean_iou,
        "foreground_mIoU": total.foreground_mean_iou,
        "Dice": np.nanmean(total.dice),
        "pixel_accuracy": total.pixel_accuracy,
        "mean_accuracy": total.mean_accuracy,
        "frequency_weighted_IoU": total.frequency_weighted_iou,
        "trimap_IoU": near.mean_iou,
        "images": 6,
        "pixels": np.count_nonzero(truth != 255),
        "IoU of cat": total.iou[1],
        "IoU of cow": 0,
        "IoU of hen": np.nan,
    }
    for name, value in expected.items():
        assert evaluation[name] == pytest.approx(value, nan_ok=True), name
    assert evaluation["trimap_IoU"] < evaluation["mIoU"] < 1
    for label, row in enumerate(evaluation.per_class.values()):
        columns = {
            "class_id": label,
            "IoU": total.iou[label],
            "Dice": total.dice[label],
            "accuracy": total.class_accuracy[label],
            "precision": total.precision[label],
            "trimap_IoU": near.iou[label],
            "true_pixels": np.count_nonzero(truth == label),
            "found_pixels": np.count_nonzero((found == label) & (truth != 255)),
            "true_share": np.count_nonzero(truth == label) / np.count_nonzero(truth != 255),
        }
        for name, value in columns.items():
            assert row[name] == pytest.approx(value, nan_ok=True), name
    assert sum(row["found_share"] for row in evaluation.per_class.values()) == pytest.approx(1)


def test_per_image_iou_by_hand():
    def one(truth, found):
        return np.array([truth]), np.array([found])

    pairs = [one([0, 0, 1, 1], [0, 0, 1, 0]), one([0, 0, 0, 0], [0, 0, 1, 0])]
    evaluation = quiet(pairs, ["background", "cat"])
    rows = evaluation.per_class
    assert rows["background"]["per_image_IoU"] == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert rows["cat"]["per_image_IoU"] == 0.5 and rows["cat"]["images"] == 1
    assert evaluation["per_image_IoU"] == pytest.approx(((2 / 3 + 3 / 4) / 2 + 0.5) / 2)
    assert evaluation["IoU of cat"] == pytest.approx(1 / 3)


def test_worst_images():
    truth = np.zeros((10, 10), np.uint8)
    truth[:, 5:] = 1
    pairs = []
    for wrong in (0, 30, 10, 50, 20):
        found = truth.copy()
        found.reshape(-1)[:wrong] ^= 1
        pairs.append((truth, found))
    evaluation = quiet(pairs, ["background", "cat"], worst=3, names=list("abcde"))
    assert [row["name"] for row in evaluation.worst] == ["d", "b", "e"]
    first = evaluation.worst[0]
    assert (first["image"], first["wrong_pixels"], first["pixel_accuracy"]) == (3, 50, 0.5)
    assert first["mIoU"] == pytest.approx(1 / 3)
    assert sorted(evaluation._shown) == sorted(row["image"] for row in evaluation.worst)
    assert [row["name"] for row in quiet(pairs, ["b", "c"]).worst] == ["4", "2", "5", "3"]
    assert quiet(pairs, ["b", "c"], worst=0).worst == []


def test_the_maps_of_the_worst_images_are_kept_from_changes():
    truth, found = np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)

    def reused():
        for _ in range(2):
            yield truth, found
            found[:] = 0

    shown = quiet(reused(), ["background", "cat"])._shown
    assert list(shown) == [0] and (shown[0].found == 1).all()


def test_a_mapping_a_table_and_sentences(capsys):
    pairs = [*toys(), (np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8))]
    pairs[1][1][20, 20:24] = 255
    evaluation = evaluate_labels(
        pairs, NAMES, names=[f"some/folder/{i}.png" for i in range(7)], settings={"network": "toy"}
    )
    assert isinstance(evaluation, LabelEvaluation) and evaluation.settings["network"] == "toy"
    assert dict(evaluation)["mIoU"] == evaluation["mIoU"] and "IoU of hen" in evaluation
    assert len(evaluation) == len(list(evaluation)) == len(LABEL_METRICS) + 3 + len(NAMES)
    streams = capsys.readouterr()
    assert streams.out == f"{evaluation}\n" and "Comparing" in streams.err
    assert repr(evaluation) == f"<LabelEvaluation of 6 images, mIoU {evaluation['mIoU']:.3f}>"
    lines = str(evaluation).splitlines()
    assert [line.split()[0] for line in lines[:8]] == list(LABEL_METRICS)
    table = lines[9:16]
    assert table[0].split() == "class IoU Dice accuracy precision true found".split()
    assert table[2].split()[1] == f"{evaluation['IoU of cat']:.3f}"
    assert table[5].split() == ["hen", "-", "-", "-", "-", "0.00", "%", "0.00", "%"]
    assert table[6].split()[:2] == ["mean", f"{evaluation['mIoU']:.3f}"]
    assert len({len(line) for line in table[:6]}) == 1
    said = "\n".join(evaluation.sentences())
    for part in (
        "4 of 5 classes, with the background",
        "of the pixels within 3 px of another class",
        "pixels that are void in the truth",
        "Left out: 1 images that are all void: 6.png.",
        "4 labelled pixels were found void (0.03 %): they count as wrong.",
        "1 classes are in neither truth nor prediction and have no IoU: hen.",
        "1 classes were found and are not in the truth; their IoU is 0: cow (",
    ):
        assert part in said
    assert evaluation.left_out["found_void"] == 4


def test_no_trimap_and_no_border():
    flat = [(np.zeros((5, 5), int), np.zeros((5, 5), int))]
    for options, said in (({"trimap": None}, None), ({}, "trimap_IoU cannot be measured")):
        evaluation = quiet(flat, ["background", "cat"], **options)
        assert np.isnan(evaluation["trimap_IoU"]) and evaluation["mIoU"] == 1
        assert (said or "trimap") in "\n".join(evaluation.sentences()) or said is None
    assert quiet(toys(), trimap=1)["trimap_IoU"] < quiet(toys(), trimap=9)["trimap_IoU"]


def test_equal_names_are_told_apart():
    evaluation = quiet(toys(), ["background", "cat", "fish", "fish", "hen"])
    assert evaluation.class_names == ["background", "cat", "fish (2)", "fish (3)", "hen"]
    assert evaluation["IoU of fish (3)"] == 0


def test_files(tmp_path):
    folder = tmp_path / "new" / "report"
    images = [np.full((40, 60, 3), 40 * number, np.uint8) for number in range(6)]
    names = [tmp_path / f"street {number}.png" for number in range(6)]
    evaluation = quiet(toys(), images=images, names=names, report=folder, worst=4)
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        "labels.json",
        "shares.png",
        "confusion.png",
    }
    told = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(evaluation.to_dict()))
    assert "NaN" not in evaluation.to_json() and told["metrics"]["IoU of hen"] is None
    assert told["confusion"]["rows_true_columns_found"] == evaluation.confusion.tolist()

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page and "street 5.png" in page
    assert page.count("data:image/png;base64,") == 2 + 2 * 4  # plots; truth and found
    assert page.count("data:image/jpeg;base64,") == 2 * 4  # photo and mistakes
    assert "&lt;dog &amp; é&gt;" in page and "<dog" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page.replace("base64", "")


def test_pictures_open_and_leave_no_figure(tmp_path):
    import matplotlib.pyplot as plt
    from PIL import Image

    before = plt.get_fignums()
    rng = np.random.default_rng(0)
    many = np.kron(rng.integers(0, 150, (20, 30)), np.ones((8, 8), int)).astype(np.uint8)
    quiet([(many, np.roll(many, 3, 1))], [f"class {i}" for i in range(150)]).save(tmp_path)
    assert plt.get_fignums() == before
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 100 and len(set(picture.convert("L").tobytes())) > 10
    page = (tmp_path / "report.html").read_text()
    assert "The 60 classes with most pixels" in page and " and " in page


def test_without_images_there_are_maps_alone(tmp_path):
    evaluation = quiet(toys(2))
    page = open(evaluation.save(tmp_path), encoding="utf-8").read()
    assert (
        "image/jpeg" not in page
        and page.count("data:image/png;base64,") == 2 + 3 * len(evaluation.worst) == 5
    )


def test_only_images_of_the_worst_are_loaded_and_what_is_wrong_with_them_is_told(tmp_path):
    asked = []

    def load(number):
        asked.append(number)
        if number == 5:
            raise FileNotFoundError(f"{tmp_path}/5.png is missing")
        return np.zeros((20, 30) if number == 4 else (40, 60), np.uint8)

    evaluation = quiet(toys(), images=load, worst=5)
    assert not asked
    page = open(evaluation.save(tmp_path), encoding="utf-8").read()
    assert sorted(asked) == sorted(row["image"] for row in evaluation.worst)
    assert {4, 5} <= set(asked)
    assert "its image cannot be read" in page and str(tmp_path) not in page
    assert "its image is 20 x 30 px, its label map 40 x 60" in page


def test_all_right(tmp_path):
    truth = toys(1)[0][0]
    page = open(quiet([(truth, truth)]).save(tmp_path), encoding="utf-8").read()
    assert "No image with a mistake" in page and "No pixel was found as another class" in page


def test_large_maps_are_kept_small():
    truth = np.zeros((1000, 2000), np.uint8)
    shown = quiet([(truth, truth + 1)], ["background", "cat"])._shown[0]
    assert shown.truth.shape == shown.found.shape == (240, 480) and shown.size == (1000, 2000)


def test_colours_of_mistakes():
    truth = np.array([[0, 0, 1, 1, 1, 1, 255]])
    found = np.array([[0, 2, 1, 2, 0, 255, 1]])
    colors = [np.rint(255 * np.array(color)) for color in (BLUE, ORANGE, RED, RED)]
    for photo in (None, np.full((1, 7, 3), (200, 0, 0), np.uint8)):
        picture = draw_mistakes(truth, found, photo=photo)
        for place, color in zip((1, 3, 4, 5), colors):
            np.testing.assert_array_equal(picture[0, place], color)
        for place in (0, 2, 6):
            assert len(set(picture[0, place])) == 1  # grey
    assert draw_mistakes(truth, found)[0, 0, 0] > draw_mistakes(truth, found)[0, 2, 0]


def test_wrong_input_is_named(tmp_path):
    truth = np.zeros((4, 4), np.uint8)
    for pairs, options, said in (
        ([], {}, "no pixel has a label"),
        ([(truth + 255, truth)], {}, r"all void \(255\)"),
        ([(truth, truth), (truth, truth + 7)], {}, r"label maps 2 \(2\): .* the label 7; labels"),
        ([(truth + 9, truth)], {"names": ["a/x.png"]}, r"label maps 1 \(x.png\): .* the label 9;"),
        ([(truth, truth[:2])], {}, r"label maps 1 \(1\): .* they must be equal"),
        ([(truth[0], truth[0])], {}, r"shape \(4,\); it must be \[h, w\]"),
        ([(truth, truth)], {"names": ["a", "b"]}, "2 names for 1 pairs of label maps"),
        ([(truth, truth)] * 2, {"names": ["a"]}, "1 names for more pairs"),
        ([(truth, truth)], {"trimap": 0}, "distance of a trimap is 0 px"),
        ([(truth, truth)], {"void": 2}, "void is 2, which is a class"),
    ):
        with pytest.raises(ValueError, match=said):
            quiet(pairs, **options)
    (tmp_path / "report").write_text("a file")
    with pytest.raises(FileExistsError, match="report"):
        quiet(
            (pytest.fail("compared") for _ in range(1)),
            report=tmp_path / "report",
        )
