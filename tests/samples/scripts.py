"""The samples are scripts in a folder, not a package: load them by their path."""

import importlib.util

from tests.paths import SAMPLES

# what makes the samples' networks tiny
TINY = {
    "TOP_DOWN_PYRAMID_SIZE": 16,
    "RPN_CONV_CHANNELS": 32,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 32,
    "MASK_HEAD_CHANNELS": 16,
    "RPN_ANCHOR_SCALES": (8, 16, 32, 48, 64),
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 32,
    "POST_NMS_ROIS_TRAINING": 60,
    "POST_NMS_ROIS_INFERENCE": 30,
    "TRAIN_ROIS_PER_IMAGE": 20,
    "DETECTION_MAX_INSTANCES": 10,
    "IMAGES_PER_GPU": 2,
    "VALIDATION_STEPS": 1,
}


def load(name):
    """A new module of samples/<name>.py."""
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_tiny(monkeypatch, module, config, **fields):
    """Give a sample's config class a network that trains in seconds; its ``--backbone`` is then
    ignored.
    """
    from tests.tiny import backbone, backbone_shapes

    for field, value in {
        **TINY,
        "COMPUTE_BACKBONE_SHAPE": staticmethod(backbone_shapes),
        **fields,
    }.items():
        monkeypatch.setattr(config, field, value)
    parse_args = module.parse_args

    def parse_tiny(argv=None):
        args = parse_args(argv)
        args.backbone = staticmethod(backbone)  # a command line can name no function
        return args

    monkeypatch.setattr(module, "parse_args", parse_tiny)
    return module
