"""MaskRCNN: built, asked to detect in every way, saved and loaded."""

import copy

import keras
import numpy as np
import pytest

from mrcnn.config.file import other_settings, save_config
from mrcnn.model import MaskRCNN, log
from tests.tiny import Rectangles, TinyConfig, image, randomize, same, tiny_config, values

SIZES = [(50, 61), (64, 64), (100, 37), (33, 90), (7, 5)]
IMAGES = [image(height, width, seed) for seed, (height, width) in enumerate(SIZES)]


def close(first, second):
    """`tiny.same` but for rounding: a convolution's order of sums may follow the batch size."""
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a["rois"], b["rois"])
        np.testing.assert_array_equal(a["class_ids"], b["class_ids"])
        np.testing.assert_allclose(a["scores"], b["scores"], rtol=1e-4)
        assert a["masks"].shape == b["masks"].shape and (a["masks"] != b["masks"]).sum() <= 2


@pytest.fixture(scope="module")
def one_by_one(detector):
    """Each image alone."""
    found = [detector.detect([picture])[0] for picture in IMAGES]
    assert all(len(result["rois"]) > 1 for result in found[:4])
    assert any(result["masks"].any() for result in found)
    return found


# === Detection ===


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_images_of_any_size(detector, one_by_one, count):
    assert detector.config.BATCH_SIZE == 2
    close(detector.detect(IMAGES[:count]), one_by_one[:count])


def test_results_keep_the_order_given(detector, one_by_one):
    order = [3, 0, 4, 1, 2]
    close(
        detector.detect([IMAGES[index] for index in order]), [one_by_one[index] for index in order]
    )


def test_no_images_no_results(detector):
    assert detector.detect([]) == []


def test_result_of_an_image(detector, one_by_one):
    for (height, width), result in zip(SIZES, one_by_one):
        count = len(result["rois"])
        assert set(result) == {"rois", "class_ids", "scores", "masks"}
        assert result["rois"].dtype == result["class_ids"].dtype == np.int32
        assert (
            result["masks"].shape == (height, width, count)
            and count <= detector.config.DETECTION_MAX_INSTANCES
        )
        assert (result["rois"][:, :2] >= 0).all() and (
            result["rois"][:, 2:] <= [height, width]
        ).all()
        assert (result["rois"][:, 2:] > result["rois"][:, :2]).all()
        assert set(result["class_ids"]) <= {1, 2}
        assert (np.diff(result["scores"]) <= 0).all() and (
            (result["scores"] > 0) & (result["scores"] <= 1)
        ).all()
        for index, (y1, x1, y2, x2) in enumerate(result["rois"]):
            outside = result["masks"][..., index].copy()
            outside[y1:y2, x1:x2] = False
            assert not outside.any()


def test_one_trace_for_all_image_sizes_of_one_image_and_of_several(tmp_path):
    config = tiny_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=0, IMAGES_PER_GPU=3)
    model = MaskRCNN("inference", config, str(tmp_path))
    randomize(model.keras_model)
    pictures = [image(64, 64), image(100, 64, 1), image(64, 10, 2), image(129, 64, 3)]
    together = model.detect(pictures)
    close(together, [model.detect([picture])[0] for picture in pictures])
    for run in (model._graph._of_one, model._graph._of_many):
        assert run.experimental_get_tracing_count() == 1
    assert [result["masks"].shape[:2] for result in together] == [
        (64, 64),
        (100, 64),
        (64, 10),
        (129, 64),
    ]
    assert any(len(result["rois"]) for result in together)
    # the same network and pixels, not resized
    model.config.IMAGE_RESIZE_MODE = "none"
    close(model.detect(pictures[:1]), together[:1])
    with pytest.raises(ValueError, match=r"\(100, 64\).*multiples of 64"):
        model.detect(pictures)


def test_random_crops_cannot_be_detected_in(detector, tmp_path):
    model = MaskRCNN("inference", tiny_config(IMAGE_RESIZE_MODE="crop"), str(tmp_path))
    with pytest.raises(ValueError, match="'crop'.*'square' or 'pad64'"):
        model.detect(IMAGES)


