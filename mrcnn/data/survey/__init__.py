"""What a data set holds, before anything is trained on it.

Errors in images and masks, numbers of images and objects, their sizes, and how well the anchors
cover them.
"""
