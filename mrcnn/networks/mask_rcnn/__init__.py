"""Mask R-CNN (He et al. 2017): a file for each stage of the paper.

In the order in which an image meets them: fpn, rpn, proposals, targets (training only),
roi_features, box_head, detections, mask_head, losses (training only). `build` puts them together.
"""
