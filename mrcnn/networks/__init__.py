"""What is computed: backbones, shared layers, and a folder for each network.

Nothing here loads data, learns or writes files; `mrcnn.training` and `mrcnn.inference` do.
"""
