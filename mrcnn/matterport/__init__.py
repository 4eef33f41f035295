"""What exists only so that code written for matterport/Mask_RCNN runs unchanged.

Its names, its graph functions, and views of layers as its notebooks expect them. Only the modules
at the root, such as `mrcnn.model`, import this room.
"""
