"""Changes of a training image and its masks: the user's augmenter, jitter of scale and place,
pasted objects.
"""
