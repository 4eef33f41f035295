"""Dataset.summary and Dataset.check, on data with known numbers and known faults."""

import re
import threading
import time

import numpy as np
import pytest
from PIL import Image

from mrcnn.common.words import naming_options
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.survey.objects import not_learned, require_objects
from tests.tiny import Rectangles, image, tiny_config


class Given(Dataset):
    """Images and masks that are given as arrays or as exceptions to raise."""

    def __init__(self, *samples, classes=("cat", "dog")):
        super().__init__()
        for number, name in enumerate(classes, 1):
            self.add_class("given", number, name)
        for number, (pixels, masks, class_ids) in enumerate(samples):
            self.add_image("given", number, None, pixels=pixels, masks=masks, class_ids=class_ids)
        self.prepare()

    def load_image(self, image_id):
        pixels = self.image_info[image_id]["pixels"]
        if isinstance(pixels, Exception):
            raise pixels
        return pixels

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        if isinstance(info["masks"], Exception):
            raise info["masks"]
        return info["masks"], np.array(info["class_ids"])


def masks(*areas, height=100, width=120):
    """[height, width, N] of so many px each, filled row by row."""
    stacked = np.zeros((height * width, len(areas)), bool)
    for index, area in enumerate(areas):
        stacked[:area, index] = True
    return stacked.reshape(height, width, len(areas))


def fine(seed=0):
    return image(100, 120, seed), masks(10, 2000), [1, 2]


# === Summary ===


def test_summary():
    dataset = Given(
        (image(100, 120), masks(10, 1023, 1024), [1, 1, -2]),
        (image(100, 120, 1), masks(9216), [2]),
        (image(50, 60), np.zeros((50, 60, 0), bool), []),
    )
    summary = dataset.summary(progress=False)
    assert summary.heights.tolist() == [100, 100, 50] and summary.widths.tolist() == [120, 120, 60]
    assert summary.counts.tolist() == [3, 1, 0] and summary.areas.tolist() == [10, 1023, 1024, 9216]
    assert summary.class_ids.tolist() == [1, 1, -2, 2] and summary.image_index.tolist() == [
        0,
        0,
        0,
        1,
    ]
    assert summary.classes() == {"cat": (2, 1, 516.5), "dog": (2, 2, 5120.0)}
    lines = [line.split() for line in str(summary).splitlines()]
    assert ["images", "3", "1", "without", "objects"] in lines
    assert ["objects", "4", "1", "of", "them", "crowds"] in lines
    assert ["small", "objects", "2", "50.0", "%,", "under", "32", "x", "32", "px"] in lines
    assert ["medium", "objects", "1", "25.0", "%,", "between"] in lines
    assert ["dog", "2", "50.0", "%", "2", "5120"] in lines
    assert dataset.summary([1], progress=False).areas.tolist() == [9216]


def test_summary_of_nothing():
    empty = Dataset()
    empty.prepare()
    text = str(empty.summary(progress=False))
    assert "images" in text and "area of an object, px  -" in text
    unused = Given((image(100, 120), masks(10), [1]))
    assert unused.summary(progress=False).classes()["dog"][:2] == (0, 0)
    assert "dog    0        0.0 %    0       -" in str(unused.summary(progress=False))


@pytest.mark.parametrize("method", ["summary", "check"])
def test_before_prepare_and_of_no_image(method):
    empty = Dataset()
    with pytest.raises(ValueError, match=r"Call prepare\(\) on the Dataset first"):
        getattr(empty, method)(progress=False)
    empty.prepare()
    with pytest.raises(ValueError, match="There is no image 3 in Dataset: it has 0 images"):
        getattr(empty, method)([3], progress=False)


def test_names_met_twice():
    summary = Given((image(100, 120), masks(10, 20), [1, 2]), classes=("cat", "cat")).summary(
        progress=False
    )
    assert list(summary.classes()) == ["cat (1)", "cat (2)"]


# === Check ===


def found(report):
    return [(finding.severity, finding.kind) for finding in report.findings]


