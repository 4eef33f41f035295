"""Feature extractors: the original's ResNets, and the models of keras.applications."""
