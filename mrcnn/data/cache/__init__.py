"""A cache of a data set as TFRecord files: images at training size with their masks, read by
tf.data.

For data sets whose ``load_image`` and ``load_mask`` take longer than the network.
`write.write_records` makes one, `dataset.RecordDataset` is one to train on.
"""
