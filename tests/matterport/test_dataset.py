"""Outlines that leave the image are cut at its edge, in whatever load_mask a user of
``utils.Dataset`` wrote.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.draw

from mrcnn.config import Config
from mrcnn.data.load import load_image_gt
from mrcnn.utils import Dataset

HEIGHT, WIDTH = 40, 50


class Outlines(Dataset):
    """As scripts for annotation tools do it: pixels of polygons set in an array of the image's
    size.
    """

    def __init__(self, *images, **info):
        super().__init__()
        self.add_class("drawn", 1, "thing")
        for number, outlines in enumerate(images):
            self.add_image(
                "drawn",
                f"photo{number}",
                path=None,
                outlines=outlines,
                **{"height": HEIGHT, "width": WIDTH, **info},
            )
        self.prepare()

    def load_image(self, image_id):
        return np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask = np.zeros((info["height"], info["width"], len(info["outlines"])), np.uint8)
        for index, (y, x) in enumerate(info["outlines"]):
            rows, columns = skimage.draw.polygon(y, x)
            mask[rows, columns, index] = 1
        return mask.astype(bool), np.ones(mask.shape[2], np.int32)


def box(y1, x1, y2, x2):
    return [y1, y1, y2, y2], [x1, x2, x2, x1]


def drawn(outline):
    """The pixels that lie in the image, by skimage's own clipping."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[skimage.draw.polygon(*outline, shape=mask.shape)] = True
    return mask


INSIDE = box(3, 4, 20, 30)


@pytest.mark.parametrize(
    "outline",
    [
        box(5, 10, 20, WIDTH),
        box(5, 10, HEIGHT, 30),
        box(5, 10, HEIGHT, WIDTH),
        box(0, 0, HEIGHT, WIDTH),
        ([10, 25, 45], [30, 70, 20]),
        box(5, 5, 900, 30),
    ],
)
def test_cut_at_the_edge(outline):
    data = Outlines([INSIDE, outline])
    with pytest.warns(
        UserWarning, match=r"Image drawn\.photo0: an outline leaves the image of 40 x 50 pixels"
    ):
        mask, class_ids = data.load_mask(0)
    assert mask.shape == (HEIGHT, WIDTH, 2) and mask.dtype == bool and class_ids.tolist() == [1, 1]
    np.testing.assert_array_equal(mask[..., 0], drawn(INSIDE))
    np.testing.assert_array_equal(mask[..., 1], drawn(outline))
    assert mask[..., 1].any()
    assert data.image_info[0]["height"] == HEIGHT and data.image_info[0]["width"] == WIDTH


def test_inside_is_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask, _ = Outlines([INSIDE, box(0, 0, HEIGHT - 1, WIDTH - 1)]).load_mask(0)
    assert mask[..., 1].all()
    np.testing.assert_array_equal(mask[..., 0], drawn(INSIDE))


def test_wholly_outside_is_an_object_without_pixels():
    """load_image_gt drops it, as every object that is not seen."""

    class Small(Config):
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
        NUM_CLASSES = 2

    data = Outlines([box(60, 60, 70, 70), box(5, 10, 20, WIDTH)])
    with pytest.warns(UserWarning, match="cut at its edge"):
        _, _, class_ids, boxes, _ = load_image_gt(data, Small(), 0)
    assert class_ids.tolist() == [1] and boxes[0, 3] == 64


def test_told_once_for_each_image():
    data = Outlines([box(5, 10, 20, WIDTH)], [INSIDE], [box(5, 10, HEIGHT, 20)])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            for image_id in data.image_ids:
                data.load_mask(image_id)
    assert [str(warning.message).split(":")[0] for warning in told] == [
        "Image drawn.photo0",
        "Image drawn.photo2",
    ]


@pytest.mark.filterwarnings("ignore:.*cut at its edge")
def test_threads():
    """The image's info, which others read, is not touched meanwhile."""
    data = Outlines([box(5, 10, 20, WIDTH)])

    def one(_):
        return data.load_mask(0)[0].shape, data.image_info[0]["width"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(200))) == {((HEIGHT, WIDTH, 1), WIDTH)}


@pytest.mark.parametrize("info", [{"height": None}, {"width": "50"}])
def test_without_a_size_the_error_stays(info):
    class Sized(Outlines):
        def load_mask(self, image_id):
            return np.zeros((HEIGHT, WIDTH, 1))[:, 70], [1]

    with pytest.raises(IndexError, match="70"):
        Sized([INSIDE], **info).load_mask(0)


def test_other_index_errors_stay():
    class Wrong(Outlines):
        def load_mask(self, image_id):
            return self.image_info[image_id]["outlines"][7], None

    with pytest.raises(IndexError, match="list index out of range"):
        Wrong([INSIDE]).load_mask(0)
    with pytest.raises(IndexError):
        Outlines([INSIDE]).load_mask(3)


def test_masks_of_another_size_are_not_cut():
    """Only what is as large as asked for is known to have been drawn on the larger image."""

    class Fixed(Outlines):
        def load_mask(self, image_id):
            if self.image_info[image_id]["width"] == WIDTH:
                raise IndexError("index 50 is out of bounds")
            return np.zeros((HEIGHT, WIDTH, 1)), np.ones(1, np.int32)

    with pytest.raises(IndexError, match="index 50"):
        Fixed([INSIDE]).load_mask(0)


def test_a_subclass_that_asks_its_parent():
    class Child(Outlines):
        def load_mask(self, image_id):
            return super(self.__class__, self).load_mask(image_id)

    with pytest.warns(UserWarning, match="cut at its edge"):
        mask, _ = Child([box(5, 10, 20, WIDTH)]).load_mask(0)
    np.testing.assert_array_equal(mask[..., 0], drawn(box(5, 10, 20, WIDTH)))
    assert Child.load_mask.__name__ == "load_mask"
