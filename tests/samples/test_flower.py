"""samples/flower.py: where its crops are, where its map lies, and a run on a photo made here."""

import sys

import numpy as np
import pytest
from PIL import Image

from tests.samples.scripts import load


@pytest.fixture
def flower():
    return load("flower")


def test_patches_lie_in_or_outside_of_the_circle(flower):
    shape, (y, x, radius), left_out = (90, 120, 3), (45, 50, 30), (60, 40, 90, 70)
    rows, columns = np.mgrid[:90, :120]
    disc = np.hypot(rows - y, columns - x) <= radius
    corners, labels = flower.random_corners(
        shape, (y, x, radius), None, 300, np.random.default_rng(0)
    )
    assert corners.shape == (600, 2) and labels.tolist() == [0] * 300 + [1] * 300
    assert corners.min() >= 0 and (corners.max(axis=0) + 32 <= (90, 120)).all()
    for (top, left), label in zip(corners, labels):
        part = disc[top : top + 32, left : left + 32]
        assert part.all() if label else not part.any()
    # every place that fits is drawn, and no other
    places = {tuple(corner) for corner in corners[300:].tolist()}
    fits = [
        (top, left)
        for top in range(59)
        for left in range(89)
        if disc[top : top + 32, left : left + 32].all()
    ]
    assert places <= set(fits) and len(places) > 0.6 * min(len(fits), 300)

    corners, _ = flower.random_corners(shape, (20, 25, 24), left_out, 200, np.random.default_rng(0))
    y1, x1, y2, x2 = left_out
    inside = (corners[:, 0] + 32 > y1) & (corners[:, 0] < y2)
    assert not (inside & (corners[:, 1] + 32 > x1) & (corners[:, 1] < x2)).any()


@pytest.mark.parametrize(
    "circle, name", [((45, 50, 200), "outside"), ((45, 50, 20), "inside"), ((9, 9, 40), "inside")]
)
def test_circles_without_room_for_a_patch(flower, circle, name):
    left_out = (0, 0, 60, 60) if circle[0] == 9 else None
    with pytest.raises(ValueError, match=f"no patch of 32 px lies {name} of the circle at y = "):
        flower.random_corners((90, 120, 3), circle, left_out, 5, np.random.default_rng(0))


def test_the_map_lies_on_the_middles_of_its_patches(flower):
    # a map whose values are the rows of its patches' middles
    scores = np.repeat(4.0 * np.arange(10)[:, np.newaxis] + 16, 12, axis=1)
    found = flower.at_photo_size(scores, (71, 79))
    assert found.shape == (71, 79)
    rows = np.arange(71)
    inner = (rows >= 14) & (rows < 54)
    assert np.abs(found[inner, 5] - rows[inner]).max() <= 2
    assert (found[rows < 14] == 16).all() and (found[rows >= 54] == 52).all()
    np.testing.assert_array_equal(
        found, flower.at_photo_size(scores.T, (79, 71)).T, "rows are as columns"
    )


def test_probability(flower):
    np.testing.assert_allclose(
        flower.probability([[0.0, 0.0], [1.0, 3.0]]), [0.5, np.exp(3) / (np.exp(1) + np.exp(3))]
    )


def test_run(flower, tmp_path, capsys):
    rng, picture = np.random.default_rng(0), tmp_path / "found.png"
    photo = rng.integers(0, 60, (100, 140, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:100, :140]
    disc = np.hypot(rows - 50, columns - 50) <= 38
    photo[disc] += np.array([180, 90, 20], np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    flower.main(
        [
            *("--image", str(tmp_path / "photo.png"), "--circle", "50", "50", "38"),
            *("--crops", "64", "--epochs", "4", "--verbose", "0", "--output", str(picture)),
        ]
    )
    text = capsys.readouterr().out
    assert "Map of a photo of 100 x 140 px: 18 x 28" in text and str(picture) in text
    difference = float(text.partition("200 patches: ")[2].split()[0])
    assert difference <= 1e-4  # of logits that are tens
    tiles = np.array(Image.open(picture))
    assert tiles.shape == (100, 3 * 140, 3)
    np.testing.assert_array_equal(tiles[:, :140], photo)
    found = tiles[:, 140:280, 0] >= 128
    assert (found & disc).sum() / (found | disc).sum() > 0.7
    np.testing.assert_array_equal(tiles[:, 280:][found], photo[found])
    np.testing.assert_array_equal(tiles[:, 280:][~found], photo[~found] // 5)


def test_errors_are_one_line(flower, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="error: --image needs --circle"):
        flower.main(["--image", "photo.png"])
    with pytest.raises(SystemExit, match="error: .*gone.png"):
        flower.main(["--image", "gone.png", "--circle", "9", "9", "9"])
    for name in list(sys.modules):
        if name.split(".")[0] == "sklearn":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit, match="error: flower.jpg comes with scikit-learn.*pip install"):
        flower.main([])
