"""torchvision's files in `MaskRCNN`: loading, fine-tuning and saving, with narrow networks."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.config.presets import TorchvisionV1Config
from mrcnn.model import MaskRCNN
from mrcnn.weights import CLASS_LAYERS, load_weights
from mrcnn.weights.torch_writer import write_torch
from mrcnn.weights.torchvision import read_torchvision
from tests.tiny import Rectangles, image, same
from tests.torchvision.random_model import VERSIONS
from tests.torchvision.test_weights import moderate, resnet_of, small

CLASSES = 5
SMALL = {
    **{"IMAGE_MIN_DIM": 96, "IMAGE_MAX_DIM": 128, "POST_NMS_ROIS_INFERENCE": 20},
    **{"POST_NMS_ROIS_TRAINING": 30, "TRAIN_ROIS_PER_IMAGE": 16, "DETECTION_MIN_CONFIDENCE": 0.0},
    **{"DETECTION_MAX_INSTANCES": 10, "IMAGES_PER_GPU": 1, "SEED": 0, "MINI_MASK_SHAPE": (28, 28)},
    **{
        "NAME": "small",
        "RPN_TRAIN_ANCHORS_PER_IMAGE": 32,
        "STEPS_PER_EPOCH": 1,
        "VALIDATION_STEPS": 1,
    },
}


def config_of(path, **fields):
    """The config that a file tells, for small images."""
    return Config.from_dict({**read_torchvision(path).fields, **SMALL, **fields})


@pytest.fixture(scope="module", params=VERSIONS)
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / f"{request.param}.pth"
    write_torch(path, moderate(request.param, False, CLASSES))
    return path


@pytest.fixture(scope="module")
def model(path, tmp_path_factory):
    model = MaskRCNN("inference", config_of(path), str(tmp_path_factory.mktemp("logs")))
    model.load_weights(path)
    return model


def arrays(model, layer):
    return [np.asarray(variable) for variable in model.keras_model.get_layer(layer).weights]


def test_every_tensor_has_its_place(path, tmp_path, capsys):
    model = MaskRCNN("inference", config_of(path), str(tmp_path))
    report = model.load_weights(path)
    layers = read_torchvision(path).layers
    assert set(report.loaded) == set(layers)
    assert report.tensors == sum(map(len, layers.values()))
    assert report.initial == report.skipped_in_file == report.excluded == []
    for layer in ("conv1", "res4b_branch2b", "fpn_p4", "mrcnn_bbox_fc", "mrcnn_mask_bn2"):
        for value, (_, other) in zip(arrays(model, layer), layers[layer], strict=True):
            np.testing.assert_array_equal(value, other)
    said = capsys.readouterr().out
    assert f"Mask R-CNN {path.stem} with {CLASSES} classes of torchvision's" in said


def test_a_network_made_otherwise_is_warned_of(path, tmp_path):
    model = MaskRCNN("inference", config_of(path, STRIDE_IN_3X3=False), str(tmp_path))
    with pytest.warns(UserWarning, match=r"STRIDE_IN_3X3 = False \(there True\)$"):
        model.load_weights(path)


def test_another_network_names_the_preset(path, tmp_path):
    fields = {"NUM_CLASSES": CLASSES, "BACKBONE": "resnet50", "BACKBONE_WIDTH": 4}
    model = MaskRCNN("inference", Config.from_dict({**SMALL, **fields}), str(tmp_path))
    before = arrays(model, "conv1")
    with pytest.raises(ValueError, match="does not fit the model, nothing was loaded") as error:
        model.load_weights(path)
    preset = f"mrcnn.config.presets.Torchvision{path.stem.upper()}Config"
    assert preset in str(error.value) and "rpn_model: file " in str(error.value)
    for value, other in zip(arrays(model, "conv1"), before, strict=True):
        np.testing.assert_array_equal(value, other)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    tensors = small("v1", classes=CLASSES)
    tensors["backbone.body.bn1.running_var"][0] = 0  # with an epsilon of 0
    write_torch(tmp_path / "a.pth", tensors)
    model = MaskRCNN("inference", config_of(tmp_path / "a.pth"), str(tmp_path))
    with pytest.raises(ValueError, match="NaN or infinite.*bn_conv1/gamma"):
        model.load_weights(tmp_path / "a.pth")
    load_weights(model.keras_model, tmp_path / "a.pth", epsilon=1e-5)


def test_saved_for_torchvision_and_loaded_again(model, path, tmp_path, capsys):
    """A training changes what torchvision has no place for, such as the biases of the backbone."""
    rng = np.random.RandomState(0)
    for variable in model.keras_model.weights:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(variable + rng.uniform(0, 0.05, variable.shape))
    # torchvision has no argument for widths
    fields = dict(TOP_DOWN_PYRAMID_SIZE=256, RPN_CONV_CHANNELS=256, BOX_HEAD_CHANNELS=256)
    fields |= dict(FPN_CLASSIF_FC_LAYERS_SIZE=1024, MASK_HEAD_CHANNELS=256, BACKBONE_WIDTH=64)
    own, model.config = model.config, config_of(path, **fields)
    try:
        model.save_weights(tmp_path / "out.pth")
    finally:
        model.config = own
    assert "min_size=96, max_size=128" in capsys.readouterr().out
    photo = image(90, 120)
    expected = model.detect([photo])[0]
    again = MaskRCNN("inference", own, str(tmp_path))
    again.load_weights(tmp_path / "out.pth")
    found = again.detect([photo])[0]
    assert len(found["scores"]) == len(expected["scores"]) > 0
    # a random network makes much of other last digits
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.3)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)
    np.testing.assert_array_equal(found["class_ids"], expected["class_ids"])


def test_saving_a_network_that_torchvision_lacks(tmp_path, detector):
    with pytest.raises(ValueError, match=r"out\.pth cannot be written: .*RPN_CONV_CHANNELS"):
        detector.save_weights(tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_detections_do_not_depend_on_the_kind_of_file(model, tmp_path):
    model.save_weights(tmp_path / "a.h5")
    again = MaskRCNN("inference", model.config, str(tmp_path))
    again.load_weights(tmp_path / "a.h5")
    photo = image(90, 120)
    assert same(again.detect([photo]), model.detect([photo]))


def test_fine_tuning_starts_with_all_but_the_class_layers(path, tmp_path):
    fields = {"NUM_CLASSES": 3, "CLASS_NAMES": None, "TRAIN_BN": False}
    model = MaskRCNN("training", config_of(path, **fields), str(tmp_path))
    report = model.load_weights(path, by_name=True, exclude=CLASS_LAYERS)
    assert set(report.excluded) == set(CLASS_LAYERS) - {"mrcnn_bbox"}
    assert report.skipped_in_file == []
    before = arrays(model, "mrcnn_class_conv1")
    stem = arrays(model, "conv1")
    model.train(Rectangles(2), None, 0.001, epochs=1, layers="heads", verbose=0)
    assert not np.array_equal(arrays(model, "mrcnn_class_conv1")[0], before[0])
    for value, other in zip(arrays(model, "conv1"), stem, strict=True):
        np.testing.assert_array_equal(value, other)


def test_resnet_of_imagenet_as_a_backbone(tmp_path):
    write_torch(tmp_path / "resnet50.pth", resnet_of(moderate("v2")))
    fields = {**SMALL, "BACKBONE": "resnet50", "BACKBONE_WIDTH": 4, "NUM_CLASSES": 3}
    mean = TorchvisionV1Config.MEAN_PIXEL
    config = Config.from_dict({**fields, "STRIDE_IN_3X3": True, "MEAN_PIXEL": mean})
    model = MaskRCNN("training", config, str(tmp_path))
    report = model.load_weights(tmp_path / "resnet50.pth", by_name=True)
    assert len(report.loaded) == 106 and "fpn_p2" in report.initial
    assert "resnet50 of ImageNet, the backbone alone" in str(report)
    config = Config.from_dict(fields)
    model = MaskRCNN("training", config, str(tmp_path))
    with pytest.warns(UserWarning, match="until it is trained: STRIDE_IN_3X3"):
        model.load_weights(tmp_path / "resnet50.pth", by_name=True)