def test_confidence_and_count_limits(tmp_path, detector):
    model = MaskRCNN(
        "inference",
        tiny_config(DETECTION_MIN_CONFIDENCE=0.97, DETECTION_MAX_INSTANCES=3),
        str(tmp_path),
    )
    randomize(model.keras_model)
    loose, strict = detector.detect(IMAGES[:4]), model.detect(IMAGES[:4])
    assert any(len(result["rois"]) > 3 for result in loose) and any(
        len(result["rois"]) for result in strict
    )
    for few, many in zip(strict, loose):
        expected = many["rois"][many["scores"] >= 0.97][:3]
        np.testing.assert_array_equal(few["rois"], expected)


# === Kinds of images ===

RGB = image(64, 64, 5)
GREY = image(64, 64, 6, channels=1)


@pytest.mark.parametrize(
    "given, rgb",
    [
        (GREY[..., 0], GREY.repeat(3, axis=2)),
        (GREY, GREY.repeat(3, axis=2)),
        (np.concatenate([GREY, image(64, 64, 7, channels=1)], axis=2), GREY.repeat(3, axis=2)),
        (np.concatenate([RGB, image(64, 64, 7, channels=1)], axis=2), RGB),
        (RGB.astype(np.uint16) * 257, RGB),
        (RGB.astype(np.int64), RGB),
        (RGB.astype(np.float32), RGB),
        (RGB.astype(np.float64) / 255, RGB),
        (GREY[..., 0] > 127, (GREY > 127).astype(np.uint8).repeat(3, axis=2) * 255),
        (RGB[::-1, ::-1][::-1, ::-1], RGB),
    ],
    ids=[
        "grey 2-d",
        "grey 3-d",
        "grey alpha",
        "rgba",
        "16 bit",
        "int64",
        "float 0..255",
        "float 0..1",
        "bool",
        "view",
    ],
)
def test_other_kinds_of_images_are_as_their_rgb(detector, given, rgb):
    expected = detector.detect([rgb])
    assert len(expected[0]["rois"])
    close(detector.detect([given]), expected)


def test_kinds_may_be_mixed(detector):
    pictures = [GREY[..., 0], RGB, RGB.astype(np.uint16) * 257]
    close(detector.detect(pictures), [detector.detect([picture])[0] for picture in pictures])


@pytest.mark.parametrize(
    "wrong, message",
    [
        (np.full((64, 64, 3), np.nan), "NaN"),
        (np.full((64, 64, 3), np.inf), "inf"),
        (np.full((64, 64, 3), -5), r"0\.\.65535.*-5"),
        (np.full((64, 64, 3), 300.0), r"0\.\.255.*300"),
        (np.zeros((64, 64, 5), np.uint8), "5 channels.*IMAGE_CHANNEL_COUNT = 3"),
        (np.zeros((0, 64, 3), np.uint8), r"\(0, 64, 3\)"),
        (np.zeros(64, np.uint8), r"\(64,\)"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"\(1, 64, 64, 3\)"),
        (None, "object"),
        ("photo.jpg", "<U9"),
    ],
    ids=["nan", "inf", "negative", "above 255", "channels", "empty", "1-d", "4-d", "none", "path"],
)
def test_what_is_no_image(detector, wrong, message):
    with pytest.raises(ValueError, match=message):
        detector.detect([RGB, wrong])


def test_one_image_in_place_of_a_list(detector):
    with pytest.raises(ValueError, match=r"list of images.*\(64, 64, 3\).*detect\(\[image\]\)"):
        detector.detect(RGB)


def test_a_stack_of_images_is_a_list(detector):
    assert same(detector.detect(np.stack([RGB, RGB[::-1]])), detector.detect([RGB, RGB[::-1]]))


def test_one_channel_model(tmp_path):
    config = tiny_config(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=np.array([110.0]))
    model = MaskRCNN("inference", config, str(tmp_path))
    randomize(model.keras_model)
    expected = model.detect([GREY])
    assert len(expected[0]["rois"])
    close(model.detect([GREY[..., 0]]), expected)
    close(model.detect([GREY.repeat(3, axis=2)]), expected)  # grey in RGB has its own luminance


# === Molded images, anchors, raw output ===


