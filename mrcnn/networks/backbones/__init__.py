"""Feature extractors: matterport's ResNets, and the models of keras.applications."""
