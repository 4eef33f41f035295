"""Pure functions of arrays and tensors that any network may use; no Keras layer.

``boxes_np``, ``anchors`` and ``image_meta`` are NumPy and import no TensorFlow, because
`mrcnn.data` uses them. The other modules work on tensors inside a graph.
"""
