"""What `benchmarks/torchvision_images.py` gave torchvision, and the tests give this project."""

import numpy as np

MIN_SIDE, MAX_SIDE = 24, 40
ROW_SIZES = {"rows_enlarged": (5, 1333), "rows_shrunk": (2, 801)}
# (height, width): enlarged, limited by the longer side, shrunk, as it is, a line, odd sides
SCENES = {
    "enlarged": (13, 17),
    "limited": (11, 33),
    "shrunk": (61, 47),
    "kept": (24, 31),
    "line": (1, 9),
    "odd": (43, 27),
}


def sides():
    """Heights and widths of images: [200, 2] int."""
    usual = [(427, 640), (640, 427), (480, 640), (333, 500), (800, 1333), (40, 3000), (3, 1)]
    random = np.random.RandomState(0).randint(60, 3000, (193, 2))
    return np.concatenate([usual, random]).tolist()


def rows():
    """A wide image, uint8 [3, 1201, 1]: where it is sampled depends on the last digits."""
    return np.random.RandomState(1).randint(0, 256, (3, 1201, 1)).astype(np.uint8)


def scenes():
    """Name, image uint8 [h, w, 3], masks bool [h, w, 2], boxes float32 [9, 4] of (y1, x1, y2, x2)
    with the resized image as 1, and masks of the network float32 [9, 28, 28], of each scene.
    """
    for seed, (name, (height, width)) in enumerate(SCENES.items(), 2):
        rng = np.random.RandomState(seed)
        image = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
        masks = rng.rand(height, width, 2) < 0.5
        corners = np.sort(rng.rand(9, 2, 2), axis=1).reshape(9, 4)
        corners[0] = 0, 0, 1, 1
        corners[1, 2:] = corners[1, :2] + 1e-3  # less than a pixel
        corners[2] = 0.9, 0.9, 1, 1
        smooth = rng.rand(9, 4, 4).repeat(7, axis=1).repeat(7, axis=2)
        yield name, image, masks, corners.astype(np.float32), smooth.astype(np.float32)
