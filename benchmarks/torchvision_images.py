"""What torchvision makes of images and boxes before and after its network, for the tests.

    python benchmarks/torchvision_images.py tests/data/torchvision_images.npz

It needs torch and torchvision; the tests need only the file. The inputs come from NumPy's
RandomState, whose numbers do not change: `tests.data.torchvision_inputs` makes them again.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.data import torchvision_inputs as inputs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def channels_first(image):
    return torch.from_numpy(image).permute(2, 0, 1).float()


def main():
    found = {}
    sides = []
    for height, width in inputs.sides():
        transform = GeneralizedRCNNTransform(800, 1333, MEAN, STD)
        resized = transform.resize(torch.zeros(1, height, width))[0]
        sides.append(resized.shape[1:])
    found["sides"] = np.array(sides, np.int16)

    rows = channels_first(inputs.rows())[None]
    for name, size in inputs.ROW_SIZES.items():
        found[name] = torch.nn.functional.interpolate(rows, size=size, mode="bilinear")[0].numpy()

    transform = GeneralizedRCNNTransform(inputs.MIN_SIDE, inputs.MAX_SIDE, MEAN, STD).eval()
    for name, image, _, boxes, probabilities in inputs.scenes():
        images, _ = transform([channels_first(image) / 255])
        pixels = images.tensors[0].numpy() * 255 * np.array(STD, np.float32)[:, None, None]
        found[f"{name}_image"] = pixels.transpose(1, 2, 0)
        found[f"{name}_size"] = np.array(images.image_sizes[0])
        height, width = images.image_sizes[0]
        boxes = boxes * np.array([height, width] * 2, np.float32)
        result = {
            "boxes": torch.from_numpy(boxes[:, [1, 0, 3, 2]]),
            "masks": torch.from_numpy(probabilities)[:, None],
        }
        (result,) = transform.postprocess([result], images.image_sizes, [image.shape[:2]])
        found[f"{name}_boxes"] = result["boxes"].numpy()[:, [1, 0, 3, 2]]
        found[f"{name}_pasted"] = np.packbits(result["masks"][:, 0].numpy() >= 0.5)
    np.savez_compressed(sys.argv[1], **found)


if __name__ == "__main__":
    main()
