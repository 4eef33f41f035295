"""What changes a training image together with its masks.

The user's augmenter, jitter of scale and position, and objects pasted from other images.
"""
