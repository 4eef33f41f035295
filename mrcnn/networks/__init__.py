"""What is computed: backbones, shared layers, and for each network a folder with a file per
stage.
"""
