"""Pictures of data sets, stages, training and weights: what they hold, also of nothing."""

import numpy as np
import pytest

from mrcnn import visualize
from mrcnn.data.batches import TrainingBatches
from mrcnn.data.survey.anchor_coverage import Objects
from mrcnn.inference.diagnosis import STAGES
from mrcnn.ops.anchors import pyramid_anchors
from mrcnn.visualize.weights import display_weight_problems
from mrcnn.weights.statistics import compare_weights, weight_statistics
from tests.tiny import Rectangles, tiny_config

NAMES = ["BG", "cat", "dog"]
NO_OBJECTS = Objects(np.zeros((0, 4), int), np.zeros(0, int), np.zeros(0, int))


@pytest.fixture(autouse=True)
def agg():
    import matplotlib
    import matplotlib.pyplot as plt

    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield plt
    matplotlib.use(before)


def drawn(plt):
    """The axes of the last figure, which is drawn to see that it can be."""
    plt.gcf().canvas.draw()
    return plt.gcf().axes


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def bars(ax):
    return [round(patch.get_width(), 6) for patch in ax.patches]


def heights(ax):
    return [patch.get_height() for patch in ax.patches]


# === Data sets ===


def test_objects(agg):
    boxes = np.array([[0, 0, 16, 16], [0, 0, 8, 32], [0, 0, 64, 64]])
    objects = Objects(boxes, np.array([1, 1, 2]), np.array([5, 5, 9]))
    visualize.plot_objects(objects, NAMES, image_count=4)
    classes, per_image, sizes, shapes = drawn(agg)
    assert [label.get_text() for label in classes.get_yticklabels()] == ["dog", "cat"] and bars(
        classes
    ) == [1, 2]
    assert heights(per_image) == [2, 1, 1]  # two images without, one with 1, one with 2
    assert sum(heights(sizes)) == sum(heights(shapes)) == 3
    widest = max(shapes.patches, key=lambda patch: patch.get_x() if patch.get_height() else 0)
    assert widest.get_x() <= 4 < widest.get_x() + widest.get_width()


def test_objects_of_many_classes_and_none(agg):
    names = ["BG", *(f"class {number}" for number in range(1, 41))]
    visualize.plot_objects(
        Objects(np.tile([0, 0, 5, 5], (40, 1)), np.arange(1, 41), np.arange(40)), names
    )
    classes = drawn(agg)[0]
    assert len(classes.patches) == 25 and "15 rarer ones not shown" in classes.get_title()
    visualize.plot_objects(NO_OBJECTS, NAMES, image_count=3)
    assert heights(drawn(agg)[1])[0] == 3


@pytest.mark.parametrize("mini", [True, False])
def test_a_training_sample_is_drawn_as_the_network_gets_it(mini):
    config = tiny_config(USE_MINI_MASK=mini, SCALE_JITTER=(0.4, 0.5), COPY_PASTE=1.0)
    for sample in TrainingBatches(Rectangles(4), config, batch_size=4).samples(0):
        picture = visualize.draw_sample(sample, config, NAMES)
        drawn = np.abs(picture - (sample.image + config.MEAN_PIXEL)).max(axis=-1) > 2
        y1, x1, y2, x2 = sample.boxes[-1]  # pasted
        assert picture.dtype == np.uint8 and picture.shape == (64, 64, 3)
        assert drawn[y1, x1:x2].all() and drawn[y1:y2, x1].all()


@pytest.mark.parametrize("ratios", [[1], [0.5, 1, 2]])
def test_anchor_levels(agg, ratios):
    config = tiny_config(RPN_ANCHOR_RATIOS=ratios)
    visualize.draw_anchor_levels(np.zeros((64, 64, 3), np.uint8), config)
    panels = drawn(agg)
    assert len(panels) == 5 and "P6: stride 64" in panels[4].get_title()
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    shown = [int(ax.get_title().split("\n")[1].split()[0]) for ax in panels]
    assert sum(shown) == len(anchors)
    for ax in panels:
        assert len(ax.patches) == len(ratios) + 1  # and the frame
        for patch in ax.patches[:-1]:
            (x, y), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
            assert np.isclose(anchors, [y, x, y + height, x + width]).all(axis=1).any()