def test_nothing_to_find(capsys):
    report = Given(fine(), fine(1)).check()
    assert (
        report.ok
        and report.exit_code == 0
        and report.findings == []
        and (report.images, report.objects) == (2, 4)
    )
    assert str(report) == "Checked 2 images with 4 objects: fit for training, nothing found"
    assert "Checking" in capsys.readouterr().err  # the progress bar


def test_generated_images(capsys):
    dataset = Rectangles(3)
    assert dataset.check(progress=False).ok and dataset.summary(progress=False).counts.min() > 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "sample, kind, message",
    [
        ((OSError("truncated"), masks(10), [1]), "image cannot be read", "truncated"),
        ((KeyError("pixels"), masks(10), [1]), "image cannot be read", "KeyError: 'pixels'"),
        ((np.full((100, 120, 3), np.nan), masks(10), [1]), "pixels out of range", "not be NaN"),
        ((np.full((100, 120, 3), 256.0), masks(10), [1]), "pixels out of range", "256"),
        (
            (np.zeros((0, 120, 3), np.uint8), masks(10), [1]),
            "masks or class ids wrong",
            "image is 0 x 120",
        ),
        (
            (image(100, 120).astype(int) - 300, masks(10), [1]),
            "pixels out of range",
            "must lie in 0..65535",
        ),
        (
            (image(100, 120), IndexError("index 720 is out of bounds"), []),
            "masks cannot be drawn",
            "IndexError: index 720",
        ),
        (
            (image(120, 100), masks(10), [1]),
            "masks or class ids wrong",
            "100 x 120 .* image is 120 x 100",
        ),
        (
            (image(100, 120), masks(10), [1, 2]),
            "masks or class ids wrong",
            "1 masks but class ids of shape .2,.",
        ),
        (
            (image(100, 120), masks(10), [3]),
            "masks or class ids wrong",
            "class id 3 is out of range",
        ),
        (
            (image(100, 120), masks(10), [0]),
            "masks or class ids wrong",
            "class id 0 is out of range",
        ),
        ((image(100, 120), masks(10)[..., 0], [1]), "masks or class ids wrong", "shape .100, 120."),
        (
            (image(100, 120), np.where(masks(10), np.nan, 0.0), [1]),
            "masks or class ids wrong",
            "not finite",
        ),
    ],
)
def test_errors(sample, kind, message):
    report = Given(fine(5), sample).check(progress=False)
    assert not report.ok and report.exit_code == 1 and found(report) == [("error", kind)]
    (finding,) = report.errors
    assert finding.place.startswith("image 1 (source 'given', id 1")
    assert re.search(message, finding.message)
    assert (
        str(report).splitlines()[-1]
        == f"Checked 2 images with {report.objects} objects: not fit for training, 1 error"
    )


@pytest.mark.parametrize(
    "sample, kind, message",
    [
        ((image(100, 120, 9), np.zeros((100, 120, 0), bool), []), "image without objects", ""),
        (
            ((np.arange(12000) % 4096).astype(np.uint16).reshape(100, 120), masks(10), [1]),
            "image nearly black",
            "its largest value is 16 of 255; 10 and 12-bit images must be scaled when they are "
            "saved as 16-bit, or read with their range, such as image_range = (0, 4095)",
        ),
        # Dataset.load_mask's own
        (
            (image(100, 120, 9), np.zeros((0, 0, 0)), []),
            "image without objects",
            "",
        ),
        ((image(100, 120, 9), masks(10, 0), [1, 2]), "object without a pixel", "object 1"),
        (
            (image(100, 120, 9), masks(10, 20, 10), [1, 2, 1]),
            "object there twice",
            "objects 0 and 2 are the same",
        ),
        (
            (image(100, 120, 0), masks(10), [1]),
            "image there twice",
            "the same pixels as image 0 (source 'given', id 0",
        ),
    ],
)
def test_warnings(sample, kind, message):
    report = Given(fine(), sample).check(progress=False)
    assert report.ok and report.exit_code == 0 and found(report) == [("warning", kind)]
    assert report.findings[0].message.startswith(message) and "id 1," in report.findings[0].place
    assert kind in str(report) and "fit for training" in str(report)


