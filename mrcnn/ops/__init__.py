"""Pure functions of arrays and tensors; nothing here knows a Keras layer.

``boxes_np`` and ``anchors`` are NumPy and import no TensorFlow, so that ``mrcnn.data``
can use them; the other modules are their TensorFlow twins for use inside the graph.
"""
