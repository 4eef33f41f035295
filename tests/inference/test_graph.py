"""Detection as one object: its numbers are the Keras model's, and two traces serve everything."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.inference.diagnosis import diagnose
from mrcnn.inference.graph import Detector
from mrcnn.model import MaskRCNN
from mrcnn.networks.mask_rcnn.build import inference_model
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction
from mrcnn.ops.anchors import pyramid_anchors
from mrcnn.ops.image_meta import WINDOW, compose_image_meta
from tests.tiny import TORCHVISION, image, randomize, tiny_config

FIELDS = {"DETECTION_MAX_INSTANCES": 25}


@pytest.fixture(
    scope="module",
    params=[
        ("inference", False, 1),
        ("inference", True, 1),
        ("inference", None, 1),
        ("training", False, 8),
    ],
    ids=["statistics stored", "of the batch", "of the batch in training", "a training model"],
)
def models(request, tmp_path_factory):
    """A model to detect with, and the Keras model for inference with the same weights.

    The weights give every batch objects of both classes, and rows without any.
    """
    mode, train_bn, seed = request.param
    config, folder = tiny_config(TRAIN_BN=train_bn, **FIELDS), str(tmp_path_factory.mktemp("logs"))
    made = MaskRCNN(mode, config, folder)
    randomize(made.keras_model, seed)
    if mode == "inference":
        return made, made
    made.save_weights(folder + "/weights.h5")
    reference = MaskRCNN("inference", config, folder)
    reference.load_weights(folder + "/weights.h5")
    return made.detector(), reference


def batch_of(model, count, height=64, width=50):
    return model.mold_inputs([image(height, width, seed) for seed in range(count)])[:2]


def own_masks(model, images, metas):
    """The detections of ``keras_model``, and its masks of all classes at the class of each."""
    anchors = np.stack([model.get_anchors(images.shape[1:])] * len(images))
    detections, _, _, masks, *_ = model.keras_model([images, metas, anchors], training=False)
    class_ids = tf.cast(detections[..., 4], tf.int32)
    return detections, tf.gather(masks, class_ids, axis=-1, batch_dims=2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masks_are_those_of_the_detections_classes(models, count):
    model, reference = models
    images, metas = batch_of(model, count)
    detections, masks = model.predict(images, metas)
    expected, expected_masks = own_masks(reference, images, metas)
    assert masks.shape == (count, 25, 28, 28) and masks.dtype == np.float32
    assert set(detections[..., 4].flat) == {0, 1, 2} and masks.std() > 0.08
    np.testing.assert_allclose(detections, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(masks, expected_masks, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_detected(models, monkeypatch, count):
    model, reference = models
    images, metas = batch_of(model, count)
    detections, masks = model.predict(images, metas, min_confidence=2.0)
    settings = reference.keras_model.get_layer("mrcnn_detection").settings
    monkeypatch.setitem(settings, "DETECTION_MIN_CONFIDENCE", 2.0)
    expected, expected_masks = own_masks(reference, images, metas)
    assert not detections.any() and not expected.numpy().any()
    np.testing.assert_allclose(masks, expected_masks, rtol=1e-3, atol=1e-4)
    assert masks.any() == bool(model.config.TRAIN_BN)


def test_masks_of_other_classes_are_not_computed(detector, monkeypatch):
    monkeypatch.setattr(MaskPrediction, "call", None)
    images, metas = batch_of(detector, 1)
    graph = Detector(detector.keras_model, detector.config)
    assert len(graph.predict(images, metas[:, WINDOW])) == 2


# === Least scores ===


def test_a_least_score_is_that_of_a_model_built_with_it(detector, tmp_path):
    images, metas = batch_of(detector, 2)
    scores = np.sort(detector.predict(images, metas)[0][..., 5].ravel())
    middle = float(np.float32(scores[len(scores) // 2]))
    detector.save_weights(str(tmp_path / "weights.h5"))
    config = tiny_config(DETECTION_MIN_CONFIDENCE=middle)
    built = MaskRCNN("inference", config, str(tmp_path))
    built.load_weights(str(tmp_path / "weights.h5"))
    found, expected = detector.predict(images, metas, middle), built.predict(images, metas)
    kept = found[0][..., 5]
    assert 0 < np.count_nonzero(kept) < kept.size and kept[kept > 0].min() >= middle
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def traces(graph):
    return [run.experimental_get_tracing_count() for run in (graph._of_one, graph._of_many)]


def test_two_traces_serve_all_scores_sizes_and_threads(detector):
    graph = Detector(detector.keras_model, detector.config)
    batches = [batch_of(detector, count) for count in (1, 2, 3)]
    batches.append([tf.zeros([1, 128, 192, 3]).numpy(), np.zeros((1, 15), np.float32)])
    expected, errors = {}, []

    def detect(number, score):
        images, metas = batches[number]
        try:
            found = graph.predict(images, metas[:, WINDOW], score)
            known = expected.setdefault((number, score), found)
            np.testing.assert_array_equal(found[0], known[0])
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=detect, args=(number % 4, score))
        for number, score in enumerate([0.1, 0.9, 0.5, 0.2, 0.3, 0.1, 0.7, 0.0] * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and traces(graph) == [1, 1]


@pytest.mark.parametrize("fields", [{}, {"BACKBONE": "resnet50", "BACKBONE_WIDTH": 64}], ids=str)
def test_inside_of_another_function_of_images_of_one_size(tmp_path, fields):
    """As an exporter traces it. With sizes known TensorFlow optimises the graph in other ways."""
    fields = (
        {"COMPUTE_BACKBONE_SHAPE": None, "TOP_DOWN_PYRAMID_SIZE": 256, **fields} if fields else {}
    )
    model = MaskRCNN("inference", tiny_config(**fields), str(tmp_path))
    randomize(model.keras_model)
    images, metas = batch_of(model, 1, 64, 64)
    windows = metas[:, WINDOW].astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec(images.shape), tf.TensorSpec([1, 4])])
    def exported(molded, windows):
        return model._graph(molded, windows, tf.constant(0.0))

    for found, expected in zip(
        exported(images.astype(np.float32), windows), model.predict(images, metas)
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_another_network_in_its_place_is_the_one_that_detects(tmp_path):
    model, other = (MaskRCNN("inference", tiny_config(), str(tmp_path)) for _ in range(2))
    randomize(model.keras_model, 1)
    randomize(other.keras_model, 2)
    images, metas = batch_of(model, 1)
    expected = other.predict(images, metas)
    assert not np.array_equal(model.predict(images, metas)[0], expected[0])
    model.keras_model = other.keras_model
    for found, wanted in zip(model.predict(images, metas), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_network_of_a_training_model_has_no_detections_to_look_at(tmp_path):
    detector = MaskRCNN("training", tiny_config(), str(tmp_path)).detector()
    with pytest.raises(ValueError, match="run_graph needs a network of mode 'inference'"):
        detector.run_graph([image(64, 64)], [])
    with pytest.raises(ValueError, match="diagnose needs a network of mode 'inference'"):
        diagnose(detector, None, [])


def test_anchors_are_those_of_the_last_images(tmp_path):
    model = MaskRCNN("inference", tiny_config(), str(tmp_path))
    assert model.anchors is None
    model.detect([image(64, 50)])
    shape = model.mold_inputs([image(64, 50)])[0].shape[1:]
    np.testing.assert_array_equal(model.anchors, pyramid_anchors(model.config, shape))
    model.get_anchors((128, 64, 3))
    np.testing.assert_array_equal(model.anchors, pyramid_anchors(model.config, (128, 64, 3)))


# === As torchvision's ===


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("count, size", [(1, (96, 160)), (2, (96, 160)), (3, (64, 32))])
def test_of_a_network_like_torchvisions(tmp_path, mode, count, size):
    """Images of multiples of 32 with padding of their own, of which the proposals stay out."""
    config = tiny_config(**TORCHVISION, DETECTION_MAX_INSTANCES=25)
    made = MaskRCNN(mode, config, str(tmp_path))
    randomize(made.keras_model, 3)
    reference = made
    if mode == "training":
        made.save_weights(str(tmp_path / "weights.h5"))
        reference = MaskRCNN("inference", config, str(tmp_path))
        reference.load_weights(str(tmp_path / "weights.h5"))
    images = np.stack([image(*size, seed) for seed in range(count)]).astype(np.float32) - 120
    windows = np.array([(0, 0, size[0] - 5 * n, size[1] - 7) for n in range(count)], np.float32)
    metas = np.stack(
        [compose_image_meta(0, (9, 9, 3), images.shape[1:], one, 1.0, [1] * 3) for one in windows]
    )
    detections, masks = Detector(made.keras_model, config).predict(images, windows)
    expected, expected_masks = own_masks(reference, images, metas.astype(np.float32))
    assert np.count_nonzero(detections[..., 4]) > 10 * count and masks.std() > 0.05
    np.testing.assert_allclose(detections, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(masks, expected_masks, rtol=1e-3, atol=1e-4)
    anchors = np.stack([reference.get_anchors(images.shape[1:])] * count)
    pixels = pyramid_anchors(config, size)
    np.testing.assert_array_equal(anchors[0], (pixels / [*size, *size]).astype(np.float32))
    rois = reference.keras_model([images, metas, anchors], training=False)[4].numpy()
    for found, window in zip(rois * [*size, *size], windows):
        assert found[:, 2:].max() > 0.9 * window[2:].min()
        assert (found[:, 2:] <= window[2:] + 1e-3).all() and (found >= 0).all()


def test_fields_that_the_network_was_built_with():
    config = tiny_config(**TORCHVISION)
    graph = Detector(inference_model(config), config)
    not_of_the_graph = {"PRE_NMS_LIMIT_TRAINING"}
    assert set(TORCHVISION) - not_of_the_graph <= set(graph.built_with)
    assert {"STRIDE_IN_3X3", "SOFT_NMS_SIGMA"} <= set(graph.built_with)
    graph.check_settings(config)
    for field, value in {"BOX_SHIFT": 1, "RPN_CONV_LAYERS": 1, "ROI_ALIGN": "crop"}.items():
        with pytest.raises(ValueError, match=f"{field} is {value}, but the model was made with"):
            graph.check_settings(tiny_config(**{**TORCHVISION, field: value}))
