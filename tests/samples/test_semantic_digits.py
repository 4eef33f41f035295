"""samples/semantic_digits.py: its two recipes, the file of kept scenes, and its commands."""

import numpy as np
import pytest
from PIL import Image

from tests.paths import DATA
from tests.samples.scripts import load

MNIST = DATA / "mnist" / "mnist.npz"
# mean IoU of weights/segmenter_digits.h5 on the kept scenes, as weights/README.md has it
MEASURED = 0.942


@pytest.fixture
def digits():
    return load("semantic_digits")


@pytest.fixture
def mnist_file(tmp_path):
    """An mnist.npz of 40 and 20 digits, in which digit d has ink of 10 (d + 1) and 255."""
    arrays, rng = {}, np.random.default_rng(0)
    for subset, count in (("train", 40), ("test", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.where(rng.random((count, 28, 28)) < 0.3, 10 * (labels[:, None, None] + 1), 0)
        images[:, 14, 14] = 255
        arrays |= {f"x_{subset}": images.astype(np.uint8), f"y_{subset}": labels}
    path = tmp_path / "mnist.npz"
    np.savez(path, **arrays)
    return str(path)


def make(module, recipe, mnist, subset="train", count=None):
    dataset = module.RECIPES[recipe]()
    dataset.load_scenes(subset, count, mnist)
    dataset.prepare()
    return dataset


# === Scenes ===


def test_m2nist_scenes(digits, mnist_file):
    dataset = make(digits, "m2nist", mnist_file, count=60)
    assert dataset.class_names == ["BG", *"0123456789"]
    numbers = set()
    for image_id in dataset.image_ids:
        image, (masks, class_ids) = dataset.load_image(image_id), dataset.load_mask(image_id)
        assert image.shape == (64, 84, 1) and image.dtype == np.uint8
        labels = dataset.load_labels(image_id)
        # digits lie apart, so each pixel of ink tells its digit
        np.testing.assert_array_equal(labels > 0, image[..., 0] > 0)
        assert masks.sum(axis=-1).max() == 1
        for mask, class_id in zip(np.moveaxis(masks, -1, 0), class_ids):
            assert set(image[mask, 0]) <= {10 * class_id, 255} and set(labels[mask]) == {class_id}
        assert dataset.image_reference(image_id) == " ".join(str(one - 1) for one in class_ids)
        numbers.add(len(class_ids))
    assert numbers == {1, 2, 3}


def test_extended_scenes(digits, mnist_file):
    dataset = make(digits, "extended", mnist_file, count=60)
    assert dataset.class_names == ["BG", *"012"]
    numbers, shared = set(), 0
    for image_id in dataset.image_ids:
        image, (masks, class_ids) = dataset.load_image(image_id), dataset.load_mask(image_id)
        assert image.shape == (60, 60, 1) and set(class_ids) <= {1, 2, 3}
        np.testing.assert_array_equal(dataset.load_labels(image_id) > 0, image[..., 0] > 0)
        # where two digits lie upon each other their ink adds up
        inks = [10 * int(class_id) for class_id in class_ids]
        plain = (masks * inks).sum(axis=-1)
        bright = (image[..., 0] == 255) | (image[..., 0] == plain)
        assert bright[masks.sum(axis=-1) <= 1].all()
        shared += int((masks.sum(axis=-1) > 1).sum())
        numbers.add(len(class_ids))
    assert numbers == {2, 3, 4} and shared


def test_scenes_follow_from_their_number(digits, mnist_file):
    few, many = (make(digits, "m2nist", mnist_file, count=count) for count in (3, 7))
    held_out = make(digits, "m2nist", mnist_file, "val", 3)
    for image_id in range(3):
        np.testing.assert_array_equal(few.load_image(image_id), many.load_image(image_id))
        assert not np.array_equal(few.load_image(image_id), held_out.load_image(image_id))
    assert len(make(digits, "extended", mnist_file, "val").image_info) == 200
    assert held_out.glyphs.shape == (20, 28, 28)


@pytest.mark.parametrize("shape, max_iou", [((64, 84), 0.0), ((60, 60), 0.2)])
def test_random_places(digits, shape, max_iou):
    rng, most, corners = np.random.default_rng(0), 0.0, []
    for _ in range(200):
        places = digits.random_places(3, shape, max_iou, rng)
        assert places.min() >= 0 and (places + 28 <= shape).all()
        corners.append(places)
        masks = np.zeros((3, *shape), bool)
        for mask, (y, x) in zip(masks, places):
            mask[y : y + 28, x : x + 28] = True
        for one in range(3):
            for other in range(one):
                union = (masks[one] | masks[other]).sum()
                most = max(most, (masks[one] & masks[other]).sum() / union)
    assert most <= max_iou and (most > 0.15) == (max_iou > 0)
    # every place is used, up to the last row and column
    corners = np.concatenate(corners)
    assert corners.min() == 0 and tuple(corners.max(axis=0)) == (shape[0] - 28, shape[1] - 28)


# === Files ===


def test_generated_scenes_are_those_that_are_drawn(digits, mnist_file, tmp_path, capsys):
    path = str(tmp_path / "scenes.npz")
    arguments = ["generate", "--images", "5", "--mnist", mnist_file, "--output", path]
    digits.main(arguments)
    assert f"5 scenes in {path}" in capsys.readouterr().out
    drawn, stored = make(digits, "m2nist", mnist_file, "val", 5), digits.StoredScenes()
    stored.load_file(path, 4)
    stored.prepare()
    assert stored.num_images == 4 and stored.class_names == drawn.class_names
    for image_id in stored.image_ids:
        np.testing.assert_array_equal(stored.load_image(image_id), drawn.load_image(image_id))
        np.testing.assert_array_equal(stored.load_labels(image_id), drawn.load_labels(image_id))
    with pytest.raises(SystemExit, match="error: .*scenes.npz exists"):
        digits.main(arguments)


def test_files_that_are_no_scenes(digits, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.npz is missing: --scenes"):
        digits.StoredScenes().load_file("gone.npz")
    path, maps = tmp_path / "wrong.npz", np.zeros((2, 4, 5), np.uint8)
    for arrays, message in (
        ({"images": maps}, "no images and labels.*labels"),
        ({"images": maps, "labels": maps[:1]}, r"\(2, 4, 5\) and uint8 \(1, 4, 5\)"),
        ({"images": maps / 2, "labels": maps}, "float64"),
        ({"images": maps, "labels": maps + 11}, "up to 10"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=f"wrong.npz.*{message}"):
            digits.StoredScenes().load_file(str(path))


def test_kept_scenes(digits):
    kept = digits.StoredScenes()
    kept.load_file(digits.DEFAULT_SCENES)
    kept.prepare()
    assert kept.num_images == 500
    for image_id in kept.image_ids:
        np.testing.assert_array_equal(
            kept.load_labels(image_id) > 0, kept.load_image(image_id)[..., 0] > 0
        )
    if not MNIST.exists():
        pytest.skip(f"{MNIST} is missing: cannot compare with MNIST")
    drawn = make(digits, "m2nist", str(MNIST), "val")
    for image_id in (0, 1, 250, 499):
        np.testing.assert_array_equal(kept.load_image(image_id), drawn.load_image(image_id))
        np.testing.assert_array_equal(kept.load_labels(image_id), drawn.load_labels(image_id))


# === Commands ===


def test_ink_measures(digits):
    confusion = np.array([[90, 3, 2], [4, 10, 1], [2, 0, 8]])
    precision, recall = digits.ink_measures(confusion)
    assert precision == 18 / 24 and recall == 18 / 25
    assert np.isnan(digits.ink_measures(np.diag([5, 0, 0]))).all()


@pytest.fixture
def tiny(digits, monkeypatch):
    """The sample with networks that train in seconds."""
    fields = {
        "UNET_WIDTHS": (4, 8),
        "VGG_WIDTHS": (4, 4, 8, 8, 8),
        "VGG_CONVOLUTIONS": (1, 1, 1, 1, 1),
        "FC_CHANNELS": 8,
        "IMAGES_PER_GPU": 2,
        "VALIDATION_STEPS": 1,
        "LEARNING_RATE_WARMUP_STEPS": 1,
    }
    for field, value in fields.items():
        monkeypatch.setattr(digits.SemanticDigitsConfig, field, value)
    return digits


@pytest.mark.parametrize(
    "choice, size",
    [
        (["--recipe", "m2nist", "--network", "unet"], (64, 84)),
        (["--recipe", "extended", "--network", "fcn8s"], (60, 60)),
    ],
)
def test_train_then_evaluate_and_detect(
    tiny, mnist_file, tmp_path, eagerly, capsys, monkeypatch, choice, size
):
    monkeypatch.chdir(tmp_path)
    common = [*choice, "--mnist", mnist_file, "--logs", "logs"]
    tiny.main(
        [
            *("train", *common, "--images", "5", "--epochs", "2", "--loss", "ce"),
            *("--seed", "3", "--verbose", "0"),
        ]
    )
    name = "semantic_digits_extended" if "extended" in choice else "semantic_digits"
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"segmenter_{name}_0002.h5")
    assert len(list(tmp_path.glob(f"logs/{name}*/*.h5")))

    trained = [*common, "--weights", "last", "--images", "3"]
    tiny.main(["evaluate", *trained, "--report", "report"])
    text = capsys.readouterr().out
    assert "mIoU" in text and "3 images" in text and "all digits together: precision" in text
    assert (tmp_path / "report" / "report.html").is_file()

    tiny.main(["detect", *trained, "--output", "found.png"])
    assert str(tmp_path / "found.png") in capsys.readouterr().out
    height, width = size[0] + 2, 3 * (size[1] + 2)
    tiles = np.array(Image.open("found.png"))
    assert tiles.shape == (2 * 2 * height, 2 * 2 * width, 3)  # two rows of two, doubled
    scene = make(tiny, choice[1], mnist_file, "val").load_image(1)
    np.testing.assert_array_equal(
        tiles[2 : 2 * height - 2 : 2, 2 * width + 2 :][: size[0], :, 0][:, : 2 * size[1] : 2],
        scene[..., 0],
    )

    Image.fromarray(scene[..., 0]).save("scene.png")
    tiny.main(["detect", *trained, "--image", "scene.png", "--output", "mine.png"])
    assert np.array(Image.open("mine.png")).shape == (2 * height, 2 * 2 * (size[1] + 2), 3)


def test_kept_weights_run_offline(digits, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits.main(["detect"])
    text = capsys.readouterr().out
    value = float(text.partition("mIoU")[2].split()[0])
    assert "500 images" in text and abs(value - MEASURED) <= 0.001
    assert (tmp_path / "semantic_digits.png").is_file()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["evaluate", "--scenes", "gone.npz"], "gone.npz is missing"),
        (["evaluate", "--weights", "gone.h5"], "gone.h5"),
        (["evaluate", "--network", "fcn8s"], "no weights of --recipe m2nist --network fcn8s"),
        (["detect", "--image", "gone.png"], "gone.png"),
        (["train", "--mnist", "gone.npz"], "gone.npz is missing"),
        (["train", "--loss", "dise", "--mnist", "MNIST"], "dise.*dice"),
        (["train", "--network", "vnet", "--mnist", "MNIST"], "NETWORK"),
        (["train", "--weights", "last", "--mnist", "MNIST"], "no run of 'semantic_digits'"),
    ],
)
def test_mistakes_end_in_one_line(tiny, mnist_file, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [mnist_file if one == "MNIST" else one for one in arguments]
    with pytest.raises(SystemExit, match=f"error: (.|\n)*{message}"):
        tiny.main(arguments)
