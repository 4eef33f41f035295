"""Mask R-CNN (He et al. 2017) on TensorFlow 2 and Keras 3.

Importing this package imports nothing heavy: ``mrcnn.config`` and ``mrcnn.data``
need no TensorFlow, ``mrcnn.model`` brings it in.
"""

__version__ = "1.0.0"
