"""The networks of `segmentation_cases` in torch, layer by layer, measured like those; `peers.py`
runs this with an interpreter that has torch.

    python segmentation_peer.py CASE OPTIONS [--quick] RESULT.json

OPTIONS are the case's arguments as JSON. Layers have the names of ours, so that
`segmentation_numbers.py` can give both the same weights and compare what they compute.
"""

import json
import sys
from pathlib import Path

import measure
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

VOID = 255
# Of a batch norm of ours: torch's momentum is the share of the new value.
EPSILON, MOMENTUM = 1e-3, 0.1
BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}


def predict(quick, repeats, network, side, batch, channels_last=False, **options):
    """From molded images to probabilities, both in memory."""
    side, model = _network(quick, network, side, channels_last, **options)
    model.eval()
    images = _tensor(measure.labelled(side, batch, model.classes)[0], channels_last)
    with torch.inference_mode():
        result = measure.repeat(lambda: probabilities(model(images)).numpy(), repeats)
    return {**result, "images": batch}


def train_step(quick, repeats, network, side, batch, channels_last=False, **options):
    """One optimizer step on one batch that stays the same."""
    side, model = _network(quick, network, side, channels_last, **options)
    images, labels = measure.labelled(side, batch, model.classes)
    images, labels = _tensor(images, channels_last), torch.from_numpy(labels).long()
    sgd = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9, weight_decay=1e-4)
    model.train()
    losses = []

    def step():
        loss = ce_and_dice(model(images), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())

    result = measure.repeat(step, repeats)
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the losses are {losses}")
    return {**result, "images": batch}


def numbers(quick, repeats, network, weights, found, **options):
    """What `segmentation_numbers` compares: it gives the weights, images and labels as an .npz file
    and gets logits, loss, gradients and running statistics as another.
    """
    del quick, repeats
    given = np.load(weights)
    model = NETWORKS[network](dropout=0.0, **options)
    load(model, given)
    images = _tensor(given["images"], channels_last=False)
    with torch.inference_mode():
        results = {"prediction": model.eval()(images).permute(0, 2, 3, 1).numpy()}
    logits = model.train()(images)
    loss = ce_and_dice(logits, torch.from_numpy(given["labels"]).long())
    loss.backward()
    results["logits"] = logits.detach().permute(0, 2, 3, 1).numpy()
    results["loss"] = loss.item()
    for name, layer in model.layers.items():
        for key, tensor in _variables(layer).items():
            array = tensor.detach() if tensor.grad is None else tensor.grad
            results[f"{name}/{key}"] = _as_in_keras(array.numpy())
    np.savez(found, **results)
    return {}


# === Networks ===


class Network(nn.Module):
    """What both have: layers by name, and convolutions with batch norm and ReLU."""

    def __init__(self, classes, batch_norm):
        super().__init__()
        self.classes, self.batch_norm = classes, batch_norm
        self.channels = 1 if classes == 2 else classes
        self.layers = nn.ModuleDict()

    def add_convolution(self, name, inputs, outputs, size):
        self.layers[name] = nn.Conv2d(
            inputs, outputs, size, padding=size // 2, bias=not self.batch_norm
        )
        if self.batch_norm:
            self.layers[f"{name}_bn"] = nn.BatchNorm2d(outputs, EPSILON, MOMENTUM)

    def convolved(self, name, x):
        x = self.layers[name](x)
        if self.batch_norm:
            x = self.layers[f"{name}_bn"](x)
        return F.relu(x, inplace=True)


