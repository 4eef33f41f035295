"""Detection by torchvision's networks, as this package runs them: its presets, with the random
weights of ``tests/torchvision``, which make about a hundred detections of any photo.
"""

import sys
import tempfile
from pathlib import Path

import measure

# {name of the case: (version, min_size, max_size)}; torchvision's own sizes are 800 and 1333
MEASURED = {
    f"detect-torchvision-{version}-{large}": (version, small, large)
    for version in ("v1", "v2")
    for small, large in ((512, 512), (800, 1333))
}
PHOTO = (480, 640, 6)  # height, width, seed
QUICK = (96, 160)

sys.path.append(str(Path(__file__).resolve().parent.parent))


def detect(quick, repeats, version, small, large, **fields):
    """MaskRCNN.detect of one photo; ``fields`` are of the config."""
    from mrcnn.config.presets import PRESETS
    from mrcnn.model import MaskRCNN
    from tests.torchvision.random_model import scene

    small, large = QUICK if quick else (small, large)
    sizes = {"IMAGE_MIN_DIM": small, "IMAGE_MAX_DIM": large, "IMAGES_PER_GPU": 1, **fields}
    config = type("Measured", (PRESETS[f"torchvision_{version}"],), sizes)()
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("inference", config, folder)
        path = Path(folder) / "weights.pth"
        measure.in_own_process(_write, path, version)
        model.load_weights(path)
    photo = scene(*PHOTO)
    found = []  # numbers: the masks of each photo would add up
    result = measure.repeat(lambda: found.append(len(model.detect([photo])[0]["scores"])), repeats)
    return {**result, "images": 1, "detections": found[-1]}


def _write(path, version):
    from mrcnn.weights.torch_writer import write_torch
    from tests.torchvision.random_model import state_dict

    write_torch(path, state_dict(version))
