"""What exists only so that code written for matterport/Mask_RCNN runs: names, graph functions,
views of layers.
"""
