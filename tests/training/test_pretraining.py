"""Pretraining of the backbone on crops of single objects."""

import keras
import numpy as np
import pytest

from mrcnn.data.crops import ObjectCrops
from mrcnn.model import MaskRCNN
from mrcnn.training.pretraining import classifier, pretrain_backbone
from tests.tiny import Rectangles, tiny_config, values


def test_crops_hold_one_object_each():
    data, config = Rectangles(2), tiny_config()  # a red one and a blue one
    crops = ObjectCrops(data, config, 32, 4, context=0)
    seen = set()
    for index in range(6):
        pixels, classes = crops.batch(index)
        assert (
            pixels.shape == (4, 32, 32, 3)
            and pixels.dtype == np.float32
            and classes.dtype == np.int32
        )
        # the middle is all object
        colours = pixels[:, 8:24, 8:24].mean(axis=(1, 2)) + config.MEAN_PIXEL
        for colour, number in zip(colours, classes):
            np.testing.assert_allclose(colour, [(220, 30, 30), (30, 30, 220)][number], atol=1)
        seen |= set(classes.tolist())
    assert seen == {0, 1}


def test_crops_follow_from_seed_and_number():
    data = Rectangles(6)
    one, two, other = (
        ObjectCrops(data, tiny_config(SEED=seed), 32, 4, augment=True) for seed in (1, 1, 2)
    )
    two.batch(0)
    np.testing.assert_array_equal(one.batch(3)[0], two.batch(3)[0])
    assert not np.array_equal(one.batch(3)[0], other.batch(3)[0])


def test_context_is_the_boxs_surroundings():
    data = Rectangles(1, seed=2)
    ((_, y1, x1, y2, x2),) = data.image_info[0]["objects"]
    crop = (
        ObjectCrops(data, tiny_config(), 64, 1, context=0.5).batch(0)[0][0]
        + tiny_config().MEAN_PIXEL
    )
    red = (crop[..., 0] > 180) & (crop[..., 2] < 80)
    height = min(y2 + round((y2 - y1) / 4), 64) - max(y1 - round((y2 - y1) / 4), 0)
    width = min(x2 + round((x2 - x1) / 4), 64) - max(x1 - round((x2 - x1) / 4), 0)
    assert red.mean() == pytest.approx((y2 - y1) * (x2 - x1) / (height * width), abs=0.05)


def test_validation_crops_are_of_each_image_once():
    """IMAGE_SAMPLING is for training: its weights are those of other images."""
    config = tiny_config(IMAGE_SAMPLING=lambda dataset, config: [1, 0, 0], SEED=0)
    assert [
        number
        for number, _ in zip(
            ObjectCrops(Rectangles(3), config, 32, 3)._order.image_ids(0), range(3)
        )
    ] == [0, 0, 0]
    crops = ObjectCrops(Rectangles(5), config, 32, 5, training=False)
    assert sorted(crops._order.image_ids(0)) == [0, 1, 2, 3, 4]


class Crowds(Rectangles):
    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        return masks, -class_ids


def test_a_set_of_crowds_has_nothing_to_cut_out():
    with pytest.raises(ValueError, match="No image of Crowds has an object to cut out"):
        ObjectCrops(Crowds(3), tiny_config(), 32, 2).batch(0)


def test_the_backbone_learns_the_classes_and_the_network_takes_it_over(tmp_path, capsys):
    config = tiny_config(STEPS_PER_EPOCH=15, VALIDATION_STEPS=2)
    path = str(tmp_path / "backbone.h5")
    done = pretrain_backbone(
        config,
        Rectangles(12),
        path,
        3,
        val_dataset=Rectangles(6, seed=1),
        size=32,
        batch_size=8,
        learning_rate=0.02,
        verbose=0,
    )
    assert done.path == path and done.accuracy > 0.8 and done.val_accuracy > 0.8
    assert len(done.history.epoch) == 3 and done.history.history["accuracy"][-1] == done.accuracy
    model = MaskRCNN("training", config, str(tmp_path))
    before = values(model.keras_model)
    report = model.load_weights(path, by_name=True)
    assert len(report.loaded) == 10 and report.skipped_in_file == ["crop_class"]
    after = values(model.keras_model)
    changed = {
        name.split("/")[0] for name in after if not np.array_equal(before[name], after[name])
    }
    assert changed == {
        *(f"res{stage}a_branch2a" for stage in range(2, 6)),
        "conv1",
        *(f"bn{stage}a_branch2a" for stage in range(2, 6)),
        "bn_conv1",
    }
    assert model.epoch == 0
    # a second round from these weights, with their statistics, begins where the first ended
    again = pretrain_backbone(
        config,
        Rectangles(12),
        path,
        1,
        size=32,
        batch_size=8,
        learning_rate=0.0,
        weights=path,
        train_bn=False,
        verbose=0,
    )
    assert again.val_accuracy is None and again.accuracy < 1.01


def test_a_backbone_of_keras_applications(tmp_path):
    config = tiny_config(BACKBONE="MobileNetV2")
    names = {layer.name for layer in classifier(config, 2).layers if layer.weights}
    network = MaskRCNN("training", config, str(tmp_path)).keras_model
    assert names - {"crop_class"} <= {layer.name for layer in network.layers}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"NUM_CLASSES": 2}, "NUM_CLASSES is 2.*two classes besides the background"),
        ({"size": 50}, "multiple of 32"),
    ],
)
def test_what_cannot_be_pretrained(options, message, tmp_path):
    size = options.pop("size", 32)
    with pytest.raises(ValueError, match=message):
        pretrain_backbone(
            tiny_config(**options), Rectangles(3), str(tmp_path / "a.h5"), 1, size=size
        )


def test_validation_data_are_checked_before_the_first_step(tmp_path, monkeypatch):
    class Damaged(Rectangles):
        def load_image(self, image_id):
            if image_id == 5:
                raise OSError("picture5 is cut short")
            return super().load_image(image_id)

    monkeypatch.setattr(keras.Model, "fit", None)
    with pytest.raises(OSError, match="picture5 is cut short"):
        pretrain_backbone(
            tiny_config(VALIDATION_STEPS=3),
            Rectangles(4),
            tmp_path / "backbone.h5",
            1,
            val_dataset=Damaged(6),
            size=32,
            batch_size=2,
            verbose=0,
        )
