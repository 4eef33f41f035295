"""Training as scripts of the original drive it: their own batches, regions and sources of data."""

import keras
import numpy as np
import pytest

from mrcnn import model as modellib
from mrcnn.data.dataset import Dataset
from tests.tiny import Rectangles, randomize, tiny_config, values

PROPOSALS = 200


class TwoSources(Rectangles):
    """Red rectangles are annotated in one set of images, blue ones in another."""

    def __init__(self):
        Dataset.__init__(self)
        self.add_class("reds", 7, "red")
        self.add_class("blues", 7, "blue")
        for number in range(4):
            source, class_id = ("reds", 1) if number < 2 else ("blues", 2)
            self.add_image(
                source,
                number,
                path=None,
                size=(64, 64),
                objects=[(class_id, 8, 8 + number, 40, 44)],
            )
        self.prepare()


@pytest.fixture
def model(tmp_path):
    """model(**fields) is a training model with weights of a moderate size."""
    np.random.seed(0)

    def make(**fields):
        made = modellib.MaskRCNN("training", tiny_config(IMAGES_PER_GPU=2, **fields), str(tmp_path))
        randomize(made.keras_model)
        return made

    return make


def run(model, inputs):
    """name -> array of the outputs for a batch, and what the proposals are trained to be."""
    targets = model.keras_model.get_layer("proposal_targets").output
    part = keras.Model(model.keras_model.inputs, [*model.keras_model.outputs, *targets])
    found = [np.asarray(value) for value in part(inputs)]
    names = [*model.keras_model.output_names, "rois", "class_ids", "deltas", "masks"]
    return dict(zip(names, found, strict=True))


# === Regions of one's own ===


def test_random_rois_are_what_is_trained_on(model, eagerly):
    """USE_RPN_ROIS=False: the generator's regions take the place of the proposals."""
    trained = model(USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=PROPOSALS)
    batches = modellib.data_generator(
        Rectangles(4), trained.config, shuffle=True, batch_size=2, random_rois=PROPOSALS
    )
    inputs, outputs = next(batches)
    assert outputs == [] and len(inputs) == len(trained.keras_model.inputs) == 8
    found = run(trained, inputs)
    given = (inputs[7] - [0, 0, 1, 1]) / 63
    for image in range(2):
        used = found["output_rois"][image]
        used = used[used.any(axis=1)]
        assert len(used) and all(
            np.abs(given[image] - roi).max(axis=1).min() < 1e-6 for roi in used
        )
    assert (found["class_ids"] > 0).any() and (found["class_ids"] == 0).any()