def test_alike_but_not_the_same():
    """The same pixels in two classes, and the same box and area of other pixels."""
    one, other = np.zeros((100, 120), bool), np.zeros((100, 120), bool)
    one[10:13, 10:13] = other[10:13, 10:13] = True
    one[11, 10], other[11, 12] = False, False
    report = Given((image(100, 120), np.stack([one, one, other], axis=-1), [1, 2, 2])).check(
        progress=False
    )
    assert report.findings == []


def test_classes_without_objects():
    report = Given((image(100, 120), masks(10), [1])).check(progress=False)
    assert report.ok and report.findings == [
        ("warning", "class without objects", "class 2 ('dog')", "")
    ]


def test_class_names_that_look_alike():
    sample = image(100, 120), masks(10, 20, 30, 40), [1, 2, 3, 4]
    report = Given(sample, classes=("cat", "dog", "Cat", "cat ")).check(progress=False)
    assert report.ok and len(report.findings) == 1
    severity, kind, place, message = report.findings[0]
    assert (severity, kind) == ("warning", "class names differ in case or spaces only")
    assert place == "'cat', 'Cat', 'cat '" and "spell it alike in all annotations" in message


def test_ids_there_twice():
    dataset = Given(fine(), fine(1))
    dataset.image_info[1]["id"] = 0
    report = dataset.check(progress=False)
    assert found(report) == [("error", "image id there twice")] and "image 0 has the same" in str(
        report
    )


def test_examples_of_many_findings():
    """A line a kind: the first whole, two more places, and how many others there are."""
    dataset = Given(
        *[(OSError(f"number {number}"), masks(10, 20), [1, 2]) for number in range(5)],
        (image(100, 120, 1), masks(10, 10), [1, 1]),
        (image(100, 120, 2), masks(10, 20, 20, 20), [1, 2, 2, 2]),
        (image(100, 120, 3), masks(0), [1]),
    )
    for number in range(6):
        dataset.image_info[number]["path"] = f"photos/{number}.jpg"
    report = dataset.check(progress=False)
    assert str(report).splitlines()[1:] == [
        "error    image cannot be read      5      photos/0.jpg: number 0; also photos/1.jpg, "
        "photos/2.jpg and 2 more",
        "warning  all masks are rectangles  1      16 of them: a network learns boxes from boxes, "
        "not outlines",
        "warning  object there twice        3      photos/5.jpg: objects 0 and 1 are the same; "
        "also image 6 (source 'given', id 6, path None)",
        "warning  object without a pixel    1      image 7 (source 'given', id 7, path None): "
        "object 0",
        "Checked 8 images with 17 objects: not fit for training, 5 errors",
    ]
    assert [one["message"] for one in report.to_dict()["findings"]][:5] == [
        f"number {number}" for number in range(5)
    ]


class Late(Given):
    """Images of which the first take longest, and each waits for another thread."""

    def load_image(self, image_id):
        time.sleep(0.02 / (1 + image_id))
        return super().load_image(image_id)

    def mask_doubts(self, image_id):
        if image_id == 7:
            raise KeyError("edges")
        return [("soft", f"image {image_id}")] if image_id % 2 else []


def test_findings_do_not_depend_on_the_number_of_workers():
    samples = [
        (image(100, 120, number % 5), masks(10, 20 * (number % 3)), [1, 2]) for number in range(12)
    ]
    samples[3] = OSError("torn"), ValueError("no outline"), []
    samples[8] = image(100, 120, 1), masks(10), [3]
    one = Late(*samples).check(progress=False)
    assert one == Late(*samples).check(progress=False, workers=5)
    twice = [finding for finding in one.findings if finding.kind == "image there twice"]
    assert [finding.place[:8] for finding in twice][:2] == ["image 5 ", "image 6 "]
    assert "the same pixels as image 0 (" in twice[0].message
    (broken,) = [finding for finding in one.errors if "edges" in finding.message]
    assert broken.place.startswith("image 7 ") and broken.message == "KeyError: 'edges'"
    summaries = [Late(*samples).summary(progress=False, workers=workers) for workers in (1, 5)]
    assert str(summaries[0]) == str(summaries[1]) and "Not counted: 1 images" in str(summaries[0])