class UNet(Network):
    """Ronneberger et al. 2015, padded."""

    def __init__(self, classes=2, batch_norm=True, widths=(64, 128, 256, 512, 1024), dropout=0.0):
        super().__init__(classes, batch_norm)
        del dropout  # has none
        self.levels = len(widths)
        before = 3
        for level, width in enumerate(widths, 1):
            self._add_two(f"enc{level}", before, width)
            before = width
        for level in range(self.levels - 1, 0, -1):
            width = widths[level - 1]
            self.layers[f"seg_up{level}"] = nn.ConvTranspose2d(before, width, 2, 2)
            self._add_two(f"seg_dec{level}", 2 * width, width)
            before = width
        self.layers["seg_score"] = nn.Conv2d(before, self.channels, 1)

    def _add_two(self, name, inputs, outputs):
        self.add_convolution(f"{name}_conv1", inputs, outputs, 3)
        self.add_convolution(f"{name}_conv2", outputs, outputs, 3)

    def _two(self, name, x):
        return self.convolved(f"{name}_conv2", self.convolved(f"{name}_conv1", x))

    def forward(self, images):
        x, skips = images / 127.5, []
        for level in range(1, self.levels + 1):
            if level > 1:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = self._two(f"enc{level}", x)
        for level in range(self.levels - 1, 0, -1):
            x = self.layers[f"seg_up{level}"](x)
            x = self._two(f"seg_dec{level}", torch.cat([skips.pop(), x], 1))
        return self.layers["seg_score"](x)


