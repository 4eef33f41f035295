"""Pictures of images, instances, boxes and weights, for scripts and notebooks.

The functions keep matterport's names and signatures. They work without a display too: the last
figure made is then still there for ``plt.savefig`` (see `visualize.figures`). The functions that
return plain pixels are in `data.drawing`; they are offered here as well. matplotlib is imported
when a picture is made.
"""

from mrcnn.common.tables import display_table
from mrcnn.data.drawing import (
    apply_mask,
    as_rgb,
    check_instances,
    class_colors,
    draw_box,
    draw_instances,
    instance_label,
    random_colors,
    save_instances,
)
from mrcnn.visualize.boxes import draw_boxes, draw_rois
from mrcnn.visualize.data import (
    draw_anchor_levels,
    draw_sample,
    plot_coverage,
    plot_objects,
    plot_recall,
)
from mrcnn.visualize.instances import (
    display_differences,
    display_images,
    display_instances,
    display_top_masks,
    plot_overlaps,
    plot_precision_recall,
)
from mrcnn.visualize.stages import (
    display_roi_features,
    display_roi_masks,
    draw_boxes_by_level,
    plot_activations,
    plot_class_probabilities,
    plot_deltas,
    plot_lost,
)
from mrcnn.visualize.training import plot_losses, read_losses
from mrcnn.visualize.weights import (
    display_weight_problems,
    display_weight_stats,
    plot_weight_changes,
    plot_weight_histograms,
    plot_weight_ranges,
)

__all__ = [
    "apply_mask",
    "as_rgb",
    "check_instances",
    "class_colors",
    "display_differences",
    "display_images",
    "display_instances",
    "display_roi_features",
    "display_roi_masks",
    "display_table",
    "display_top_masks",
    "display_weight_problems",
    "display_weight_stats",
    "draw_anchor_levels",
    "draw_box",
    "draw_boxes",
    "draw_boxes_by_level",
    "draw_instances",
    "draw_rois",
    "draw_sample",
    "instance_label",
    "plot_activations",
    "plot_class_probabilities",
    "plot_coverage",
    "plot_deltas",
    "plot_losses",
    "plot_lost",
    "plot_objects",
    "plot_overlaps",
    "plot_precision_recall",
    "plot_recall",
    "plot_weight_changes",
    "plot_weight_histograms",
    "plot_weight_ranges",
    "random_colors",
    "read_losses",
    "save_instances",
]