def test_anchor_levels_of_strides_that_differ_by_axis(agg):
    config = tiny_config(RPN_STRIDES_FROM_SIZES=True, RPN_ANCHORS_ROUNDED=True)
    visualize.draw_anchor_levels(np.zeros((96, 64, 3), np.uint8), config)
    titles = [ax.get_title() for ax in drawn(agg)]
    assert "P5: stride 32," in titles[3] and "P6: stride 48 x 64," in titles[4]


def test_coverage_and_recall(agg):
    best = np.array([0.2, 0.5, 0.5, 0.9])
    visualize.plot_coverage(
        [[0, 0, 8, 8]] * 4, {"these": best, "others": best / 2}, tiny_config(RPN_POSITIVE_IOU=0.6)
    )
    scatter, recall = drawn(agg)
    assert scatter.lines[0].get_ydata().tolist() == best.tolist()
    assert [line.get_ydata()[0] for line in scatter.lines[2:]] == [0.6, 0.3]
    assert [text.get_text() for text in recall.get_legend().get_texts()] == [
        "these: 75% at IoU 0.5",
        "others: 0% at IoU 0.5",
    ]
    visualize.plot_recall({"these": best}, "title")
    (ax,) = drawn(agg)
    iou, share = ax.lines[0].get_data()
    # read as a staircase: the share at an IoU is that of the objects from it on
    for limit in (0.1, 0.2, 0.4, 0.5, 0.7, 0.9, 0.95):
        assert share[np.searchsorted(iou, limit)] == np.mean(best >= limit)
    visualize.plot_recall({"nothing": np.zeros(0)})
    visualize.plot_coverage(np.zeros((0, 4)), {"nothing": np.zeros(0)}, tiny_config())
    drawn(agg)


# === Stages ===


def test_activations(agg):
    activation = np.zeros((4, 6, 5))
    activation[0, 0, 2], activation[1, 1, 4] = 9, 5
    activation[..., 1] = 3
    visualize.plot_activations(activation, "C2", limit=2)
    axes = drawn(agg)
    assert [ax.get_title() for ax in axes] == ["channel 2", "channel 4"]
    assert agg.gcf().get_suptitle() == "C2 4 x 6 x 5, 3 constant channels"


def test_boxes_by_level(agg):
    image, boxes = np.zeros((40, 40, 3), np.uint8), np.tile([5, 5, 20, 20], (6, 1))
    visualize.draw_boxes_by_level(image, boxes, [2, 2, 2, 2, 4, 2], limit=3)
    fine, coarse = drawn(agg)
    assert (
        fine.get_title() == "P2: 5 boxes, 3 of them drawn" and coarse.get_title() == "P4: 1 boxes"
    )
    assert (len(fine.patches), len(coarse.patches)) == (3, 1)
    visualize.draw_boxes_by_level(image, boxes[:0], [])


def test_roi_features(agg):
    image = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3).astype(np.uint8)
    features = np.zeros((2, 7, 7, 4))
    features[1, 3, 3] = 3, 4, 0, 0
    visualize.display_roi_features(image, np.array([[2, 4, 10, 20], [0, 0, 40.4, 12]]), features)
    axes = drawn(agg)
    assert [ax.get_title() for ax in axes] == ["8 x 16 px", "40 x 12 px", "", ""]
    np.testing.assert_array_equal(axes[0].images[0].get_array(), image[2:10, 4:20])
    assert axes[3].images[0].get_array()[3, 3] == 5


