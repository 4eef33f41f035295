"""Keras layers: thin, serialisable shells around ``mrcnn.ops``.

Layers that compute boxes run in float32 under any dtype policy (bfloat16 is inexact
above 256 px), and those whose kernels XLA lacks say ``supports_jit = False``.
"""