def test_detect_molded_is_detect_on_an_image_of_the_right_size(detector):
    molded, metas, _ = detector.mold_inputs([RGB, RGB[::-1]])
    close(detector.detect_molded(molded, metas), detector.detect([RGB, RGB[::-1]]))


def test_detect_molded_gives_pixels_of_the_molded_image(detector):
    molded, metas, windows = detector.mold_inputs([IMAGES[2]])
    (result,) = detector.detect_molded(molded, metas)
    assert result["masks"].shape == (64, 64, len(result["rois"]))
    y1, x1, y2, x2 = windows[0]
    inside = (result["rois"] >= [y1, x1, y1, x1]) & (result["rois"] <= [y2, x2, y2, x2])
    assert inside.all() and x1 > 0


def test_printed_shapes(detector, capsys):
    detector.detect([RGB], verbose=1)
    text = capsys.readouterr().out
    assert "Processing 1 images" in text and "molded_images" in text and "(1, 64, 64, 3)" in text
    detector.detect([RGB])
    assert capsys.readouterr().out == ""
    log("empty", np.zeros((0, 4), np.int32))
    assert "(0, 4)" in capsys.readouterr().out


def test_anchors_are_made_once_and_kept_in_pixels(detector):
    anchors = detector.get_anchors((64, 128, 3))
    assert (
        anchors.shape == (3 * (16 * 32 + 8 * 16 + 4 * 8 + 2 * 4 + 1 * 2), 4)
        and anchors.dtype == np.float32
    )
    pixels = detector.anchors
    # the first has its centre at 0, 0: 8 px square with a ratio of 0.5
    np.testing.assert_allclose(pixels[0], [-4 * 2**0.5, -4 / 2**0.5, 4 * 2**0.5, 4 / 2**0.5])
    np.testing.assert_allclose(
        anchors, (pixels - [0, 0, 1, 1]) / [63, 127, 63, 127], rtol=1e-6, atol=1e-7
    )
    assert detector.get_anchors(np.array([64, 128, 3])) is anchors
    detector.get_anchors((64, 64, 3))
    assert detector.anchors.shape == (3 * (256 + 64 + 16 + 4 + 1), 4)


# === Building ===


def test_unknown_mode(tmp_path):
    with pytest.raises(ValueError, match="'train'.*'training' or 'inference'"):
        MaskRCNN("train", tiny_config(), str(tmp_path))


def test_a_field_made_wrong_after_construction(tmp_path):
    config = tiny_config()
    config.IMAGE_MAX_DIM = 100
    with pytest.raises(ValueError, match="IMAGE_MAX_DIM is 100.*64 or 128"):
        MaskRCNN("inference", config, str(tmp_path))


