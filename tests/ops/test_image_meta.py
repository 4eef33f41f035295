"""The image meta vector: the original's numbers, packing and unpacking."""

import numpy as np
import pytest

from mrcnn.ops.image_meta import compose_image_meta, parse_image_meta
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "utils_resize.npz")


def test_meta_is_the_originals():
    meta = compose_image_meta(
        7, (375, 500, 3), (1024, 1024, 3), (0, 128, 1024, 896), 2.048, np.arange(81) % 2
    )
    assert meta.dtype == np.float64
    np.testing.assert_array_equal(meta, PARITY["meta"])


def test_integers_stay_float64():
    # int64 would cut off the scale of the next image of the batch.
    meta = compose_image_meta(0, (64, 64, 3), (64, 64, 3), (0, 0, 64, 64), 1, np.zeros(3, np.int32))
    assert meta.dtype == np.float64
    np.testing.assert_array_equal(meta, [0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 0, 0, 0])


@pytest.mark.parametrize("count, classes", [(1, 1), (3, 81)])
def test_parse_undoes_compose(count, classes):
    random = np.random.RandomState(count)
    parts = [
        dict(
            image_id=i,
            original_image_shape=random.randint(1, 2000, 3),
            image_shape=random.randint(1, 2000, 3),
            window=random.randint(0, 2000, 4),
            scale=random.rand() * 3,
            active_class_ids=random.randint(0, 2, classes),
        )
        for i in range(count)
    ]
    parsed = parse_image_meta(np.stack([compose_image_meta(**part) for part in parts]))
    assert list(parsed) == list(parts[0])
    for name, value in parsed.items():
        assert value.dtype == (np.float32 if name == "scale" else np.int32)
        expected = np.array([part[name] for part in parts])
        np.testing.assert_array_equal(value, expected.astype(value.dtype))


def test_an_empty_batch():
    assert parse_image_meta(np.zeros((0, 15)))["active_class_ids"].shape == (0, 3)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"meta\[np.newaxis\]"):
        parse_image_meta(np.zeros(15))
    with pytest.raises(ValueError, match="shape \\(2, 11\\)"):
        parse_image_meta(np.zeros((2, 11)))
    with pytest.raises(ValueError, match="original_image_shape must have 3 numbers"):
        compose_image_meta(0, (64, 64), (64, 64, 3), (0, 0, 64, 64), 1, [1])
    with pytest.raises(ValueError, match="window must have 4 numbers"):
        compose_image_meta(0, (64, 64, 3), (64, 64, 3), (0, 0), 1, [1])
