"""Pictures: what the figures hold, and their behaviour with and without a display."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

from mrcnn import visualize
from mrcnn.visualize import figures
from mrcnn.visualize.boxes import _place_mask
from tests.paths import ROOT

NAMES = ["BG", "cat", "dog"]


@pytest.fixture(autouse=True)
def agg():
    """A file backend, whatever the machine has."""
    import matplotlib
    import matplotlib.pyplot as plt

    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield plt
    matplotlib.use(before)


@pytest.fixture
def scene():
    image = np.full((90, 120, 3), 100, np.uint8)
    boxes = np.array([[10, 10, 40, 50], [50, 60, 85, 110]], np.int32)
    masks = np.zeros((90, 120, 2), bool)
    masks[10:40, 10:50, 0] = True
    masks[50:85, 60:110, 1] = True
    return image, boxes, masks, np.array([1, 2])


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


# === The original's interface ===


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("display_images", "images titles cols cmap norm interpolation"),
        ("random_colors", "N bright"),
        ("apply_mask", "image mask color alpha"),
        (
            "display_instances",
            "image boxes masks class_ids class_names scores title figsize ax "
            "show_mask show_bbox colors captions",
        ),
        (
            "display_differences",
            "image gt_box gt_class_id gt_mask pred_box pred_class_id pred_score pred_mask "
            "class_names title ax show_mask show_box iou_threshold score_threshold",
        ),
        ("draw_rois", "image rois refined_rois mask class_ids class_names limit"),
        ("draw_box", "image box color"),
        ("display_top_masks", "image mask class_ids class_names limit"),
        ("plot_precision_recall", "AP precisions recalls"),
        ("plot_overlaps", "gt_class_ids pred_class_ids pred_scores overlaps class_names threshold"),
        ("draw_boxes", "image boxes refined_boxes masks captions visibilities title ax"),
        ("display_table", "table"),
        ("display_weight_stats", "model"),
    ],
)
def test_signatures_are_the_originals(name, arguments):
    assert list(inspect.signature(getattr(visualize, name)).parameters) == arguments.split()


def test_import_is_light():
    code = (
        "import sys, mrcnn.visualize; print([m for m in ('tensorflow', 'keras', 'matplotlib',"
        " 'IPython', 'skimage', 'pycocotools') if m in sys.modules])"
    )
    root = str(ROOT)
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, text=True, capture_output=True, check=True
    )
    assert out.stdout.strip() == "[]"


# === Figures of instances ===


@pytest.mark.parametrize("function", [visualize.draw_instances, visualize.display_instances])
def test_disagreeing_arrays_are_named(scene, function):
    image, boxes, masks, class_ids = scene
    with pytest.raises(ValueError, match="'boxes': 1, 'class_ids': 2, 'masks': 2"):
        function(image, boxes[:1], masks, class_ids, NAMES)
    with pytest.raises(ValueError, match="masks are 80x120 pixels, the image is 90x120"):
        function(image, boxes, masks[:80], class_ids, NAMES)
    with pytest.raises(ValueError, match="class id 2 has no name: class_names has 2 names"):
        function(image, boxes, masks, class_ids, NAMES[:2])
    with pytest.raises(ValueError, match="1 colors for 2 instances"):
        function(image, boxes, masks, class_ids, NAMES, colors=[(1, 0, 0)])


@pytest.mark.parametrize("shape", [(90, 120), (90, 120, 1), (90, 120, 4)])
def test_grey_and_rgba_images(scene, shape, agg):
    visualize.display_instances(np.full(shape, 100, np.uint8), *scene[1:], NAMES)
    assert agg.gca().images[0].get_array().shape == (90, 120, 3)


def test_display_instances_shows_scores_also_zero(scene, agg):
    visualize.display_instances(*scene, NAMES, scores=np.array([0.0, 0.5]), title="two")
    ax = agg.gca()
    assert texts_of(ax) == ["cat 0.000", "dog 0.500"] and ax.get_title() == "two"
    assert agg.gcf().get_size_inches().tolist() == [16, 16]
    assert ax.get_xlim() == (-10, 130) and ax.get_ylim() == (100, -10)


def test_display_instances_options(scene, agg):
    image, boxes, _masks, class_ids = scene
    _, axes = agg.subplots(1, 3)
    red = [(1.0, 0.0, 0.0)] * 2
    visualize.display_instances(*scene, NAMES, ax=axes[0], colors=red)
    pixels = axes[0].images[0].get_array()
    assert pixels[20, 20].tolist() == [177, 50, 50] and pixels[0, 0].tolist() == [100, 100, 100]
    assert len(axes[0].patches) == 4  # two boxes, two outlines
    visualize.display_instances(
        *scene, NAMES, ax=axes[1], show_mask=False, show_bbox=False, captions=["a", "b"]
    )
    assert (axes[1].images[0].get_array() == 100).all() and len(axes[1].patches) == 2
    assert texts_of(axes[1]) == ["a", "b"]
    visualize.display_instances(image, boxes, None, -class_ids, NAMES, ax=axes[2])
    assert texts_of(axes[2]) == ["cat crowd", "dog crowd"] and len(axes[2].patches) == 2
    assert agg.get_fignums() == [1]


def test_display_instances_of_nothing(scene, capsys, agg):
    visualize.display_instances(
        scene[0], np.zeros((0, 4)), np.zeros((90, 120, 0)), np.zeros(0, int), NAMES, np.zeros(0)
    )
    assert "*** No instances to display ***" in capsys.readouterr().out
    assert (agg.gca().images[0].get_array() == 100).all()


def test_texts_stay_inside_the_image(agg):
    boxes = np.array([[0, 110, 9, 120], [85, 0, 90, 9], [86, 112, 90, 120]])
    visualize.display_instances(
        np.zeros((90, 120, 3), np.uint8),
        boxes,
        None,
        [1, 2, 1],
        NAMES,
        scores=[0.5, 0.5, 0.5],
        figsize=(6, 6),
    )
    ax = agg.gca()
    agg.gcf().canvas.draw()
    for text in ax.texts:
        extent = text.get_window_extent().transformed(ax.transData.inverted())
        assert extent.x0 >= -0.01 and extent.x1 <= 120.01
        assert min(extent.y0, extent.y1) >= -0.01 and max(extent.y0, extent.y1) <= 90.01


def test_texts_do_not_cover_each_other(agg):
    boxes = np.array(
        [[40, 30, 60, 60], [41, 31, 60, 60], [42, 32, 60, 60], [1, 1, 20, 20], [2, 40, 20, 60]]
    )
    visualize.display_instances(
        np.zeros((90, 120, 3), np.uint8),
        boxes,
        None,
        [1, 2, 1, 2, 1],
        NAMES,
        scores=[0.5] * 5,
        figsize=(6, 6),
    )
    ax = agg.gca()
    agg.gcf().canvas.draw()
    extents = [text.get_bbox_patch().get_window_extent() for text in ax.texts]
    assert not any(
        first.overlaps(second)
        for number, first in enumerate(extents)
        for second in extents[:number]
    )
    # the first, and those in nobody's way, stay at their boxes
    assert [ax.texts[i].get_position() for i in (0, 3, 4)] == [(32, 42), (3, 3), (42, 4)]
    visualize.display_instances(
        np.zeros((20, 120, 3), np.uint8), np.array([[0, 0, 9, 9]] * 30), None, [1] * 30, NAMES
    )
    assert len(agg.gca().texts) == 30  # no room for all: some stay covered


def test_display_differences_captions(scene, agg):
    image, boxes, masks, class_ids = scene
    # Worst score first: captions must stay with their own prediction.
    shifted = masks.copy()
    shifted[:, :, 0] = np.roll(masks[:, :, 0], 4, axis=1)  # IoU 36 / 44
    visualize.display_differences(
        image, boxes, class_ids, masks, boxes, class_ids, np.array([0.2, 0.9]), shifted, NAMES
    )
    ax = agg.gca()
    assert texts_of(ax) == ["0.20 / 0.82", "0.90 / 1.00"]
    edges = [patch.get_edgecolor()[:3] for patch in ax.patches]
    assert edges == [(0, 1, 0)] * 4 + [(1, 0, 0)] * 4
    assert "GT=green" in ax.get_title()


def test_display_differences_of_padding_and_nothing(scene, agg):
    image, boxes, masks, class_ids = scene
    padded = np.concatenate([boxes, np.zeros((3, 4), int)])
    none = (np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((90, 120, 0)))
    visualize.display_differences(image, padded, class_ids, masks, *none, NAMES)
    assert len(agg.gca().patches) == 4
    visualize.display_differences(
        image, none[0], none[1], none[3], boxes, class_ids, np.array([0.5, 0.4]), masks, NAMES
    )
    assert texts_of(agg.gca()) == ["0.50 / 0.00", "0.40 / 0.00"]


# === Other figures ===


def test_display_images(agg):
    images = [np.full((4, 5), 255.0), np.zeros((4, 5, 3)), np.ones((4, 5), bool)]
    visualize.display_images(images, titles=["a", "b", "c"], cols=2)
    axes = agg.gcf().axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert all(ax.images[0].get_array().dtype == np.uint8 for ax in axes)
    assert agg.gcf().get_size_inches().tolist() == [14, 14]


def test_display_top_masks_orders_by_area(scene, agg):
    image, _, masks, class_ids = scene
    visualize.display_top_masks(image, masks, class_ids, NAMES, limit=3)
    axes = agg.gcf().axes
    assert [ax.get_title() for ax in axes] == ["H x W=90x120", "dog", "cat", "-"]
    assert axes[1].images[0].get_array()[60, 70] == 1
    two = np.concatenate([masks, np.roll(masks[:, :, 1:], 10, axis=1)], axis=2)
    visualize.display_top_masks(image, two, np.array([1, 2, 2]), NAMES, limit=1)
    shown = agg.gcf().axes[1].images[0].get_array()
    # Each instance of the class has its number; where two overlap, the sum.
    assert (shown[60, 65], shown[60, 115], shown[60, 80]) == (1, 2, 3)


def test_draw_rois(scene, agg, capsys):
    image, boxes, _, _ = scene
    rois = np.concatenate([boxes, np.zeros((1, 4), int)])
    visualize.draw_rois(image, rois, rois + 2, np.ones((3, 28, 28)), np.array([1, 0, 2]), NAMES)
    ax = agg.gca()
    assert ax.get_title() == "3 ROIs" and sorted(texts_of(ax)) == ["cat", "dog"]
    assert len(ax.patches) == 5 and len(ax.lines) == 2  # dashed for all, solid for positives
    pixels = ax.images[0].get_array()
    assert (pixels[25, 30] != 100).any() and (pixels[60, 80] == 100).all()
    out = capsys.readouterr().out.split()
    assert out == ["Positive", "ROIs:", "2", "Negative", "ROIs:", "1", "Positive", "Ratio:", "0.67"]
    assert (image == 100).all()


def test_draw_rois_limit_and_outside(scene, agg):
    rois = np.array([[-10, -20, 40, 50], [50, 60, 140, 160], [1, 1, 9, 9]])
    np.random.seed(0)
    visualize.draw_rois(scene[0], rois, rois, np.ones((3, 14, 14)), np.ones(3, int), NAMES, limit=2)
    assert agg.gca().get_title() == "Showing 2 random ROIs out of 3"
    assert len(agg.gca().patches) == 4
    placed = _place_mask(np.ones((14, 14)), rois[0], (90, 120))
    assert placed.shape == (90, 120) and placed[:38, :48].all() and not placed[40:].any()


def test_draw_boxes_visibilities(scene, agg):
    image, boxes, masks, _ = scene
    boxes = np.concatenate([boxes, [[0, 0, 5, 5], [0, 0, 0, 0]]])
    visualize.draw_boxes(
        image, boxes, boxes + 1, visibilities=[0, 1, 2, 2], captions=["a", "b", "c", "d"], title="t"
    )
    ax = agg.gca()
    assert [p.get_linestyle() for p in ax.patches] == ["dotted"] * 2 + ["solid"] * 3
    assert ax.patches[0].get_edgecolor() == pytest.approx((0.502, 0.502, 0.502, 0.5), abs=1e-3)
    assert texts_of(ax) == ["a", "b", "c"] and len(ax.lines) == 2
    visualize.draw_boxes(image, refined_boxes=boxes[:2].astype(float), masks=masks)
    assert len(agg.gca().patches) == 4
    with pytest.raises(ValueError, match="boxes or refined_boxes"):
        visualize.draw_boxes(image)


def test_plots(agg):
    visualize.plot_precision_recall(0.5, [1, 0.5, 0], [0, 0.5, 1])
    assert "AP@50 = 0.500" in agg.gca().get_title()
    assert agg.gca().lines[0].get_xdata().tolist() == [0, 0.5, 1]
    visualize.plot_overlaps(
        np.array([1, 2, 0]), np.array([1, 1]), [0.9, 0.8], np.array([[0.7, 0.0], [0.1, 0.6]]), NAMES
    )
    ax = agg.gca()
    assert texts_of(ax) == ["0.700\nmatch", "0.000\n", "0.100\n", "0.600\nwrong"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["cat (0.90)", "cat (0.80)"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["cat", "dog"]


# === With and without a display ===


def test_only_the_last_figure_stays_open(scene, agg, tmp_path):
    mine = agg.figure()
    for _ in range(5):
        visualize.display_instances(*scene, NAMES)
        visualize.display_images([scene[0]])
        visualize.draw_boxes(*scene[:2])
    assert len(agg.get_fignums()) == 2 and agg.fignum_exists(mine.number)
    agg.savefig(tmp_path / "a.png", dpi=20)  # the habit of scripts: display, then savefig
    assert len(agg.gcf().axes) == 1


def test_show_is_called_for_own_figures_of_window_backends(scene, agg, monkeypatch):
    shown = []
    monkeypatch.setattr(agg, "show", lambda: shown.append(1))
    visualize.display_instances(*scene, NAMES)
    assert shown == []
    monkeypatch.setattr(figures, "headless", lambda plt: False)
    visualize.display_instances(*scene, NAMES)
    visualize.display_images([scene[0]])
    assert shown == [1, 1]
    visualize.display_instances(*scene, NAMES, ax=agg.gca())
    assert shown == [1, 1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a display")
@pytest.mark.parametrize("backend, expected", [(None, "agg"), ("TkAgg", "agg"), ("svg", "svg")])
def test_backend_without_a_display(backend, expected):
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    if backend:
        env["MPLBACKEND"] = backend
    code = (
        "import numpy as np, matplotlib; from mrcnn import visualize\n"
        "visualize.display_images([np.zeros((4, 4, 3))])\n"
        "print(matplotlib.get_backend().lower())"
    )
    root = str(ROOT)
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=env, text=True, capture_output=True, timeout=120
    )
    assert out.stdout.strip() == expected, out.stderr


# === Tables ===


class Weight:
    def __init__(self, name, path=None):
        self.name = name
        if path:
            self.path = path


class Conv2D:
    name = "conv1"
    weights = [Weight("conv1/kernel:0"), Weight("conv1/bias:0")]

    def get_weights(self):
        return [np.array([-0.5, 1.5]), np.zeros(3)]


class Dense:
    name = "fc"
    weights = [Weight("kernel", "head/fc/kernel"), Weight("bias"), Weight("extra")]

    def get_weights(self):
        return [np.array([[1.0, -2000.0]]), np.zeros(2), np.array([0.0, np.nan])]


class Model:
    def get_trainable_layers(self):
        return [Conv2D(), Dense()]


def test_weight_table_as_text(capsys):
    visualize.display_weight_stats(Model())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["WEIGHT", "NAME", "SHAPE", "MIN", "MAX", "STD"]
    assert lines[1].split() == ["conv1/kernel:0", "(2,)", "-0.5000", "+1.5000", "+1.0000"]
    assert "dead" not in lines[2] and "conv1/bias:0" in lines[2]
    assert lines[3].startswith("head/fc/kernel*** Overflow?")
    assert lines[4].startswith("fc/bias*** dead?") and lines[5].startswith("fc/extra*** Overflow?")
    assert len({line.index("(") for line in lines[1:]}) == 1  # aligned columns


def test_table_in_a_notebook(monkeypatch):
    import types

    shown = []
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=True)
    display = types.ModuleType("IPython.display")
    display.HTML, display.display = str, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    visualize.display_table([["a<b", 1]])
    assert shown == ["<table><tr><td>a&lt;b</td><td>1</td></tr></table>"]
