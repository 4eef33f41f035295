"""What the tests of pooled regions share: regions, and numbers that torchvision computed."""

import numpy as np

# A map of 5 x 7 cells and six regions: all of it, one within, a narrow one in the corner, one
# smaller than a cell, and two that leave it.
MAP = np.sin(np.arange(35) * 1.7).reshape(1, 5, 7, 1).astype(np.float32)
REGIONS = np.float32(
    [
        [0, 0, 5, 7],
        [0.6, 1.2, 3.9, 4.4],
        [4.7, 6.5, 5, 7],
        [2.1, 3.3, 2.4, 3.6],
        [-0.7, -1.5, 2.2, 3.1],
        [3.5, 5, 7.3, 9.1],
    ]
)
# torchvision 0.29.1: roi_align(..., (2, 3), 1.0, 2, aligned) and roi_pool(..., (2, 3), 1.0)
SAMPLED = np.float32(
    [
        [[0.32238, -0.43524, 0.36081], [-0.07999, -0.2126, 0.53486]],
        [[0.61376, -0.46066, -0.38994], [0.56978, 0.23862, -0.64221]],
        [[0.4747, 0.23735, 0], [0, 0, 0]],
        [[-0.57906, -0.73094, -0.63535], [-0.4745, -0.77539, -0.78853]],
        [[-0.05988, 0.54892, -0.38972], [-0.39306, 0.21142, 0.12099]],
        [[0.49671, 0.47465, 0], [0, 0, 0]],
    ]
)
ALIGNED = np.float32(
    [
        [[0.17854, -0.29895, 0.25161], [-0.3962, 0.06477, 0.303]],
        [[0.66286, -0.04337, -0.59624], [0.20715, 0.59064, -0.46633]],
        [[0.9494, 0.9494, 0.9494], [0.9494, 0.9494, 0.9494]],
        [[-0.49323, -0.63625, -0.69937], [-0.43446, -0.57908, -0.65017]],
        [[0, 0.33882, 0.01483], [-0.27903, -0.0939, 0.34052]],
        [[0.00572, 0.94705, 0], [0, 0, 0]],
    ]
)
POOL = np.float32(
    [
        [[0.99166, 0.99979, 0.99979], [0.9856, 0.9856, 0.9494]],
        [[0.87927, 0.87927, -0.149], [0.9856, 0.9856, 0.64961]],
        [[0, 0, 0], [0, 0, 0]],
        [[-0.58564, -0.58564, -0.72836], [-0.58564, -0.58564, -0.72836]],
        [[0, 0.99166, -0.25554], [0, 0.85916, 0.87927]],
        [[0.9494, 0.9494, 0], [0, 0, 0]],
    ]
)


def random_regions(random, count, size):
    """float32 [count, 4] in cells, of twice the size to 0.1 cells; many leave the map."""
    sides = np.geomspace(2 * max(size), 0.1, count)[:, np.newaxis] * random.uniform(
        0.4, 1.5, (count, 2)
    )
    center = random.uniform(-0.2, 1.2, (count, 2)) * size
    return np.concatenate([center - sides / 2, center + sides / 2], axis=1).astype(np.float32)