@pytest.mark.parametrize("method", ["summary", "check"])
def test_several_images_at_once(method):
    meeting = threading.Barrier(3, timeout=10)  # breaks unless three come at one time

    class Meeting(Given):
        def load_mask(self, image_id):
            meeting.wait()
            return super().load_mask(image_id)

    dataset = Meeting(*[fine(number) for number in range(6)])
    found = getattr(dataset, method)(progress=False, workers=3)
    assert (found.findings if method == "check" else found.unread) == []
    with pytest.raises(ValueError, match="workers is 0; it must be at least 1"):
        getattr(dataset, method)(progress=False, workers=0)
    for workers in ("2", None, 2.5):
        with pytest.raises(TypeError, match=f"workers is {workers!r}; it must be an int"):
            getattr(dataset, method)(progress=False, workers=workers)


def test_what_is_forgotten_or_of_another_type():
    """What training refuses, check and summary name by its image, and go on."""

    class Forgetful(Given):
        def load_mask(self, image_id):
            info = self.image_info[image_id]
            if isinstance(info["masks"], Exception):
                raise info["masks"]
            return info["masks"] and (info["masks"][0], info["class_ids"])

    one = masks(10)
    dataset = Forgetful(
        (None, [one], [1]),
        (image(100, 120, 1), None, [1]),
        (image(100, 120, 2), [one], ["1"]),
        (image(100, 120, 3), [one], [[1]]),
        (image(100, 120, 4), KeyError("outline"), [1]),
        (np.zeros((100, 120, 3), "datetime64[s]"), [one], [1]),
        (image(100, 120, 6), [one.tolist()], [1]),
        ([[1, 2], [3]], [one], [1]),
    )
    errors = dataset.check(progress=False).errors
    assert [(int(error.place[6]), error.kind) for error in errors] == [
        (0, "image cannot be read"),
        (1, "masks cannot be drawn"),
        (2, "masks or class ids wrong"),
        (3, "masks or class ids wrong"),
        (4, "masks cannot be drawn"),
        (5, "pixels out of range"),
        (7, "image cannot be read"),
    ]
    assert errors[0].message == "load_image must return an array, got None"
    assert errors[1].message == "load_mask must return (masks, class_ids), got NoneType"
    assert errors[5].message.endswith("numbers or bool, got dtype datetime64[s]")
    summary = dataset.summary(progress=False)
    assert [int(text[6]) for text in summary.unread] == [1, 2, 3, 4]
    assert summary.unread[0].endswith("got NoneType") and summary.unread[3].endswith(
        "KeyError: 'outline'"
    )
    assert summary.areas.tolist() == [10] * 4


def test_an_image_that_is_chosen_twice_is_checked_once():
    report = Given(fine(), fine(1)).check([1, 1, 0, 1], progress=False)
    assert report.findings == [] and (report.images, report.objects) == (2, 4)


def test_faults_of_files_are_found(tmp_path):
    """What a reader left out, a file that is no image, and an image of another size than
    annotated.
    """
    Image.fromarray(image(40, 60)).save(tmp_path / "a.png")
    Image.fromarray(image(40, 60, 1)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    square = [[5, 5, 20, 5, 20, 20, 5, 20]]
    outlines = [square, square, square, [[1, 1, 2, 2]]]
    dataset = CocoJson()
    dataset.load_coco_json(
        {
            "images": [
                {"id": number, "file_name": f"{name}.png", "height": 40, "width": width}
                for number, (name, width) in enumerate([("a", 60), ("b", 61), ("c", 60)])
            ],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                {
                    "id": number,
                    "image_id": number % 3,
                    "category_id": 1,
                    "segmentation": segmentation,
                }
                for number, segmentation in enumerate(outlines)
            ],
        },
        str(tmp_path),
    )
    dataset.prepare()
    report = dataset.check(progress=False)
    assert sorted(found(report)) == [
        ("error", "image cannot be read"),
        ("error", "image cannot be read"),
        ("warning", "left out: annotations with fewer than three points"),
    ]
    assert "b.png is 60 x 40 px" in report.errors[0].message and "c.png" in report.errors[1].message
    assert "Left out while loading: annotations with fewer" in str(dataset.summary(progress=False))