def test_seed_gives_the_same_weights(tmp_path):
    first, second, other = (
        values(MaskRCNN("inference", tiny_config(SEED=seed), str(tmp_path)).keras_model)
        for seed in (4, 4, 5)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_methods_need_their_mode(tmp_path, detector, rectangles):
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    for call in (
        lambda: model.detect([RGB]),
        lambda: model.detect_molded(RGB[np.newaxis], np.zeros((1, 15))),
    ):
        with pytest.raises(ValueError, match="mode 'training'.*needs mode='inference'"):
            call()
    with pytest.raises(ValueError, match="mode 'inference'.*needs mode='training'"):
        detector.train(rectangles, rectangles, 0.1, 1, "all")
    assert not list(tmp_path.iterdir())  # nor was a run's folder made


def test_compiled_without_xla(tmp_path, monkeypatch):
    """crop_and_resize and NMS have no XLA kernel; Keras chooses XLA by itself where there is a
    GPU.
    """
    model = MaskRCNN("training", tiny_config(GRADIENT_CLIP_NORM=3.0), str(tmp_path))
    asked, compile_model = [], model.keras_model.compile
    monkeypatch.setattr(
        model.keras_model,
        "compile",
        lambda optimizer, **options: (asked.append(options), compile_model(optimizer, **options)),
    )
    model.compile(0.02, 0.8)
    # said to Keras, which would else go by its layers and warn
    assert asked[0]["jit_compile"] is False and model.keras_model.jit_compile is False
    for name in ("ROI", "proposal_targets", "roi_align_classifier", "roi_align_mask", "mrcnn_mask"):
        assert not model.keras_model.get_layer(name).supports_jit, name
    optimizer = model.keras_model.optimizer
    assert isinstance(optimizer, keras.optimizers.SGD) and not optimizer.nesterov
    assert float(optimizer.learning_rate) == pytest.approx(0.02) and optimizer.momentum == 0.8
    # Keras 3's clipnorm is per tensor, the original's was over all of them
    assert optimizer.global_clipnorm == 3.0 and optimizer.clipnorm is None


# === Fields that are changed after the model was made ===


@pytest.fixture
def changeable(detector, monkeypatch):
    """The detector with a config of its own."""
    monkeypatch.setattr(detector, "config", copy.copy(detector.config))
    return detector


def test_the_least_confidence_may_change(changeable):
    everything = changeable.detect(IMAGES)[0]
    bound = float(np.sort(everything["scores"])[len(everything["scores"]) // 2])
    changeable.config.DETECTION_MIN_CONFIDENCE = bound
    expected = everything.filter(min_confidence=bound)
    assert 0 < len(expected["scores"]) < len(everything["scores"])
    np.testing.assert_array_equal(changeable.detect(IMAGES)[0]["scores"], expected["scores"])
    changeable.config.DETECTION_MIN_CONFIDENCE = None  # the meaning of 0
    # as many images at once: batches of one and of two are rounded differently
    assert same(changeable.detect(IMAGES)[:1], [everything])


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("DETECTION_MAX_INSTANCES", 20, "is 20, but the model was made with 10"),
        ("DETECTION_NMS_THRESHOLD", 0.5, "is 0.5, but the model was made with 0.3"),
        ("POST_NMS_ROIS_INFERENCE", 60, "is 60, but the model was made with 30"),
        ("RPN_NMS_THRESHOLD", 0.9, "is 0.9"),
        ("PRE_NMS_LIMIT", 10, "is 10"),
        ("RPN_ANCHOR_SCALES", [8, 16, 32, 64, 128], r"is \[8, 16, 32, 64, 128\]"),
        ("BBOX_STD_DEV", np.ones(4), "is"),
    ],
)
def test_what_the_network_was_built_with_may_not_change(changeable, field, value, words):
    setattr(changeable.config, field, value)
    for run in (
        lambda: changeable.detect(IMAGES),
        lambda: changeable.evaluate(Rectangles(1), verbose=0),
    ):
        with pytest.raises(ValueError, match=f"{field} {words}.*make it again"):
            run()


def test_fields_that_prepare_images_may_change(changeable):
    changeable.config.RPN_ANCHOR_SCALES = list(changeable.config.RPN_ANCHOR_SCALES)  # no change
    changeable.config.IMAGE_MAX_DIM = changeable.config.IMAGE_MIN_DIM = 128
    changeable.config.TRAIN_ROIS_PER_IMAGE = 7  # of training
    changeable.detect(IMAGES[:1])


def test_a_training_models_detector_follows_its_config(tmp_path):
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    randomize(model.keras_model)
    assert len(model.detector().detect(IMAGES)[0]["scores"])
    model.config.DETECTION_MIN_CONFIDENCE = 1.0
    assert not len(model.detector().detect(IMAGES)[0]["scores"])


# === Files ===


def test_weights_round_trip_gives_identical_detections(detector, tmp_path):
    path = str(tmp_path / "new" / "weights.h5")
    (tmp_path / "new").mkdir()
    detector.save_weights(path)
    other = MaskRCNN("inference", tiny_config(SEED=9), str(tmp_path))
    report = other.load_weights(path)
    assert report.initial == [] and report.skipped_in_file == []
    assert same(other.detect(IMAGES), detector.detect(IMAGES))
    assert len(other.detect(IMAGES)[0]["rois"])


def test_other_anchors_than_those_beside_the_weights_are_told(detector, tmp_path, recwarn):
    path = str(tmp_path / "weights.h5")
    detector.save_weights(path)
    detector.load_weights(path)  # there is no config.json
    config = tiny_config(RPN_ANCHOR_SCALES=(16, 32, 48, 64, 96), IMAGE_MAX_DIM=128)
    save_config(tmp_path, config)
    detector.load_weights(path)
    messages = [str(each.message) for each in recwarn]
    (message,) = [each for each in messages if "was trained with other settings" in each]
    assert "RPN_ANCHOR_SCALES = [8, 16, 32, 48, 64] (there [16, 32, 48, 64, 96])" in message
    assert "weights.h5" in message and "IMAGE_MAX_DIM" not in message  # any size may be chosen
    recwarn.clear()
    save_config(tmp_path, detector.config)
    detector.load_weights(path)
    (tmp_path / "weights.json").write_text("[]")  # annotations, say
    detector.load_weights(path)
    assert not recwarn.list


def test_what_is_told_of_other_settings(tmp_path):
    """What makes all masks wrong is; half a grey value of the mean is not."""
    softmax = tiny_config(MASK_LOSS="softmax", MEAN_PIXEL=np.array([123.675, 116.28, 103.53]))
    save_config(tmp_path, softmax)
    path = str(tmp_path / "weights.h5")
    assert other_settings(tiny_config(), path) == ["MASK_LOSS = sigmoid (there softmax)"]
    (other,) = other_settings(tiny_config(MASK_LOSS="softmax", MEAN_PIXEL=np.zeros(3)), path)
    assert other.startswith("MEAN_PIXEL")


def test_weights_of_other_classes(detector, tmp_path, capsys):
    path = str(tmp_path / "weights.h5")
    detector.save_weights(path)
    model = MaskRCNN("inference", tiny_config(NUM_CLASSES=5), str(tmp_path))
    before = values(model.keras_model)
    with pytest.raises(
        ValueError,
        match=r"(?s)weights\.h5.*NUM_CLASSES = 3, the model has NUM_CLASSES = 5.*exclude",
    ):
        model.load_weights(path, by_name=True)
    assert all(
        np.array_equal(before[name], value) for name, value in values(model.keras_model).items()
    )
    exclude = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    report = model.load_weights(path, exclude=exclude)
    assert report.excluded == ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"]
    assert str(report) in capsys.readouterr().out
    np.testing.assert_array_equal(
        model.keras_model.get_layer("conv1").kernel, detector.keras_model.get_layer("conv1").kernel
    )


def test_missing_weights(detector, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.h5"):
        detector.load_weights(str(tmp_path / "nowhere.h5"))


def test_checkpoint_sets_epoch_and_folder(detector, tmp_path):
    folder = tmp_path / "tiny20200102T0304"
    folder.mkdir()
    detector.save_weights(str(folder / "mask_rcnn_tiny_0007.h5"))
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    assert model.epoch == 0 and model.find_last() == str(folder / "mask_rcnn_tiny_0007.h5")
    model.load_weights(model.find_last())
    assert (model.epoch, model.log_dir) == (7, str(folder))
    assert model.checkpoint_path.format(epoch=8) == str(folder / "mask_rcnn_tiny_0008.h5")


def test_a_model_without_a_name_detects(tmp_path):
    class Nameless(TinyConfig):
        NAME = None

    model = MaskRCNN("inference", Nameless(), str(tmp_path))
    assert "mask_rcnn" in model.log_dir
    with pytest.raises(FileNotFoundError, match="'mask_rcnn'"):
        model.find_last()


# === Mixed precision ===


def test_mixed_precision_detects_and_boxes_stay_float32(tmp_path, detector):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = MaskRCNN("inference", tiny_config(), str(tmp_path))
    randomize(model.keras_model)
    assert model.keras_model.get_layer("fpn_p2").compute_dtype == "bfloat16"
    assert {output.dtype for output in model.keras_model.outputs} == {"float32"}
    assert {weight.dtype for weight in model.keras_model.weights} == {"float32"}
    (result,) = model.detect([RGB])
    assert len(result["rois"]) and np.isfinite(result["scores"]).all()
    # a float32 model of the same weights sees the same: its best object is among these
    (exact,) = detector.detect([RGB])
    distance = np.abs(result["rois"].astype(int) - exact["rois"][0]).max(axis=1)
    assert distance.min() <= 3
