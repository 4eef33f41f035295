"""What exists only so that code written for matterport/Mask_RCNN runs: names, graph functions,
methods of ``MaskRCNN``, views of layers, the ``Dataset`` of ``mrcnn.utils``.

``mrcnn.model`` and ``mrcnn.utils`` import it; nothing inside the package does.
"""
