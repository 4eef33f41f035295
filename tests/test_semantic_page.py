"""docs/semantic.md: its code runs, and it names all fields, losses, networks and measures."""

import re

import numpy as np
import pytest
from PIL import Image

from mrcnn.config import SegmentationConfig
from mrcnn.config.choices import SEGMENTATION_NETWORKS
from mrcnn.config.label_losses import LABEL_LOSSES
from mrcnn.data.formats.label_files import write_labels
from mrcnn.evaluation.label_tally import LABEL_METRICS
from mrcnn.networks.segmentation.losses import LabelLoss
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "semantic.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def streets(tmp_path, monkeypatch, eagerly):
    """The files that the page talks of, in the current folder; a small network."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.RandomState(0)
    for folder, part, count in (("streets", "train", 4), ("streets", "val", 2), ("", "", 1)):
        images, maps = (tmp_path / folder / kind / part for kind in ("images", "labels"))
        images.mkdir(parents=True)
        maps.mkdir(parents=True)
        for number in range(count):
            labels = np.kron(rng.randint(0, 3, (3, 4)), np.ones((10, 10))).astype(np.uint8)
            image = Image.fromarray(80 * labels + 20)
            image.save(images / f"{number}.png")
            write_labels(maps / f"{number}.png", labels)
    (tmp_path / "streets" / "classes.txt").write_text("road\ncar\n")
    Image.fromarray(np.full((30, 40, 3), (192, 128, 128), np.uint8)).save("labels/0.png")
    image.save("photo.jpg")
    monkeypatch.setattr(SegmentationConfig, "UNET_WIDTHS", (4, 8))
    return tmp_path


def test_the_code_runs(streets):
    names: dict = {}
    for block in BLOCKS:
        # the same with a small image, and one epoch
        exec(block.replace("512", "32").replace("0.001, 30", "0.001, 1"), names)
    assert (streets / "found.png").is_file() and (streets / "report" / "report.html").is_file()
    assert names["maps"].load_labels(0).min() == 1
    stripes = names["Stripes"]()
    stripes.load_stripes(1)
    assert stripes.load_image(0).shape == (64, 64, 3) and stripes.load_image(0).dtype == np.uint8
    assert names["labels"].shape == names["result"].labels.shape == (30, 40)
    assert names["probabilities"].shape == (30, 40, 3)
    assert names["evaluation"]["mIoU"] == pytest.approx(0.5833, abs=1e-4)
    own, void = names["OwnLoss"](), np.full((1, 2, 2), 255)
    logits = np.zeros((1, 2, 2, 3), np.float32)
    assert float(LabelLoss(loss=own.LOSS)([void, logits])) == 0
    assert float(LabelLoss(loss=own.LOSS)([0 * void, logits])) == pytest.approx(6 / 9)


def test_every_field_loss_network_and_measure_is_named():
    words = set(re.findall(r"\w+", PAGE))
    fields = {name for name in vars(SegmentationConfig) if name.isupper()}
    assert {*fields, *LABEL_LOSSES, *SEGMENTATION_NETWORKS, *LABEL_METRICS} <= words


def test_links_lead_to_headings():
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    links = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert links == [title.lower().replace(" ", "-") for title in titles]
