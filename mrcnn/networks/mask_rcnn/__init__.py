"""Mask R-CNN in Keras' functional API: a file per stage of the paper."""