# === Nothing to learn, crowds, and more than the limit ===


def of_coco(folder, annotations, **options):
    """A prepared CocoJson of one image of 40 x 60 px."""
    Image.fromarray(image(40, 60)).save(folder / "a.png")
    dataset = CocoJson()
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, **record}
            for number, record in enumerate(annotations)
        ],
    }
    dataset.load_coco_json(data, str(folder), **options)
    dataset.prepare()
    return dataset


SQUARE = {"segmentation": [[5, 5, 20, 5, 20, 20, 5, 20]]}
OTHER = {"segmentation": [[25, 5, 40, 5, 40, 20, 25, 20]]}
BOX = {"segmentation": [], "bbox": [25, 5, 15, 15]}


@pytest.mark.parametrize(
    "annotations, options, message",
    [
        ([], {}, "none of the 1 images of CocoJson has an object of cat, dog"),
        ([BOX, BOX], {}, "a box is no mask; boxes_as_masks=True takes it for one"),
        (
            [{**SQUARE, "iscrowd": 1}] * 2,
            {},
            r"all 2 objects are crowds \(iscrowd 1\).* crowds=\"objects\" takes",
        ),
        ([SQUARE], {"class_ids": ["dog"], "keep_empty": True}, "has an object of dog"),
        ([SQUARE], {"class_ids": ["dog"]}, "CocoJson has no images"),
    ],
    ids=["no annotations", "boxes", "crowds", "other classes", "no images"],
)
def test_nothing_to_learn(tmp_path, annotations, options, message):
    dataset = of_coco(tmp_path, annotations, **options)
    report = dataset.check(progress=False)
    (finding,) = [one for one in report.findings if one.kind == "nothing to learn"]
    assert report.exit_code == 1 and finding.severity == "error"
    assert re.search(message, finding.message) and "not fit for training" in str(report)
    with pytest.raises(ValueError, match=f"there is nothing to learn: .*{message}"):
        require_objects(dataset)
    with pytest.raises(ValueError, match="there is nothing to find: "):
        require_objects(dataset, dataset.image_ids, "find")


def test_nothing_but_objects_without_a_pixel():
    dataset = Given((image(100, 120), masks(0), [1]), (image(100, 120, 1), masks(40), [-1]))
    assert ("error", "nothing to learn") in found(dataset.check(progress=False))
    with pytest.raises(ValueError, match="there is nothing to learn"):
        require_objects(dataset)


def test_something_to_learn(tmp_path):
    require_objects(of_coco(tmp_path, [{**SQUARE, "iscrowd": 1}, OTHER]))
    require_objects(of_coco(tmp_path, [BOX], boxes_as_masks=True))
    require_objects(of_coco(tmp_path, [BOX, OTHER], boxes_as_masks=True))
    require_objects(of_coco(tmp_path, [{**SQUARE, "iscrowd": 1}], crowds="objects"))
    require_objects(Given((image(100, 120), masks(5), [-1]), fine()))


def test_images_that_cannot_be_read_are_no_images_without_objects():
    dataset = Given((image(100, 120), OSError("torn"), [1]))
    assert found(dataset.check(progress=False))[0] == ("error", "masks cannot be drawn")
    assert ("error", "nothing to learn") not in found(dataset.check(progress=False))
    require_objects(dataset)  # training says what is wrong with it


