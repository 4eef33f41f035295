"""What every room may use and what knows nothing of images or networks.

Files that appear whole or not at all, archives, downloads, progress bars, tables, threads,
processes, and the private names of Keras and TensorFlow.
"""