@pytest.mark.parametrize("random_rois", [0, PROPOSALS])
def test_a_loop_of_ones_own(model, eagerly, random_rois):
    """Who calls ``compile`` and feeds the generator's batches to Keras, in place of ``train``."""
    trained = model(USE_RPN_ROIS=not random_rois, POST_NMS_ROIS_TRAINING=PROPOSALS)
    batches = modellib.data_generator(
        Rectangles(4), trained.config, batch_size=2, random_rois=random_rois
    )
    trained.set_trainable(r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", verbose=0)
    trained.compile(0.01, 0.9)
    before = values(trained.keras_model)
    for _ in range(2):
        logs = trained.keras_model.train_on_batch(next(batches)[0], return_dict=True)
    assert np.isfinite(list(logs.values())).all() and logs["rpn_class_loss"] > 0
    changed = {
        name
        for name, value in values(trained.keras_model).items()
        if not np.array_equal(value, before[name])
    }
    assert all(name.startswith(("mrcnn_", "rpn_", "fpn_")) for name in changed)
    assert any("mrcnn_class" in name for name in changed)


def test_detection_targets_are_those_of_the_graph(model, eagerly):
    """detection_targets=True: the same regions, classes, boxes and masks as the model's own layer
    finds.
    """
    config = tiny_config(IMAGES_PER_GPU=2, USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=PROPOSALS)
    batches = modellib.data_generator(
        Rectangles(4),
        config,
        shuffle=False,
        batch_size=2,
        random_rois=PROPOSALS,
        detection_targets=True,
    )
    inputs, (class_ids, deltas, masks) = next(batches)
    assert len(inputs) == 9 and class_ids.shape == (2, 20, 1) and masks.shape == (2, 20, 28, 28, 3)
    found = run(model(USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=PROPOSALS), inputs[:8])
    compared = 0
    for image in range(2):
        for roi, class_id, delta, mask in zip(
            inputs[8][image], class_ids[image, :, 0], deltas[image], masks[image]
        ):
            same = np.abs(found["rois"][image] - (roi - [0, 0, 1, 1]) / 63).max(axis=1) < 1e-6
            if class_id and same.any():  # each draws its own sample of the regions
                row = np.argmax(same)
                assert found["class_ids"][image, row] == class_id
                # sizes in pixels there, of normalised boxes here
                np.testing.assert_allclose(found["deltas"][image, row], delta[class_id], atol=0.4)
                # rounded there
                assert np.mean(found["masks"][image, row] == (mask[..., class_id] > 0.5)) > 0.9
                compared += 1
    assert compared


# === Sources of data ===


def class_loss(found, active):
    """Cross-entropy of the proposals that are predicted to be of a class that is active for their
    image.
    """
    logits = found["mrcnn_class_logits"].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    entropy = -np.take_along_axis(
        log_probs, found["class_ids"][..., np.newaxis].astype(int), axis=-1
    )[..., 0]
    counts = np.take_along_axis(np.asarray(active), logits.argmax(axis=-1), axis=1)
    return (entropy * counts).sum() / counts.sum()


@pytest.mark.parametrize("first, active", [(0, [1, 1, 0]), (2, [1, 0, 1])])
@pytest.mark.parametrize("as_the_original", [False, True])
def test_classes_of_other_sources_are_not_trained(model, eagerly, first, active, as_the_original):
    """An image's source decides which classes count; in the original that of the batch's first."""
    trained = model(
        USE_RPN_ROIS=False,
        POST_NMS_ROIS_TRAINING=PROPOSALS,
        FIRST_IMAGE_RULES_CLASSES=as_the_original,
    )
    data = TwoSources()
    samples = [
        modellib.load_image_gt(data, trained.config, image_id) for image_id in (first, 2 - first)
    ]
    flags = [
        modellib.parse_image_meta(sample[1][np.newaxis])["active_class_ids"][0].tolist()
        for sample in samples
    ]
    assert flags == [active, [1, active[2], active[1]]]

    inputs, _ = next(
        modellib.data_generator(
            data, trained.config, shuffle=False, batch_size=2, random_rois=PROPOSALS
        )
    )
    inputs[1] = np.stack([sample[1] for sample in samples])
    found = run(trained, inputs)
    logits = found["mrcnn_class_logits"][found["output_rois"].any(axis=-1)]
    trained.keras_model.get_layer("mrcnn_class_logits").bias.assign_sub(logits.mean(axis=0))
    found = run(trained, inputs)
    assert set(found["mrcnn_class_logits"].argmax(axis=-1).ravel()) >= {1, 2}  # some of each
    counting = [flags[0]] * 2 if as_the_original else flags
    loss = found["mrcnn_class_loss"]
    assert loss == pytest.approx(class_loss(found, counting), rel=1e-5)
    for other in ([[1, 1, 1]] * 2, [flags[0]] * 2, flags):
        if other != counting:
            assert loss != pytest.approx(class_loss(found, other), rel=1e-3)


def test_some_sources_are_not_augmented(tmp_path, eagerly):
    """Images of one source reach the network as they are, those of the other are changed."""
    seen = []

    def darken(image, masks):
        seen.append(image.mean())
        return image // 2, masks

    config = tiny_config()
    pictures = modellib.data_generator(
        TwoSources(),
        config,
        shuffle=False,
        batch_size=4,
        augmentation=darken,
        no_augmentation_sources=["reds"],
    )
    images = next(pictures)[0][0] + config.MEAN_PIXEL
    plain = (
        next(modellib.data_generator(TwoSources(), config, shuffle=False, batch_size=4))[0][0]
        + config.MEAN_PIXEL
    )
    np.testing.assert_allclose(images[:2], plain[:2], atol=1e-4)
    np.testing.assert_allclose(images[2:], plain[2:] // 2, atol=1.01)
    assert len(seen) == 2
