"""From annotated images to training batches: NumPy only, no TensorFlow.

Import the modules of this package by name; the package itself imports
nothing, so that reading one annotation file costs one import.
"""