def test_boxes_among_masks_are_an_error(tmp_path):
    """They would be learned as background."""
    report = of_coco(tmp_path, [SQUARE, BOX]).check(progress=False)
    assert [finding.kind for finding in report.errors] == [
        "left out: annotations without a segmentation (a box is no mask; boxes_as_masks=True takes "
        "it for one)"
    ]
    with pytest.raises(ValueError, match="^1 annotations without a segmentation .*background: "):
        require_objects(of_coco(tmp_path, [SQUARE, BOX]))
    report = of_coco(tmp_path, [SQUARE, BOX], boxes_as_masks=True).check(progress=False)
    assert report.ok and report.objects == 2


def test_crowds_are_named(tmp_path):
    annotations = [{**SQUARE, "iscrowd": 1}, OTHER, {**BOX, **SQUARE, "iscrowd": 1}]
    dataset = of_coco(tmp_path, annotations)
    report = dataset.check(progress=False)
    crowds = [finding for finding in report.findings if finding.kind.startswith("crowd")]
    assert report.ok and len(crowds) == 2
    assert crowds[0].message == 'object 0 (iscrowd 1); crowds="objects" takes them for objects'
    (said,) = not_learned(dataset, tiny_config())
    assert said.startswith("2 crowds (iscrowd 1) on 1 images are neither objects nor background")
    with naming_options():
        (said,) = not_learned(dataset, tiny_config())
    assert said.endswith("; --crowds objects takes them for objects")
    own = Given((image(100, 120), masks(40, 50), [1, -1])).check(progress=False)
    (crowd,) = [one for one in own.findings if one.kind.startswith("crowd")]
    assert crowd.message == "object 1 (a negative class id)"
    dataset = of_coco(tmp_path, annotations, crowds="objects")
    assert not_learned(dataset, tiny_config()) == []
    assert not any("crowd" in finding.kind for finding in dataset.check(progress=False).findings)


def test_more_objects_than_training_takes(tmp_path):
    dataset = Given(
        (image(100, 120), masks(*range(1, 101)), [1] * 100),
        (image(100, 120, 1), masks(*range(1, 102)), [2] * 101),
        (image(100, 120, 2), masks(*range(1, 138)), [1] * 136 + [-2]),
    )
    report = dataset.check(progress=False)
    many = [finding for finding in report.findings if finding.kind == "more than 100 objects"]
    assert report.ok and len(many) == 2
    assert many[0].place.startswith("image 2 ") and many[0].message.startswith("137 objects, ")
    assert "MAX_GT_INSTANCES and DETECTION_MAX_INSTANCES are raised" in str(report)
    assert not_learned(dataset, tiny_config()) == []  # known only once masks are loaded

    annotations = [{"segmentation": [[x, 2, x + 1, 2, x + 1, 9, x, 9]]} for x in range(7)]
    dataset = of_coco(tmp_path, annotations)
    assert not_learned(dataset, tiny_config(MAX_GT_INSTANCES=7)) == []
    (said,) = not_learned(dataset, tiny_config(MAX_GT_INSTANCES=5))
    assert said.startswith("1 images have more than MAX_GT_INSTANCES = 5 objects, up to 7: ")


@pytest.mark.parametrize(
    "kind, expected", [("rectangles", True), ("one is none", False), ("few", False)]
)
def test_boxes_drawn_as_masks(tmp_path, kind, expected):
    annotations = [
        {"segmentation": [[x, y, x + 3, y, x + 3, y + 9, x, y + 9]]}
        for x in range(1, 50, 5)
        for y in (2, 20)
    ]
    if kind == "one is none":
        annotations[3] = {"segmentation": [[40, 30, 55, 30, 50, 39]]}
    dataset = of_coco(tmp_path, annotations[:9] if kind == "few" else annotations)
    report = dataset.check(progress=False)
    assert report.ok
    assert (("warning", "all masks are rectangles") in found(report)) == expected


def test_a_class_of_crowds_alone_has_no_objects(tmp_path):
    annotations = [SQUARE, {**OTHER, "category_id": 2, "iscrowd": 1}]
    report = of_coco(tmp_path, annotations).check(progress=False)
    assert ("warning", "class without objects", "class 2 ('dog')", "") in report.findings