def test_class_probabilities(agg):
    visualize.plot_class_probabilities(np.array([[0.1, 0.7, 0.2]]), NAMES, ["RoI 3"])
    (ax,) = drawn(agg)
    assert texts_of(ax) == ["0.100", "0.700", "0.200"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["RoI 3"]


def test_roi_masks(agg):
    target = np.zeros((2, 4, 4))
    target[:, :2] = 1
    prediction = np.stack([target[0] * 0.9, np.full((4, 4), 0.6)])
    visualize.display_roi_masks(target, prediction, [1, 2], NAMES)
    assert [ax.get_title() for ax in drawn(agg)] == ["cat", "dog", "IoU 1.00", "IoU 0.50"]
    visualize.display_roi_masks(np.zeros((0, 4, 4)), np.zeros((0, 4, 4)), [], NAMES)
    drawn(agg)


def test_deltas(agg):
    visualize.plot_deltas(np.array([[0, 1, 2, 3], [2, 1, 2, 3]]))
    assert [ax.get_title() for ax in drawn(agg)][:2] == [
        "dy: mean 1.00, std 1.00",
        "dx: mean 1.00, std 0.00",
    ]
    visualize.plot_deltas(np.zeros((0, 4)))
    drawn(agg)


def test_lost(agg):
    visualize.plot_lost({**dict.fromkeys(STAGES, 0), "class": 2, "NMS": 1, "found": 1})
    (ax,) = drawn(agg)
    assert [text.strip() for text in texts_of(ax)] == ["", "2 lost", "", "", "1 lost", "", "1"]
    assert bars(ax)[:4] == [4, 0, 2, 2] and bars(ax)[-1] == 1
    visualize.plot_lost(dict.fromkeys(STAGES, 0))
    drawn(agg)


# === Training ===

CSV = """epoch,images_per_second,loss,mrcnn_mask_loss,val_loss,val_mrcnn_mask_loss,val_segm_AP
0,9.5,3.5,0.9,4.0,1.0,
1,9.7,2.5,0.7,3.0,0.8,0.25
"""


def test_losses(agg, tmp_path):
    (tmp_path / "losses.csv").write_text(CSV)
    losses = visualize.read_losses(tmp_path)
    assert (
        losses["epoch"] == [1, 2]
        and losses["loss"] == [3.5, 2.5]
        and np.isnan(losses["val_segm_AP"][0])
    )
    assert visualize.read_losses(str(tmp_path / "losses.csv"))["val_loss"] == [4, 3]
    visualize.plot_losses(losses, stages=[1])
    panels = {ax.get_title(): ax for ax in drawn(agg)}
    assert list(panels) == ["loss", "mrcnn_mask_loss", "segm_AP"]
    training, validation, stage = panels["loss"].lines
    assert training.get_ydata().tolist() == [3.5, 2.5] and validation.get_ydata().tolist() == [4, 3]
    assert stage.get_xdata() == [1.5, 1.5]
    visualize.plot_losses({"loss": [2.0, 1.0]})  # a History
    assert drawn(agg)[0].lines[0].get_xdata().tolist() == [1, 2]


def test_no_losses(tmp_path):
    with pytest.raises(FileNotFoundError):
        visualize.read_losses(tmp_path)
    (tmp_path / "losses.csv").write_text(CSV.split("\n")[0])
    with pytest.raises(ValueError, match="has no epoch"):
        visualize.read_losses(tmp_path)


# === Weights ===

LAYERS = {
    "conv1": [
        ("conv1/kernel:0", np.linspace(-1, 1, 12).reshape(1, 2, 2, 3)),
        ("conv1/bias:0", np.zeros(3)),
    ],
    "fc": [("fc/kernel:0", np.zeros((2, 2)))],
}


def test_histograms_and_ranges(agg):
    visualize.plot_weight_histograms(LAYERS, cols=2)
    axes = drawn(agg)
    assert [ax.get_title() for ax in axes] == ["conv1/kernel", "conv1/bias", "fc/kernel"]
    assert [sum(heights(ax)) for ax in axes] == [12, 3, 4]
    visualize.plot_weight_ranges(LAYERS, "kernels")
    (ax,) = drawn(agg)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["conv1", "fc"]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[-1, 0], [1, 0]]
    visualize.plot_weight_histograms({})
    visualize.plot_weight_histograms({"bad": [("bad/kernel:0", np.array([np.nan, 1.0]))]})
    drawn(agg)


def test_changes(agg):
    other = {"conv1": [("conv1/kernel:0", LAYERS["conv1"][0][1] * 2), ("conv1/bias:0", np.ones(3))]}
    visualize.plot_weight_changes(compare_weights(LAYERS, other))
    (ax,) = drawn(agg)
    assert ax.get_title() == "(1 of 2 kernels cannot be compared)" and heights(ax) == [
        pytest.approx(1)
    ]


def test_problems(capsys):
    display_weight_problems(weight_statistics({"conv1": LAYERS["conv1"]}))
    assert "None of the 2 tensors" in capsys.readouterr().out
    display_weight_problems(weight_statistics(LAYERS))
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("fc/kernel:0") and "2 of 2" in line and line.endswith("dead?")