class FCN8s(Network):
    """Long et al. 2015 on ResNet-50, whose batch norm uses the stored statistics in training."""

    def __init__(self, classes=21, batch_norm=True, width=64, dropout=0.5):
        super().__init__(classes, batch_norm)
        self.dropout = nn.Dropout(dropout)
        self.layers["conv1"] = nn.Conv2d(3, width, 7, 2, padding=3)
        self.layers["bn_conv1"] = nn.BatchNorm2d(width, EPSILON)
        before = width
        for stage, blocks in BLOCKS.items():
            middle = width * 2 ** (stage - 2)
            for block in blocks:
                first = block == "a"
                stride = 2 if first and stage > 2 else 1
                name = f"{stage}{block}_branch"
                self._add(f"{name}2a", before, middle, 1, stride)
                self._add(f"{name}2b", middle, middle, 3)
                self._add(f"{name}2c", middle, 4 * middle, 1)
                if first:
                    self._add(f"{name}1", before, 4 * middle, 1, stride)
                before = 4 * middle
        self.add_convolution("seg_fc6", before, before // 4, 3)
        self.add_convolution("seg_fc7", before // 4, before // 4, 1)
        count = self.channels
        self.layers["seg_score_fr"] = nn.Conv2d(before // 4, count, 1)
        for level in (4, 3):
            self.layers[f"seg_up_to_pool{level}"] = nn.ConvTranspose2d(
                count, count, 4, 2, padding=1, bias=False
            )
            self.layers[f"seg_score_pool{level}"] = nn.Conv2d(width * 2**level, count, 1)
        self.layers["seg_up8"] = nn.ConvTranspose2d(count, count, 16, 8, padding=4, bias=False)

    def _add(self, name, inputs, outputs, size, stride=1):
        self.layers[f"res{name}"] = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)
        self.layers[f"bn{name}"] = nn.BatchNorm2d(outputs, EPSILON)

    def train(self, mode=True):
        super().train(mode)
        for name, layer in self.layers.items():
            if name.startswith("bn"):
                layer.eval()
        return self

    def _normalized(self, name, x):
        return self.layers[f"bn{name}"](self.layers[f"res{name}"](x))

    def _block(self, name, x):
        inside = F.relu(self._normalized(f"{name}2a", x), inplace=True)
        inside = F.relu(self._normalized(f"{name}2b", inside), inplace=True)
        inside = self._normalized(f"{name}2c", inside)
        shortcut = self._normalized(f"{name}1", x) if f"res{name}1" in self.layers else x
        return F.relu(inside + shortcut, inplace=True)

    def forward(self, images):
        x = F.relu(self.layers["bn_conv1"](self.layers["conv1"](images)), inplace=True)
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        features = {}
        for stage, blocks in BLOCKS.items():
            for block in blocks:
                x = self._block(f"{stage}{block}_branch", x)
            features[stage] = x
        x = self.dropout(self.convolved("seg_fc6", x))
        x = self.dropout(self.convolved("seg_fc7", x))
        scores = self.layers["seg_score_fr"](x)
        for level in (4, 3):
            scores = self.layers[f"seg_up_to_pool{level}"](scores)
            scores = scores + self.layers[f"seg_score_pool{level}"](features[level])
        return self.layers["seg_up8"](scores)


NETWORKS = {"unet": UNet, "fcn8s": FCN8s}
QUICK = {"unet": {"widths": (8, 16, 24)}, "fcn8s": {"width": 8}}


def _network(quick, network, side, channels_last, **options):
    """(side, the network with the same random weights in every process)."""
    torch.manual_seed(0)
    if quick:
        side, options = 64, {**options, **QUICK[network]}
    model = NETWORKS[network](**options)
    for layer in model.layers.values():
        if not isinstance(layer, nn.BatchNorm2d):
            nn.init.kaiming_normal_(layer.weight)  # values that neither vanish nor overflow
    return side, model.to(memory_format=torch.channels_last) if channels_last else model


def _tensor(images, channels_last):
    """Images float32 [b, h, w, 3] as [b, 3, h, w]."""
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    return images.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


def probabilities(logits):
    """Those of each class, [b, classes, h, w]."""
    if logits.shape[1] > 1:
        return logits.softmax(1)
    p = logits.sigmoid()
    return torch.cat([1 - p, p], 1)


def ce_and_dice(logits, labels):
    """Cross-entropy, and V-Net's Dice of the classes above 0 that the batch has; VOID is ignored.

    Args:
        logits: [b, channels, h, w].
        labels: int64 [b, h, w].
    """
    valid = labels != VOID
    classes = labels.where(valid, 0)
    if logits.shape[1] == 1:
        truth, logits = classes.to(logits.dtype), logits[:, 0]
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        entropy = (entropy * valid).sum() / valid.sum()
        p = logits.sigmoid() * valid
        return entropy + 1 - 2 * (p * truth).sum() / ((p * p).sum() + truth.sum())
    entropy = F.cross_entropy(logits, labels, ignore_index=VOID)
    p = logits.softmax(1) * valid[:, None]
    truth = F.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2) * valid[:, None]
    overlaps, squares, counts = ((x).sum((0, 2, 3))[1:] for x in (p * truth, p * p, truth))
    dice = 1 - 2 * overlaps / (squares + counts)
    return entropy + dice[counts > 0].mean()


# === Weights of ours ===


def load(model, arrays):
    """Take the weights of our network.

    Args:
        arrays: {"<layer>/<variable>": array}, each in Keras' order of axes.

    Raises:
        ValueError: the two have not the same variables.
    """
    wanted = {
        f"{name}/{key}": tensor
        for name, layer in model.layers.items()
        for key, tensor in _variables(layer).items()
    }
    given = {name for name in arrays if "/" in name}
    if given != set(wanted):
        raise ValueError(f"not in both networks: {sorted(given ^ set(wanted))}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            array = arrays[name]
            # Keras has [h, w, in, out] and of a transposed convolution [h, w, out, in]
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def _variables(layer):
    """{Keras' name: tensor} of a layer."""
    if isinstance(layer, nn.BatchNorm2d):
        return {
            "gamma": layer.weight,
            "beta": layer.bias,
            "moving_mean": layer.running_mean,
            "moving_variance": layer.running_var,
        }
    return {"kernel": layer.weight, **({} if layer.bias is None else {"bias": layer.bias})}


def _as_in_keras(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


if __name__ == "__main__":
    _, case, options, *quick, path = sys.argv
    chosen = {"predict": predict, "train_step": train_step, "numbers": numbers}[case]
    found = chosen(quick=bool(quick), **json.loads(options))
    Path(path).write_text(
        json.dumps(
            {
                "peak_bytes": measure.peak_bytes(),
                "threads": torch.get_num_threads(),
                "versions": {"torch": torch.__version__},
                **found,
            }
        )
    )
